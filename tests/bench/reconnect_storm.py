"""Every station once, each on a new connection, from a server that has just started."""

from statistics import quantiles

from . import client, stations
from .cpu import read
from .machine import Cores, Started, Store, servers
from .sample import Sample
from .servers import Server

PROCESSES = 2
AT_ONCE = 32


def run(server: Server, cores: Cores, kept: Store, *, count: int) -> Sample:
    """Start the server and let the stations come."""
    with servers(cores, kept, [server]) as [started]:
        return _measure(server, started, count)


def _measure(server: Server, started: Started, count: int) -> Sample:
    before = read(started.pid)
    outcome = client.storm(
        client.Storm(
            port=started.port,
            path=server.path % stations.PATTERN,
            first=0,
            count=count,
            at_once=AT_ONCE,
            check=server.right,
            tls=server.tls,
        ),
        processes=PROCESSES,
    )
    used = read(started.pid) - before
    permille = quantiles(outcome.latencies_ms, n=1000, method="inclusive")
    return Sample(
        cpu_us=used.server_ns / count / 1000,
        per_second=count / outcome.seconds,
        p50_ms=permille[499],
        p99_ms=permille[989],
        p999_ms=permille[998],
        busy=used.busy,
        others=used.others,
        answered=outcome.answered,
        wrong=count - outcome.answered,
        connections=used.connections / count,
    )

"""Stations that come once each, every one on a new connection; each answer's body is checked."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import quantiles

from . import client, stations
from .cpu import read
from .machine import Cores, Started, Store, servers
from .sample import Sample
from .servers import Server

PROCESSES = 2
AT_ONCE = 32
_LEASE = 4.0  # seconds; after them the service knows that Redis is away


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """What comes, to which server, in which state.

    Attributes:
        count: Stations.
        tls: Each connection begins with a whole TLS handshake.
        kept: The server is to keep the connections, and the client closes them.
        warm: Every station was asked before; otherwise the server has just become ready.
        hung: Redis does not answer any more.
    """

    count: int
    tls: bool = False
    kept: bool = False
    warm: bool = False
    hung: bool = False


STORMS = {
    "cold-storm": Storm(count=100_000),
    "new-connection-kept": Storm(count=50_000, kept=True, warm=True),
    "new-tls-connection": Storm(count=10_000, tls=True, warm=True),
    "outage": Storm(count=100_000, hung=True),
}
"""The cases with a client of their own."""


def run(storm: Storm, server: Server, cores: Cores, kept: Store) -> Sample:
    """Start the server, wait until it is ready, and let the stations come."""
    with servers(cores, kept, [server]) as [started]:
        if storm.warm and server.caches:
            path = (server.path % stations.PATTERN).__mod__
            client.walk(
                started.port,
                path,
                numbers=range(storm.count),
                check=server.right,
                tls=storm.tls,
            )
        if not storm.hung:
            return _measure(storm, server, started)
        with _hung(kept):
            return _measure(storm, server, started)


@contextmanager
def _hung(kept: Store) -> Iterator[None]:
    """Stop Redis, and wait until the service knows."""
    redis = int(kept.redis.info("server")["process_id"])
    os.kill(redis, signal.SIGSTOP)
    try:
        time.sleep(_LEASE)
        yield
    finally:
        os.kill(redis, signal.SIGCONT)


def _measure(storm: Storm, server: Server, started: Started) -> Sample:
    before = read(started.pid)
    outcome = client.storm(
        client.Storm(
            port=started.port,
            path=server.path % stations.PATTERN,
            first=0,
            count=storm.count,
            at_once=AT_ONCE,
            check=server.right,
            tls=server.tls,
            keeps=storm.kept,
        ),
        processes=PROCESSES,
    )
    used = read(started.pid) - before
    permille = quantiles(outcome.latencies_ms, n=1000, method="inclusive")
    return Sample(
        cpu_us=used.server_ns / storm.count / 1000,
        per_second=storm.count / outcome.seconds,
        p50_ms=permille[499],
        p99_ms=permille[989],
        p999_ms=permille[998],
        busy=used.busy,
        others=used.others,
        answered=outcome.answered,
        wrong=storm.count - outcome.answered,
        connections=used.connections / storm.count,
    )

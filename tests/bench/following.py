"""What it costs to know all records: Redis, while others import, and lookups beside a scan.

    .venv/bin/python -m tests.bench.following

1. Replicas follow an import that goes past them all; how many records they read meanwhile, and
   until all are whole again, with `lookup.preload` and without.
2. Lookups that Redis must answer, while the process reads all stations again and while it does not.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import click
from redis import Redis

from tests.bench import stations
from tests.conftest import Service, Valkey, running_service, running_valkey, wait_for
from tests.support.http_client import HttpClient, connections
from tests.support.measure import percentile

_BATCH = 2000
_CLIENTS = 4
_PATIENCE = 600.0  # seconds


def _reads(redis: Redis) -> int:
    return int(redis.info("commandstats").get("cmdstat_hmget", {}).get("calls", 0))


def _cpu(redis: Redis) -> float:
    used = redis.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


@contextmanager
def _services(valkey: Valkey, number: int, **lookup: str) -> Iterator[list[Service]]:
    settings = {f"lookup__{name}": value for name, value in lookup.items()}
    with ExitStack() as stack:
        running = [
            stack.enter_context(running_service(redis__url=valkey.url, **settings))
            for _ in range(number)
        ]
        for service in running:
            wait_for(lambda one=service: _is_ready(one), "ready", seconds=_PATIENCE)  # type: ignore[misc]
        yield running


def _is_ready(service: Service) -> bool:
    with suppress(OSError):
        return service.request("GET", "/health/ready").status == 200
    return False


def _is_whole(service: Service) -> bool:
    components = service.request("GET", "/health/ready").json["components"]
    return bool(components.get("preload", "OK") == "OK")


@dataclass(frozen=True, slots=True)
class Import:
    """An import past all replicas.

    Attributes:
        seconds: that it took.
        meanwhile: records that the replicas read meanwhile.
        after: records that they read after it, until all were whole again.
        whole: seconds until then.
        cpu: seconds of Redis' CPU time, for all of it.
    """

    seconds: float
    meanwhile: int
    after: int
    whole: float
    cpu: float


def import_past(replicas: int, count: int, *, preload: bool) -> Import:
    """Import stations while replicas follow."""
    with (
        running_valkey() as valkey,
        Redis(unix_socket_path=valkey.socket) as redis,
        _services(
            valkey,
            replicas,
            preload=str(preload),
            cache_entries=str(2 * count),
            cache_bytes=str(2**30),
        ) as services,
    ):
        cpu, before, began = _cpu(redis), _reads(redis), time.monotonic()
        for start in range(0, count, _BATCH):
            stations.store(redis, first=start, count=_BATCH)
        seconds, meanwhile = time.monotonic() - began, _reads(redis) - before
        for service in services:
            wait_for(lambda one=service: _is_whole(one), "whole", seconds=_PATIENCE)  # type: ignore[misc]
        return Import(
            seconds=seconds,
            meanwhile=meanwhile,
            after=_reads(redis) - before - meanwhile,
            whole=time.monotonic() - began - seconds,
            cpu=_cpu(redis) - cpu,
        )


def beside_a_scan(count: int, *, preload: bool) -> tuple[float, float, int]:
    """The median and the 99th percentile of a lookup's milliseconds, and how many there were."""
    with (
        running_valkey() as valkey,
        Redis(unix_socket_path=valkey.socket) as redis,
        Redis(unix_socket_path=valkey.socket, db=1) as other,
    ):
        stations.store(redis, first=0, count=count)
        settings = {"cache_entries": str(2 * count), "cache_bytes": str(2**30)}
        with _services(valkey, 1, preload=str(preload), unknown_ttl="0", **settings) as (service,):
            other.flushdb()  # it may have changed everything: all is read again
            time.sleep(3)  # the scan waits a little
            seconds = asyncio.run(_look_up(service))
    milliseconds = [1000 * each for each in seconds]
    return percentile(milliseconds, 50), percentile(milliseconds, 99), len(seconds)


async def _look_up(service: Service) -> list[float]:
    """How long lookups take that Redis must answer, for three seconds."""
    seconds: list[float] = []
    until = time.monotonic() + 3

    async def ask(client: HttpClient, number: int) -> None:
        while (began := time.monotonic()) < until:
            await client.get(f"/token/{number}X{len(seconds)}")
            seconds.append(time.monotonic() - began)

    async with connections(service, _CLIENTS) as clients:
        await asyncio.gather(*(ask(client, number) for number, client in enumerate(clients)))
    return seconds


@click.command()
@click.option("--replicas", default=10, show_default=True)
@click.option("--imported", default=200_000, show_default=True)
@click.option("--scanned", default=500_000, show_default=True)
def main(replicas: int, imported: int, scanned: int) -> None:
    """Measure both, and print what was measured."""
    for preload in (True, False):
        done = import_past(replicas, imported, preload=preload)
        _say(
            f"{replicas} replicas, preload {preload}: {imported} stations imported in "
            f"{done.seconds:.1f} s, {done.meanwhile} read meanwhile, {done.after} in the "
            f"{done.whole:.1f} s after it until all were whole; Redis took {done.cpu:.1f} s of CPU"
        )
    for preload in (False, True, False, True):
        median, slow, number = beside_a_scan(scanned, preload=preload)
        beside = f"beside a scan of {scanned}" if preload else "without a scan"
        _say(f"{number} lookups {beside}: p50 {median:.2f} ms, p99 {slow:.2f} ms")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()

"""Listing a whole fleet while it changes and a gateway looks stations up."""

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self

import pytest
from redis import Redis

from tests.api.walking import pages
from tests.conftest import Service, running_service, running_valkey

_BATCH = 5000


def fill(redis: Any, stations: int) -> None:
    """That many stations, as the service would store them."""
    for start in range(0, stations, _BATCH):
        pipe = redis.pipeline(transaction=False)
        for number in range(start, min(start + _BATCH, stations)):
            pipe.hset(
                f"cs:fleet-{number:07}",
                mapping={
                    "securityProfile": "2",
                    "registrationStatus": '"Accepted"',
                    "lastUpdated": '"2026-01-01T00:00:00Z"',
                },
            )
        pipe.execute()


def memory(service: Service) -> float:
    """What the service has in memory, in MiB."""
    status = Path(f"/proc/{service.process.pid}/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


class Gateway:
    """A gateway at work, from the start of a block to its end."""

    def __init__(self, service: Service, stations: int) -> None:
        self.p99 = 0.0
        """Of a lookup, in milliseconds."""
        self._arguments = [service.host, str(service.port), str(stations)]

    def __enter__(self) -> Self:
        program = Path(__file__).with_name("gateway.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *_: object) -> None:
        printed, _none = self._process.communicate(timeout=20)
        assert self._process.returncode == 0
        self.p99 = float(printed)


@contextmanager
def churning(redis: Any) -> Iterator[list[int]]:
    """Stations that come and go meanwhile; how many have."""
    ended = threading.Event()
    done = [0]

    def churn() -> None:
        for number in count():
            if ended.wait(0.001):
                break
            redis.hset(f"cs:passing-{number}", "securityProfile", "2")
            redis.delete(f"cs:passing-{number - 100}")
            done[0] += 1

    worker = threading.Thread(target=churn)
    worker.start()
    try:
        yield done
    finally:
        ended.set()
        worker.join()


@pytest.mark.parametrize(
    "stations",
    [20_000, *(pytest.param(count, marks=pytest.mark.slow) for count in (100_000, 1_000_000))],
)
def test_a_fleet_is_listed(stations: int) -> None:
    with (
        running_valkey() as valkey,
        Redis(unix_socket_path=valkey.socket) as redis,
        running_service(redis__url=valkey.url, lookup__cache_entries="0") as service,
    ):
        fill(redis, stations)
        with churning(redis), Gateway(service, stations) as alone:
            time.sleep(5)

        before = memory(service)
        most = before
        found: set[str] = set()
        records = turned = 0
        with churning(redis) as churned, Gateway(service, stations) as beside:
            began = time.perf_counter()
            for turned, page in enumerate(pages(service, "/cs", {"limit": 100}), 1):
                ids = [one["csId"] for one in page.json]
                records += len(ids)
                found.update(one for one in ids if one.startswith("fleet-"))
                if turned % 100 == 0:
                    most = max(most, memory(service))
            seconds = time.perf_counter() - began

    print(  # noqa: T201 the figures
        f"\n{stations:,} stations listed in {seconds:.1f} s on {turned:,} pages "
        f"({seconds / turned * 1000:.1f} ms each), {records - len(found):,} records besides, "
        f"{churned[0]:,} came and went; memory {before:.0f} MiB, at most {most:.0f}; "
        f"lookups' p99 {alone.p99:.2f} ms alone, {beside.p99:.2f} ms beside it"
    )
    assert len(found) == stations
    assert most < before + 16


@pytest.mark.parametrize(
    ("stations", "rounds", "seconds"),
    [(20_000, 1, 0.5), pytest.param(1_000_000, 9, 3, marks=pytest.mark.slow)],
    ids=["20000", "1000000"],
)
def test_three_tokens_among_a_fleet(stations: int, rounds: int, seconds: float) -> None:
    """They are found on one page, or on as many as Redis' time makes of it."""
    token = {"countryCode": '"DE"', "valid": "true"}
    with (
        running_valkey() as valkey,
        Redis(unix_socket_path=valkey.socket) as redis,
        running_service(redis__url=valkey.url, lookup__cache_entries="0") as service,
    ):
        fill(redis, stations)
        for uid in ("A", "B", "C"):
            redis.hset(f"token:{uid}", mapping=token | {"uid": f'"{uid}"'})
        slowest = 0.0
        counts = []
        p99 = []
        for _ in range(rounds):
            with Gateway(service, stations) as alone:
                time.sleep(seconds)
            with Gateway(service, stations) as beside:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    found = []
                    began = time.monotonic()
                    for page in pages(service, "/token", {"limit": 100}):
                        slowest = max(slowest, time.monotonic() - began)
                        found.append(len(page.json))
                        began = time.monotonic()
                    counts.append(found)
            p99.append((alone.p99, beside.p99))

    ratios = [beside / alone for alone, beside in p99]
    print(  # noqa: T201 the figures
        f"\n3 tokens among {stations:,} stations on {len(counts[0])} pages {counts[0]}, the "
        f"slowest in {slowest * 1000:.0f} ms, {len(counts)} times; lookups' p99 beside it "
        f"{statistics.median(ratios):.2f} times as long, alone and beside it in ms: "
        + ", ".join(f"{alone:.2f} {beside:.2f}" for alone, beside in p99)
    )
    assert {sum(found) for found in counts} == {3}
    assert all(len(found) <= 1 + stations // 100_000 for found in counts)

"""A random writer against two services on one Valkey: nobody reads the past.

A station's password is the number of its write, so that each read says which one it saw. Figures
are printed (`-s`).
"""

import asyncio
import re
from base64 import b64decode, b64encode
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from random import Random
from time import monotonic

import pytest

from tests.conftest import Service, running_service, running_valkey, wait_for
from tests.lookup.http_client import Answer, HttpClient, connections
from tests.lookup.measure import figures, percentile, say

STATIONS = 200
WRITERS = 6
READERS = 4
PIPELINED = 4  # reads under way on each reader's connection
LAG_WANTED = 0.05  # seconds
SLACK = 10
# A machine that stands still for a moment is not what this is about.
PATIENT = {"lookup__timeout": "5", "redis__timeout": "10"}
_PASSWORD = re.compile(rb'"base64SHA256Password":"([^"]+)"')


def record(version: int) -> dict[str, object]:
    """What the write of this number posts."""
    password = b64encode(version.to_bytes(32, "big")).decode()
    return {"securityProfile": 1, "base64SHA256Password": password}


def version_of(answer: Answer) -> int:
    """The number of the write that a lookup saw; 0 when there was none."""
    if answer.status == 404:
        return 0
    assert answer.status == 200, answer
    found = _PASSWORD.search(answer.body)
    assert found is not None, answer
    return int.from_bytes(b64decode(found[1]), "big")


@dataclass
class Replica:
    """A service, and for each station the least that it may answer from now on."""

    name: str
    service: Service
    floor: list[int] = field(default_factory=lambda: [0] * STATIONS)
    stale: list[str] = field(default_factory=list)

    def is_ready(self) -> bool:
        """Whether it has reached Redis."""
        return self.service.request("GET", "/health/ready").status == 200

    def saw(self, station: int, version: int, floor: int, why: str) -> None:
        """Take note of what a read saw, which began when `floor` held."""
        if version < floor:
            self.stale.append(f"{self.name}: station {station}: {version} after {floor} ({why})")
        # what it has served once it knows: the invalidation of all before has arrived
        self.floor[station] = max(self.floor[station], version)


class Run:
    """The writers and readers, and what they saw."""

    def __init__(self, replicas: list[Replica], operations: int, seed: int) -> None:
        self.replicas = replicas
        self.left = operations
        self.reads = 0
        self.writes = 0
        self.lags: list[float] = []
        self._random = Random(seed)
        self._written = [0] * STATIONS

    async def write(self, number: int, to: list[HttpClient]) -> None:
        """Write this writer's stations through either replica, and watch them arrive."""
        while self.left > 0:
            station = self._random.randrange(number, STATIONS, WRITERS)
            version = self._written[station] = self._written[station] + 1
            side = self._random.randrange(2)
            answer = await to[side].post(f"/cs/s{station}", record(version))
            acknowledged = monotonic()
            assert answer.status == 201, answer
            writer, other = self.replicas[side], self.replicas[1 - side]
            writer.floor[station] = max(writer.floor[station], version)
            self.left -= 1
            self.writes += 1
            await self._read(writer, to[side], station, "by its own writer")
            while await self._read(other, to[1 - side], station, "arriving") < version:
                pass
            self.lags.append(monotonic() - acknowledged)

    async def read(self, replica: Replica, client: HttpClient) -> None:
        """Read any station, and now and then what does not exist, so that Redis is asked too."""
        while self.left > 0:
            if self._random.random() < 0.1:
                self.left -= 1
                self.reads += 1
                answer = await client.get(f"/token/{self._random.getrandbits(64):X}")
                assert answer.status == 404
            else:
                station = self._random.randrange(STATIONS)
                await self._read(replica, client, station, "by a reader")

    async def _read(self, replica: Replica, client: HttpClient, station: int, why: str) -> int:
        floor = replica.floor[station]
        version = version_of(await client.get(f"/cs/s{station}/auth"))
        replica.saw(station, version, floor, why)
        assert version <= self._written[station]
        self.left -= 1
        self.reads += 1
        return version


async def run(operations: int, seed: int, *, settings: dict[str, str]) -> Run:
    """Let writers and readers at two services for so many operations."""
    with ExitStack() as processes:
        valkey = processes.enter_context(running_valkey())
        replicas = []
        for name in ("A", "B"):
            wanted = {"redis__url": valkey.url, **PATIENT, **settings}
            service = processes.enter_context(running_service(**wanted))
            replicas.append(Replica(name, service))
        for replica in replicas:
            wait_for(replica.is_ready, "it is ready")
        this = Run(replicas, operations, seed)
        async with AsyncExitStack() as clients, asyncio.TaskGroup() as tasks:
            for number in range(WRITERS):
                pair = [
                    (await clients.enter_async_context(connections(each.service, 1)))[0]
                    for each in replicas
                ]
                tasks.create_task(this.write(number, pair))
            for replica in replicas:
                opened = await clients.enter_async_context(connections(replica.service, READERS))
                for client in opened:
                    for _ in range(PIPELINED):
                        tasks.create_task(this.read(replica, client))
        return this


def check(this: Run, seconds: float) -> None:
    """Judge a run."""
    say(
        f"{this.reads} reads and {this.writes} writes in {seconds:.1f} s; until the other replica "
        f"serves a write: {figures(this.lags)}"
    )
    assert [stale for replica in this.replicas for stale in replica.stale] == []
    assert this.writes > 100
    assert percentile(this.lags, 99) < SLACK * LAG_WANTED


@pytest.mark.parametrize(
    ("operations", "seed"), [(100_000, 1), pytest.param(1_000_000, 2, marks=pytest.mark.slow)]
)
async def test_nobody_reads_the_past(operations: int, seed: int) -> None:
    """Who wrote through a replica, and who saw a write there, never again sees what was before."""
    started = monotonic()
    check(await run(operations, seed, settings={}), monotonic() - started)


async def test_with_a_cache_that_is_always_full() -> None:
    """Most reads go to Redis: its replies and invalidations are always under way together."""
    started = monotonic()
    settings = {"lookup__cache_entries": "20", "lookup__unknown_entries": "5"}
    check(await run(30_000, 3, settings=settings), monotonic() - started)

"""A random writer against two services on one Valkey: nobody reads the past.

A station's password is the number of its write, so that each read says which one it saw. Figures
are printed (`-s`).
"""

import asyncio
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from itertools import count, cycle
from random import Random
from time import monotonic
from typing import Any, TypeAlias

import pytest
from redis import Redis

from tests.conftest import Service, Valkey, running_service, running_valkey, wait_for
from tests.support.http_client import Answer, HttpClient, connections
from tests.support.measure import figures, percentile, say

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


Disturb: TypeAlias = Callable[[Run, Valkey, Redis], Coroutine[Any, Any, None]]
"""Does something to a Valkey while the writers and readers of a run are at work."""


async def run(
    operations: int, seed: int, *, settings: dict[str, str], disturb: Disturb | None = None
) -> Run:
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
        admin = processes.enter_context(Redis(unix_socket_path=valkey.socket))
        async with AsyncExitStack() as clients, asyncio.TaskGroup() as tasks:
            if disturb is not None:
                tasks.create_task(disturb(this, valkey, admin))
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


def check(this: Run, seconds: float, *, disturbed: bool = False) -> None:
    """Judge a run; one that was disturbed may take its time until a write has arrived."""
    say(
        f"{this.reads} reads and {this.writes} writes in {seconds:.1f} s; until the other replica "
        f"serves a write: {figures(this.lags)}"
    )
    assert [stale for replica in this.replicas for stale in replica.stale] == []
    assert this.writes > 100
    assert disturbed or percentile(this.lags, 99) < SLACK * LAG_WANTED


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


async def cut_connections(this: Run, valkey: Valkey, admin: Redis) -> None:
    """End the read connections again and again: each new one reads all records."""
    del valkey
    while this.left > 0:
        await asyncio.sleep(0.3)
        for client in admin.client_list():
            if client["name"] == "csms-redis":
                admin.client_kill_filter(_id=client["id"])


async def flush_another(this: Run, valkey: Valkey, admin: Redis) -> None:
    """Empty another database: Redis says that all may have changed."""
    with Redis(unix_socket_path=valkey.socket, db=1) as other:
        while this.left > 0:
            await asyncio.sleep(0.2)
            other.flushdb()
    del admin


async def import_others(this: Run, valkey: Valkey, admin: Redis) -> None:
    """Import stations without a pause: more than is read again one by one."""
    del valkey
    for start in count(step=2000):
        if this.left <= 0:
            break
        with admin.pipeline(transaction=False) as pipeline:
            for number in range(start, start + 2000):
                pipeline.hset(f"cs:other{number % 50_000}", "securityProfile", "1")
            pipeline.execute()
        await asyncio.sleep(0.05)


async def stop_now_and_then(this: Run, valkey: Valkey, admin: Redis) -> None:
    """Hang for longer than a lease, and for less; each time it is regained or lost."""
    del admin
    for seconds in cycle((1.5, 4.0)):
        await asyncio.sleep(2)
        if this.left <= 0:
            break
        valkey.freeze()
        await asyncio.sleep(seconds)
        valkey.thaw()


async def let_some_end(this: Run, valkey: Valkey, admin: Redis) -> None:
    """Give others' records an end, and let them come again."""
    del valkey
    for number in count():
        if this.left <= 0:
            break
        key = f"cs:ends{number % 100}"
        admin.hset(key, "securityProfile", "1")
        admin.pexpire(key, 50 + number % 100)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "disturb",
    [
        cut_connections,
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in (flush_another, import_others, stop_now_and_then, let_some_end)
        ),
    ],
)
async def test_whatever_ends_what_is_known(
    disturb: Disturb, request: pytest.FixtureRequest
) -> None:
    """Nobody reads the past, nor 404 for what is there, while all is read again and again."""
    slow = request.node.get_closest_marker("slow") is not None
    started = monotonic()
    this = await run(100_000 if slow else 10_000, 4, settings={}, disturb=disturb)
    check(this, monotonic() - started, disturbed=True)


@pytest.mark.slow
async def test_while_the_near_cache_is_too_small() -> None:
    """It is evicted from all the time, and all is read again and again."""
    started = monotonic()
    settings = {"lookup__cache_entries": f"{STATIONS - 20}"}
    check(await run(100_000, 5, settings=settings), monotonic() - started, disturbed=True)

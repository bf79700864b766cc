"""Answers that rest on what others wrote, with `redis.wait_replicas`: on real, lagging replicas."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

import pytest
from redis.crc import key_slot

from csms_redis.contract.errors import OutcomeUnknown
from csms_redis.contract.models import ChargeStationAuth
from csms_redis.redis.client import RedisClient
from csms_redis.redis.deployment import client
from csms_redis.redis.url import configured
from csms_redis.registry.certificates import Certificates
from csms_redis.registry.resource import store_all
from csms_redis.registry.stations import Stations, station_record
from csms_redis.registry.tokens import Tokens
from csms_redis.settings import RedisSettings
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.node import Node
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.topology import Topology

HASH = "1KOlEbBBpCleKkKEbIDwfq_u-zHhkzzH7mGYdfHz1SU="
AUTH = ChargeStationAuth(securityProfile=2)

Operation: TypeAlias = Callable[[RedisClient], Awaitable[object]]


async def import_only_new(redis: RedisClient, *ids: str) -> object:
    """What the command does for a batch."""
    records = [station_record(b"", cs_id, AUTH) for cs_id in ids]
    said = await store_all(redis, records, only_new=True)
    stored = []
    for one in said:
        if isinstance(one, Exception):
            raise one
        stored.append(one.stored)
    return stored


UNCHANGING: dict[str, tuple[Operation, object]] = {
    "no station to delete": (lambda redis: Stations(redis, b"").delete("gone"), False),
    "no token to delete": (lambda redis: Tokens(redis, b"").delete("GONE"), False),
    "no certificate to delete": (lambda redis: Certificates(redis, b"").delete(HASH), False),
    "no station to block": (
        lambda redis: Stations(redis, b"").set_status("gone", "Rejected"),
        False,
    ),
    "no station to get a password": (
        lambda redis: Stations(redis, b"").set_password("gone", "secret"),
        False,
    ),
    "another's hash to block": (
        lambda redis: Stations(redis, b"").set_status("foreign", "Rejected"),
        False,
    ),
    "a station is there": (lambda redis: import_only_new(redis, "here"), [False]),
    "stations are there": (lambda redis: import_only_new(redis, "here", "foreign"), [False] * 2),
}
"""Operations that write nothing, and what they give."""

RECORDS = {
    "cs:here": ("securityProfile", "1", "registrationStatus", '"Rejected"'),
    "cs:foreign": ("theirs", "1"),
}


@pytest.fixture(scope="module", params=[SentinelGroup, ClusterGroup])
def group(request: pytest.FixtureRequest) -> Iterator[Topology]:
    """Each master with one replica, and with the same records."""
    with request.param(replicas=1) as running:
        for key, fields in RECORDS.items():
            (master,) = running.by_master([key])
            master.call("HSET", key, *fields)
        yield running


def contents(group: Topology) -> dict[str, object]:
    """All that the masters have, with the times to live; not the version of the layout."""
    found: dict[str, object] = {}
    for node in group.nodes:
        if node.role() == "master":
            for key in node.call("KEYS", "*"):
                values = node.call("HGETALL", key)
                found[key] = values, node.call("PTTL", key), node.call("OBJECT", "ENCODING", key)
    return found


@contextmanager
def lagging(group: Topology) -> Iterator[None]:
    """Let the replicas get nothing."""
    replicas = [node for node in group.nodes if node.role() == "slave"]
    for node in replicas:
        node.freeze()
    try:
        yield
    finally:
        for node in replicas:
            node.thaw()


@asynccontextmanager
async def connected(group: Topology, **settings: object) -> AsyncIterator[RedisClient]:
    """Another process, with connections of its own."""
    made = RedisSettings.model_validate({"url": group.url, "timeout": 5} | settings)
    topology = configured(made)
    assert topology is not None
    await topology.look()
    redis = client(made, topology)
    try:
        yield redis
    finally:
        await redis.close()
        await topology.close()


@pytest.mark.parametrize("operation", UNCHANGING)
async def test_it_waits_for_what_it_rests_on(group: Topology, operation: str) -> None:
    """Unknown while a replica lags, said as ever when it does not; and it leaves no trace."""
    work, given = UNCHANGING[operation]
    before = contents(group)
    async with connected(group, wait_replicas=1, wait_timeout=0.3) as redis:
        with lagging(group), pytest.raises(OutcomeUnknown):
            await work(redis)
    async with connected(group, wait_replicas=1, wait_timeout=20) as redis:
        assert await work(redis) == given
        assert await work(redis) == given
    assert contents(group) == before


@pytest.mark.parametrize("operation", UNCHANGING)
async def test_it_writes_nothing_where_nobody_waits(group: Topology, operation: str) -> None:
    """It costs what it did."""
    work, given = UNCHANGING[operation]
    calls = {node: hset_calls(node) for node in group.nodes}
    async with connected(group) as redis:
        assert await work(redis) == given
    assert {node: hset_calls(node) for node in group.nodes} == calls


def hset_calls(node: Node) -> str:
    """What it counts of them."""
    return node.info("commandstats").get("cmdstat_hset", "")


async def test_when_memory_is_full(group: Topology) -> None:
    """Nothing is added, so it is answered."""
    for node in group.nodes:
        node.call("CONFIG", "SET", "maxmemory", 1)
    try:
        async with connected(group, wait_replicas=1, wait_timeout=20) as redis:
            for work, given in UNCHANGING.values():
                assert await work(redis) == given
    finally:
        for node in group.nodes:
            node.call("CONFIG", "SET", "maxmemory", 0)


async def test_while_its_slot_is_being_moved() -> None:
    """What is absent is asked for at the target, what is there at the source; both as ever."""
    with ClusterGroup(masters=2, replicas=1) as group:
        for key, fields in RECORDS.items():
            group.master_of(key).call("HSET", key, *fields)
        before = contents(group)
        async with connected(group, wait_replicas=1, wait_timeout=20) as redis:
            for key in ("cs:gone", "token:GONE", f"certificate:{HASH}", *RECORDS):
                source = group.master_of(key)
                (target,) = {*group.masters()} - {source}
                group.begin_migration(key_slot(key.encode()), source, target)
            for work, given in UNCHANGING.values():
                assert await work(redis) == given
        assert contents(group) == before

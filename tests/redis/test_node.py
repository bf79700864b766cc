"""Writes that replicas confirm, on a master with replicas that really run."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from csms_redis.contract.errors import OutcomeUnknown, Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.durability import Durability
from csms_redis.redis.node import Node
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.software import CHOSEN, REDIS_7_0

REPLICAS = 2
SET = (b"SET", b"cs:a", b"1")


@pytest.fixture
def group() -> Iterator[SentinelGroup]:
    """A master with two replicas, all with append-only files."""
    with SentinelGroup(replicas=REPLICAS, sentinels=1) as running:
        yield running


@asynccontextmanager
async def writing(
    group: SentinelGroup, replicas: int, *, patience: float = 10, on_disk: bool = False
) -> AsyncIterator[Node]:
    """Write to the first node."""
    host, port = group.nodes[0].address
    node = Node(
        Address(host=host, port=port),
        max_connections=2,
        durability=Durability(replicas=replicas, timeout=patience, on_disk=on_disk),
    )
    try:
        yield node
    finally:
        await node.close()


async def test_all_replicas_have_it(group: SentinelGroup) -> None:
    """When it is acknowledged, each of them answers it."""
    async with writing(group, REPLICAS) as node:
        for number in range(100):
            assert await node.write("SET", "cs:a", number, within=1) == b"OK"
            for replica in group.nodes[1:]:
                assert replica.call("GET", "cs:a") == f"{number}"

    assert "cmdstat_wait:calls=100" in group.nodes[0].call("INFO", "commandstats")


async def test_all_disks_have_it(group: SentinelGroup) -> None:
    """The master's and the replicas'."""
    group.software.must_know("WAITAOF")
    for each in group.nodes:
        each.call("CONFIG", "SET", "appendfsync", "always")
    async with writing(group, REPLICAS, on_disk=True) as node:
        for number in range(20):
            assert await node.write("SET", "cs:a", number, within=1) == b"OK"

    assert "cmdstat_waitaof:calls=20" in group.nodes[0].call("INFO", "commandstats")


async def test_a_master_that_does_not_write_to_its_disk(group: SentinelGroup) -> None:
    """Its replicas' disks are not enough."""
    group.software.must_know("WAITAOF")
    group.nodes[0].call("CONFIG", "SET", "appendfsync", "no")
    async with writing(group, REPLICAS, patience=1, on_disk=True) as node:
        with capture_logs() as logged, pytest.raises(OutcomeUnknown):
            await node.write(*SET, within=1)

    assert [event["event"] for event in logged] == ["the master did not write to its disk in time"]


async def test_a_server_that_cannot_tell_of_its_disk() -> None:
    """Redis before 7.2: the log says so at the first contact, each answer says what to do."""
    with SentinelGroup(replicas=1, sentinels=1, software=REDIS_7_0) as group:
        async with writing(group, 1, on_disk=True) as node:
            with capture_logs() as logged:
                await node.read_many([("PING",)], within=1)
                with pytest.raises(OutcomeUnknown) as caught:
                    await node.write(*SET, within=1)
        assert group.nodes[1].call("GET", "cs:a") == "1"

    assert caught.value.lasting
    for word in ("WAITAOF", "was applied", "Redis 7.2", "redis.wait_for_disk"):
        assert word in caught.value.error
    first, then = logged
    assert first["event"] == then["event"]
    assert "WAITAOF" in first["event"]
    assert first["version"].startswith("7.0.")
    assert {first["log_level"], then["log_level"]} == {"error"}
    assert "redis.wait_for_disk" in first["to_do"]


async def test_one_replica_too_few(group: SentinelGroup) -> None:
    """It may have been applied, and says so; the log names both numbers."""
    group.nodes[2].kill()
    async with writing(group, REPLICAS, patience=2) as node:
        with capture_logs() as logged, pytest.raises(OutcomeUnknown) as caught:
            await node.write(*SET, within=1)

    assert "1 of 2 replicas" in caught.value.error
    assert "send it again" in caught.value.error
    (event,) = logged
    assert (event["confirmed"], event["wanted"]) == (1, 2)


async def test_a_replica_that_hangs(group: SentinelGroup) -> None:
    """Is given its time, and no more."""
    group.nodes[2].freeze()
    try:
        async with writing(group, REPLICAS, patience=2) as node:
            with pytest.raises(OutcomeUnknown):
                await asyncio.wait_for(node.write(*SET, within=1), 10)
            assert await node.read("GET", "cs:a", within=1) == b"1"
    finally:
        group.nodes[2].thaw()


async def test_fewer_are_enough_where_fewer_are_wanted(group: SentinelGroup) -> None:
    group.nodes[2].kill()
    async with writing(group, 1) as node:
        assert await node.write(*SET, within=1) == b"OK"


async def test_a_disk_without_an_append_only_file(group: SentinelGroup) -> None:
    """Cannot be waited for; the log and the answer say what to change."""
    CHOSEN.must_know("WAITAOF")
    for each in group.nodes:
        each.call("CONFIG", "SET", "appendonly", "no")
    async with writing(group, REPLICAS, on_disk=True) as node:
        with capture_logs() as logged, pytest.raises(OutcomeUnknown, match="appendonly yes"):
            await node.write(*SET, within=1)

    (line,) = logged
    assert line["event"] == "Redis cannot confirm that a write is on disk: it has appendonly no"
    assert "appendonly yes" in line["to_do"]


async def test_a_master_that_is_demoted_while_it_waits(group: SentinelGroup) -> None:
    """WAIT is broken off; nobody knows what becomes of the write."""
    master, *replicas = group.nodes
    for replica in replicas:
        replica.freeze()
    try:
        async with writing(group, REPLICAS) as node:
            write = asyncio.create_task(node.write(*SET, within=1))
            await asyncio.sleep(0.2)
            master.call("REPLICAOF", replicas[0].address.host, replicas[0].address.port)
            with pytest.raises(OutcomeUnknown):
                await write
    finally:
        for replica in replicas:
            replica.thaw()


async def test_a_replica_is_not_written_to(group: SentinelGroup) -> None:
    """Not even one that takes writes, which the next synchronization would undo."""
    replica = group.nodes[1]
    replica.call("CONFIG", "SET", "replica-read-only", "no")
    host, port = replica.address
    node = Node(Address(host=host, port=port), max_connections=1)
    with pytest.raises(Unavailable) as caught:
        await node.write(*SET, within=1)
    await node.close()

    assert type(caught.value) is Unavailable
    assert replica.call("EXISTS", "cs:a") == 0

"""Writes to masters of a real cluster that lose slots, one by one or all, as they happen."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from redis.crc import key_slot

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient
from csms_redis.redis.cluster import Cluster
from csms_redis.redis.durability import Durability
from csms_redis.redis.node import Node
from tests.support.service import until
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.node import Node as Server

PATIENCE = 10.0  # seconds that replicas are waited for: nobody else is as slow


@pytest.fixture
def group() -> Iterator[ClusterGroup]:
    """Three masters, each with a replica."""
    with ClusterGroup() as running:
        yield running


@asynccontextmanager
async def writing(
    group: ClusterGroup, *, replicas: int, following: bool
) -> AsyncIterator[RedisClient]:
    """Write to a cluster, by its map of this moment unless it is followed."""
    topology = Cluster([Address(host=h, port=p) for h, p in [group.nodes[0].address]], timeout=1)
    await topology.look()
    durability = Durability(replicas=replicas, timeout=PATIENCE)

    def node(address: Address) -> Node:
        return Node(address, max_connections=4, durability=durability)

    client = RedisClient(topology, node, timeout=2)
    looking = asyncio.create_task(topology.run()) if following else None
    try:
        yield client
    finally:
        if looking:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
        await client.close()
        await topology.close()


@pytest.mark.parametrize("together", [False, True])
async def test_a_redirected_write_does_not_wait_for_replicas_twice(
    group: ClusterGroup, *, together: bool
) -> None:
    """Where it is not carried out there is nothing to wait for, and perhaps no replica left."""
    key = "cs:a"
    slot = key_slot(key.encode())
    source = group.master(slot)
    target = next(node for node in group.masters() if node is not source)
    async with writing(group, replicas=1, following=False) as client:
        for replica in group.replicas(source):
            replica.kill()
        group.migrate_slot(slot, source, target)
        began = time.monotonic()
        if together:
            said = await client.write_all([(key.encode(), ("HSET", key, "a", "1"))])
        else:
            said = [await client.write(key.encode(), "HSET", key, "a", "1")]
        assert said == [1]
        assert time.monotonic() - began < PATIENCE
    assert target.call("HGET", key, "a") == "1"


async def test_a_master_gives_its_last_slots_away(group: ClusterGroup) -> None:
    """It becomes a replica by itself; the map says whose its slots are now, and no write fails."""
    group.software.must_know("CLUSTER MIGRATESLOTS")
    for node in group.nodes:
        node.call("CONFIG", "SET", "cluster-allow-replica-migration", "yes")
    source = group.master()
    target = next(node for node in group.masters() if node is not source)
    ((first, last),) = [at for at, id_ in group.owners(source).items() if id_ == group.id(source)]
    keys = [f"cs:{n}".encode() for n in range(2000) if first <= key_slot(b"cs:%d" % n) <= last]
    failed: list[str] = []
    written: dict[bytes, int] = {}
    over = asyncio.Event()

    async def write(some: list[bytes], client: RedisClient) -> None:
        number = 0
        while not over.is_set():
            for key in some:
                number += 1
                try:
                    await client.write(key, "HSET", key, "n", number)
                    written[key] = number
                except Unavailable as unavailable:
                    failed.append(unavailable.error)

    async with writing(group, replicas=0, following=True) as client:
        writers = [asyncio.create_task(write(keys[at::4], client)) for at in range(4)]
        await asyncio.sleep(0.5)
        await asyncio.to_thread(_give_all, source, target, first, last, group)
        await asyncio.sleep(1)
        over.set()
        await asyncio.gather(*writers)

    assert failed == []
    assert len(written) == len(keys)
    for key, number in written.items():
        assert target.call("HGET", key.decode(), "n") == str(number)


def _give_all(source: Server, target: Server, first: int, last: int, group: ClusterGroup) -> None:
    source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", group.id(target))
    until(lambda: source.role() == "slave", "the source has become a replica")

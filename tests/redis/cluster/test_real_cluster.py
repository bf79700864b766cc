"""The map of a real cluster stays right: masters are killed, slots are moved, nodes come and go."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from csms_redis.redis.address import Address
from csms_redis.redis.cluster import Cluster
from csms_redis.redis.slots import SLOTS
from tests.support.cluster_nodes import KEY, SECRET, SEED, Told, until
from tests.support.topologies import node as real
from tests.support.topologies.cluster import ClusterGroup


@pytest.fixture(scope="module")
def group() -> Iterator[ClusterGroup]:
    with ClusterGroup() as running:
        yield running


@asynccontextmanager
async def following(group: ClusterGroup, *seeds: real.Node) -> AsyncIterator[Cluster]:
    """A cluster that looks as the service does."""
    cluster = Cluster([address_of(node) for node in seeds or group.nodes], timeout=0.5)
    running = asyncio.create_task(cluster.run())
    try:
        yield cluster
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await cluster.close()


def address_of(node: real.Node) -> Address:
    return Address(host=node.address.host, port=node.address.port)


def is_right(cluster: Cluster, group: ClusterGroup) -> bool:
    """Whether it has what the group says of every slot, and nothing to complain of."""
    ids = {group.id(node): address_of(node) for node in group.nodes}
    said = group.owners(next(node for node in group.nodes if node.alive))
    slots: list[Address | None] = [None] * SLOTS
    for (first, last), owner in said.items():
        slots[first : last + 1] = [ids[owner]] * (last - first + 1)
    return (
        cluster.problem is None
        and slots == cluster._slots
        and set(cluster.masters) == set(slots)
        and all(time.monotonic() - cluster.confirmed(one) < 4 for one in cluster.masters)
    )


async def test_the_map_of_a_real_cluster(group: ClusterGroup) -> None:
    async with following(group, group.nodes[4]) as cluster:
        await until(lambda: is_right(cluster, group))


async def test_a_real_master_is_killed(group: ClusterGroup) -> None:
    """Until its replica owns its slots, they stay its own; and it comes back as a replica."""
    async with following(group) as cluster:
        await until(lambda: is_right(cluster, group))
        told = Told(cluster)
        old = await asyncio.to_thread(group.master, 0)
        old.kill()
        killed = time.monotonic()
        new = None
        while new is None:
            new = await asyncio.to_thread(group.find_master, 0)
        promoted = time.monotonic()
        await until(lambda: cluster.owner(KEY) == address_of(new))
        known = time.monotonic()
        print(  # noqa: T201
            f"\nmaster killed: replaced after {promoted - killed:.2f} s, "
            f"known {known - promoted:.2f} s later"
        )
        await until(lambda: told.slots == [set(range(5461))])
        await asyncio.to_thread(old.start)
        await asyncio.to_thread(group.wait_until_settled)
        await until(lambda: is_right(cluster, group))
        assert len(told.slots) == 1


async def test_a_real_zombie(group: ClusterGroup) -> None:
    """Stopped while it is replaced, it goes on as a master for a moment."""
    async with following(group) as cluster:
        await until(lambda: is_right(cluster, group))
        told = Told(cluster)
        old = await asyncio.to_thread(group.master, 0)
        old.freeze()
        try:
            new = await asyncio.to_thread(group.wait_for_new_master, old, 0)
            await until(lambda: cluster.owner(KEY) == address_of(new))
        finally:
            old.thaw()
        cluster.doubt()
        await asyncio.to_thread(group.wait_until_settled)
        await until(lambda: is_right(cluster, group))
        assert len(told.slots) == 1


async def test_real_slots_move(group: ClusterGroup) -> None:
    """One in the old way, some in Valkey 9's, and MOVED for the first."""
    async with following(group) as cluster:
        await until(lambda: is_right(cluster, group))
        source = await asyncio.to_thread(group.master, 0)
        target = next(node for node in group.masters() if node is not source)
        told = Told(cluster)
        group.begin_migration(0, source, target)
        target.call("CLUSTER", "SETSLOT", 0, "NODE", group.id(target))
        cluster.moved(KEY, address_of(target))
        await asyncio.to_thread(group.end_migration, 0, source, target)
        await until(lambda: is_right(cluster, group))
        assert address_of(target) == cluster.owner(KEY)
        await asyncio.to_thread(group.migrate_slots, 100, 199, source, target)
        await until(lambda: is_right(cluster, group))
        assert {0, *range(100, 200)} == set().union(*told.slots)
        await asyncio.to_thread(group.migrate_slot, 0, target, source)
        await asyncio.to_thread(group.migrate_slots, 100, 199, target, source)
        await until(lambda: is_right(cluster, group))


async def test_real_nodes_come_and_go(group: ClusterGroup) -> None:
    async with following(group) as cluster:
        await until(lambda: is_right(cluster, group))
        new = await asyncio.to_thread(group.add_node)
        await until(lambda: address_of(new) in cluster.masters)  # it may be named by an ASK
        source = await asyncio.to_thread(group.master, 0)
        await asyncio.to_thread(group.migrate_slots, 0, 0, source, new)
        await until(lambda: is_right(cluster, group))
        assert address_of(new) == cluster.owner(KEY)
        await asyncio.to_thread(group.migrate_slots, 0, 0, new, source)
        await asyncio.to_thread(group.remove_node, new)
        await asyncio.to_thread(group.wait_until_settled)
        await until(lambda: is_right(cluster, group))
        assert address_of(new) not in cluster.masters
        await until(lambda: address_of(new) not in cluster._questions._connections)


@pytest.mark.parametrize("kill", [False, True])
async def test_a_whole_real_cluster_restarts(group: ClusterGroup, *, kill: bool) -> None:
    async with following(group) as cluster:
        await until(lambda: is_right(cluster, group))
        await asyncio.to_thread(group.restart_all, kill=kill)
        await asyncio.to_thread(group.wait_until_settled)
        await until(lambda: is_right(cluster, group))


async def test_a_real_cluster_is_away_at_the_start(group: ClusterGroup) -> None:
    for node in group.nodes:
        node.kill()
    async with following(group) as cluster:
        await until(lambda: cluster.problem == "no node of the cluster answers")
        for node in group.nodes:
            node.spawn()
        await asyncio.to_thread(group.wait_until_settled)
        await until(lambda: is_right(cluster, group))


async def test_one_real_node_only_is_reached() -> None:
    """It knows the map, but nobody confirms it if it is a master."""
    with ClusterGroup(masters=3, replicas=0, proxied=True) as group:
        first, *others = group.nodes
        async with following(group, first) as cluster:
            await until(lambda: is_right(cluster, group))
            for node in others:
                group.cut(node)
            problem = f"no other node of the cluster confirms {address_of(first).host_and_port}"
            await until(lambda: cluster.problem == problem)
            assert len(cluster.masters) == 3
            for node in others:
                group.heal(node)
            await until(lambda: is_right(cluster, group))


async def test_a_real_server_that_is_no_cluster(tmp_path: Path) -> None:
    node = real.Node(tmp_path / "node")
    await asyncio.to_thread(node.start)
    try:
        cluster = Cluster([address_of(node)], timeout=5)
        await cluster.look()
        assert cluster.problem == "it is no cluster"
        await cluster.close()
    finally:
        node.kill()


async def test_a_wrong_password_on_a_real_cluster() -> None:
    with ClusterGroup(masters=3, replicas=0, password=SECRET) as group:
        seeds = [SEED.at(node.address.host, node.address.port) for node in group.nodes]
        cluster = Cluster(seeds, timeout=5)
        await cluster.look()
        assert cluster.problem == "the user name or the password is wrong or missing"
        await cluster.close()

"""Slots move under registering, blocking and deleting, through services that know their records.

Each service has cached what it reads from the former master. Whoever takes a slot over takes writes
at once, and the former master tells of none of them.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import pytest
from redis.crc import key_slot

from csms_redis.lookup.reading.link import LEASE
from tests.conftest import running_service
from tests.support.judge import judge, until_ready
from tests.support.measure import say
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.node import Node
from tests.support.topologies.seen import FAULT
from tests.support.topologies.verdict import Verdict
from tests.support.topologies.workload import Workload

SYNCHRONISED = 5.0
"""Seconds until a master that has become a replica is synchronised, and tells of all at once."""
RANGE = 700  # slots that move together
TOGETHER = 15  # slots that are in the same state of their move, key by key


@contextmanager
def loaded(replicas: int = 0) -> Iterator[tuple[ClusterGroup, Workload]]:
    """A cluster, and load through two services that have what is written in their caches."""
    with ClusterGroup(replicas=replicas) as group:
        for node in group.nodes:
            node.call("CONFIG", "SET", "cluster-allow-replica-migration", "yes")
        settings = {"redis__url": group.url, "redis__wait_replicas": f"{replicas}"}
        with running_service(**settings) as one, running_service(**settings) as other:
            for service in (one, other):
                until_ready(service)
            with Workload(
                one.url,
                other.url,
                cold=600,
                cached_rate=100,
                written_rate=300,
                write_rate=100,
                fresh=0.2,
                slack=0,
            ) as load:
                load.start()
                load.wait_for_writes(200)
                load.mark(FAULT)
                yield group, load


def conclude(what: str, load: Workload, group: ClusterGroup, *, after: float = 0) -> None:
    """End the load, print what was found, and assert what must hold.

    Args:
        what: was done.
        load: on services.
        group: of the cluster.
        after: when the former master was seen to be none (monotonic seconds): what it said until
            then may be believed for a lease. 0 where it tells itself of what it has lost.
    """
    load.wait_until_normal()
    load.wait_for_writes(100)
    verdict = load.stop(group).check()
    say(f"{what}: {verdict}; old answers: {len(verdict.old)}, latest {latest(verdict):.3f} s late")
    assert verdict.old_after(after, LEASE) == []
    judge(verdict)


def latest(verdict: Verdict) -> float:
    """How long something had been replaced when a lookup began that gave it."""
    return max((one.late for one in verdict.old), default=0)


def ends(group: ClusterGroup) -> tuple[Node, Node]:
    """A master with slots, and another one."""
    source = group.master()
    return source, next(node for node in group.masters() if node is not source)


def keys_move(group: ClusterGroup, load: Workload, source: Node, target: Node) -> None:
    """Some slots with records that are written, in each state of their move."""
    keys = group.by_master(record.redis_key for record in load.hot)[source]
    slots = sorted({key_slot(key.encode()) for key in keys})[:TOGETHER]
    for slot in slots:
        group.begin_migration(slot, source, target)
    load.wait_for_writes(100)
    for slot in slots:
        while group.move_keys(slot, source, target):
            pass
    load.wait_for_writes(20)
    for slot in slots:
        group.end_migration(slot, source, target)


def a_range_moves(group: ClusterGroup, load: Workload, source: Node, target: Node) -> None:
    """Some hundred slots at once."""
    del load
    first, last = max(group.slots(source), key=lambda slots: slots[1] - slots[0])
    group.migrate_slots(first, min(first + RANGE - 1, last), source, target)


MOVES: dict[str, Callable[[ClusterGroup, Workload, Node, Node], None]] = {
    "key by key": keys_move,
    "atomically": a_range_moves,
}


@pytest.mark.parametrize("rounds", [1, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("way", MOVES)
def test_slots_move_there_and_back(way: str, rounds: int) -> None:
    with loaded(replicas=1 if rounds > 1 else 0) as (group, load):
        source, target = ends(group)
        for _ in range(rounds):
            for here, there in ((source, target), (target, source)):
                MOVES[way](group, load, here, there)
                load.wait_for_writes(50)
        group.wait_until_settled()
        conclude(f"slots moved {way}, {rounds} times there and back", load, group)


class RoleWatch:
    """Notes when a node is first seen to be no master any more, in a thread."""

    def __init__(self, node: Node) -> None:
        self.demoted = 0.0
        self._node = node
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="role", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            if self._node.role() == "slave":
                self.demoted = time.monotonic()
                return


@pytest.mark.parametrize("known", [True, False], ids=["to one it knows", "to a new one"])
@pytest.mark.parametrize("replicas", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_master_gives_its_last_slot_away(replicas: int, *, known: bool) -> None:
    """It becomes a replica by itself, and tells nobody of what is written at the new master."""
    with loaded(replicas) as (group, load):
        source, target = ends(group)
        if not known:
            target = group.add_node()
        with RoleWatch(source) as watch:
            for first, last in group.slots(source):
                group.migrate_slots(first, last, source, target)
            group.wait_until(lambda: watch.demoted > 0, "it becomes a replica")
        until = watch.demoted + max(LEASE, SYNCHRONISED) + 2
        while time.monotonic() < until:
            load.wait_for_writes(20)
        group.wait_until_settled()
        conclude(
            f"a master gave all its slots to {'one it knew' if known else 'a new one'}, "
            f"{replicas} replicas",
            load,
            group,
            after=watch.demoted,
        )

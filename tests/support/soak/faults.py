"""The faults of a soak: what goes wrong, and how it is put right."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import hiredis
from redis.crc import key_slot

from tests.support.service import until
from tests.support.topologies.cluster import SLOTS, ClusterGroup
from tests.support.topologies.seen import Outcome
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.topology import Topology, start_together
from tests.support.topologies.workload import Workload

T = TypeVar("T", bound=Topology)
FROZEN = 4.0  # seconds, at least
MOVED = 12  # slots that are moved key by key
RANGE = 300  # slots that are moved at once
KILLS = 5  # times that all connections of clients are killed, a second apart


@dataclass(frozen=True)
class Fault(Generic[T]):
    """What goes wrong.

    Attributes:
        name: for the report.
        strike: does it; enters when there is a master again, and then takes it back. The number
            says how often it was done before, for another node each time.
    """

    name: str
    strike: Callable[[T, Workload, int], AbstractContextManager[None]]


# Faults of any topology


@contextmanager
def _job_in_an_outage(group: Topology, load: Workload, _: int) -> Iterator[None]:
    """Nobody answers, and a job tries to register, block and delete what is cached."""
    for node in group.nodes:
        node.kill()
    load.wait_for_writes_of(Outcome.REFUSED, 20)
    job = load.have_a_job("register", "block", "delete")
    assert {write.outcome for write in job} == {Outcome.REFUSED}
    start_together(group.nodes)
    group.wait_for_master()
    yield


# Faults of a cluster


def _some_slot(number: int) -> int:
    """One of another master each time, as the slots lie from the start."""
    return (number % 3) * (SLOTS // 3) + SLOTS // 6


@contextmanager
def _cluster_master_killed(group: ClusterGroup, _: Workload, number: int) -> Iterator[None]:
    slot = _some_slot(number)
    old = group.master(slot)
    old.kill()
    group.wait_for_new_master(old, slot)
    yield
    old.start()


@contextmanager
def _cluster_master_frozen(group: ClusterGroup, _: Workload, number: int) -> Iterator[None]:
    slot = _some_slot(number)
    old = group.master(slot)
    old.freeze()
    time.sleep(FROZEN)
    group.wait_for_new_master(old, slot)
    yield
    old.thaw()


@contextmanager
def _clients_killed(group: Topology, _: Workload, __: int) -> Iterator[None]:
    for at in range(KILLS):
        time.sleep(min(at, 1))
        for node in group.everyone:
            node.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    yield


@contextmanager
def _slots_moved(group: ClusterGroup, load: Workload, number: int) -> Iterator[None]:
    """Some key by key, with ASK between, and a range at once; then all of them back."""
    source, target = (group.master(_some_slot(at)) for at in (number, number + 1))
    keys = group.by_master(record.redis_key for record in load.records[::20])[source]
    slots = sorted({key_slot(key.encode()) for key in keys})[:MOVED]
    _, last = max(group.slots(source), key=lambda slots: slots[1] - slots[0])
    first = last - RANGE + 1
    assert slots[-1] < first
    for here, there in ((source, target), (target, source)):
        for slot in slots:
            group.migrate_slot(slot, here, there, batch=1, pace=0.05)
        group.migrate_slots(first, last, here, there)
        load.wait_for_writes(20)
    yield


@contextmanager
def _master_emptied(group: ClusterGroup, load: Workload, number: int) -> Iterator[None]:
    """All its slots are moved at once, then back."""
    source, target = (group.master(_some_slot(at)) for at in (number, number + 1))
    moved = group.slots(source)
    for here, there in ((source, target), (target, source)):
        for first, last in moved:
            group.migrate_slots(first, last, here, there)
        load.wait_for_writes(50)
    yield


@contextmanager
def _cluster_failed_over(group: ClusterGroup, _: Workload, __: int) -> Iterator[None]:
    for number in range(3):
        group.fail_over(_some_slot(number))
        group.wait_until_settled()
    yield


CLUSTER_FAULTS: list[Fault[ClusterGroup]] = [
    Fault("master killed", _cluster_master_killed),
    Fault("master frozen", _cluster_master_frozen),
    Fault("clients killed", _clients_killed),
    Fault("slots moved", _slots_moved),
    Fault("master emptied", _master_emptied),
    Fault("job in an outage", _job_in_an_outage),
    Fault("rolling failover", _cluster_failed_over),
]


# Faults behind Sentinel


@contextmanager
def _master_killed(group: SentinelGroup, _: Workload, __: int) -> Iterator[None]:
    old = group.master()
    old.kill()
    group.wait_for_new_master(old)
    yield
    old.start()


@contextmanager
def _master_frozen(group: SentinelGroup, _: Workload, __: int) -> Iterator[None]:
    old = group.master()
    old.freeze()
    time.sleep(FROZEN)
    group.wait_for_new_master(old)
    yield
    old.thaw()


@contextmanager
def _others_killed(group: SentinelGroup, _: Workload, number: int) -> Iterator[None]:
    """A replica, without which no write is acknowledged, and a sentinel."""
    killed = [group.replicas()[0], group.sentinels[number % len(group.sentinels)]]
    for node in killed:
        node.kill()
    time.sleep(FROZEN)
    for node in killed:
        node.start()
    yield


@contextmanager
def _replicas_lag(group: SentinelGroup, load: Workload, __: int) -> Iterator[None]:
    """They have not read what they were sent when one of them becomes the master."""
    old, replicas = group.master(), group.replicas()
    for node in replicas:
        node.freeze()
    load.wait_for_writes_of(Outcome.UNKNOWN, 20)
    old.kill()
    for node in replicas:
        node.kill()
    start_together(replicas)
    group.wait_for_new_master(old)
    yield
    old.start()


@contextmanager
def _failed_over(group: SentinelGroup, _: Workload, __: int) -> Iterator[None]:
    def done() -> bool:
        try:
            group.fail_over()
        except hiredis.ReplyError:  # NOGOODSLAVE: a sentinel has not asked them lately
            return False
        return True

    for _time in range(2):
        until(done, "the sentinels fail over", seconds=60)
        group.wait_until_settled()
    yield


SENTINEL_FAULTS: list[Fault[SentinelGroup]] = [
    Fault("master killed", _master_killed),
    Fault("master frozen", _master_frozen),
    Fault("clients killed", _clients_killed),
    Fault("replica and sentinel killed", _others_killed),
    Fault("replicas lag", _replicas_lag),
    Fault("job in an outage", _job_in_an_outage),
    Fault("rolling failover", _failed_over),
]

"""Nodes of a cluster fail and slots move, under load: what was acknowledged, what was answered."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis.crc import key_slot

from tests.conftest import Service, running_service
from tests.support.judge import judge, until_ready
from tests.support.measure import say
from tests.support.topologies.cluster import SLOTS, ClusterGroup
from tests.support.topologies.node import Node
from tests.support.topologies.seen import FAULT, MASTER
from tests.support.topologies.verdict import Verdict
from tests.support.topologies.workload import Workload

MIGRATED = 40  # slots with records


class Site:
    """A cluster of three masters and three replicas, a service, and load on it."""

    def __init__(self, group: ClusterGroup, service: Service, load: Workload) -> None:
        self.group = group
        self.service = service
        self.load = load

    def whole_again(self) -> None:
        """From here lookups must come back to normal."""
        self.load.mark(MASTER)
        self.load.wait_until_normal()

    def verdict(self) -> Verdict:
        """Wait until writes are acknowledged as before, end the load, and judge."""
        self.group.wait_until_settled()
        self.load.wait_for_writes(50)
        assert self.service.process.poll() is None
        return self.load.stop(self.group).check()


@contextmanager
def site(wait_replicas: int = 1) -> Iterator[Site]:
    """Load since a moment ago; the fault may begin."""
    with (
        ClusterGroup() as group,
        running_service(
            redis__url=group.url, redis__wait_replicas=f"{wait_replicas}", redis__wait_timeout="1"
        ) as service,
    ):
        until_ready(service)
        with Workload(service.url, removes=wait_replicas > 0) as load:
            load.start()
            load.wait_for_writes(100)
            load.mark(FAULT)
            yield Site(group, service, load)


def conclude(what: str, verdict: Verdict, *, lossless: bool = True) -> None:
    """Print what was found, and assert what must hold."""
    say(f"{what}: {verdict}")
    judge(verdict, lossless=lossless)


FAULTS = {"killed": (Node.kill, Node.start), "stopped, then a zombie": (Node.freeze, Node.thaw)}


@pytest.mark.parametrize("wait_replicas", [1, pytest.param(0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_master_fails(fault: str, wait_replicas: int) -> None:
    """Its replica takes over, and it comes back as a replica of that."""
    begin, end = FAULTS[fault]
    with site(wait_replicas) as at:
        old = at.group.master()
        begin(old)
        at.group.wait_for_new_master(old, 0)
        at.whole_again()
        end(old)
        verdict = at.verdict()
    conclude(
        f"a cluster's master {fault}, {wait_replicas} of 1 replicas waited for",
        verdict,
        lossless=wait_replicas > 0,
    )


@pytest.mark.slow  # test_slot_migration.py moves slots in each run
def test_slots_migrate() -> None:
    """Key by key, with ASK between, to a node that is new; then a range at once; then it leaves."""
    with site() as at:
        group = at.group
        source = group.master()
        new = group.add_node()
        group.add_node(replica_of=new)
        keys = group.by_master(record.redis_key for record in at.load.records)[source]
        slots = sorted({key_slot(key.encode()) for key in keys})[:MIGRATED]
        for slot in slots:
            group.migrate_slot(slot, source, new, batch=1, pace=0.05)
        first = slots[-1] + 1
        group.migrate_slots(first, min(first + 500, SLOTS // 3 - 1), source, new)
        at.load.wait_for_writes(50)
        group.empty(new)
        at.whole_again()
        verdict = at.verdict()
    conclude(f"{len(slots)} slots migrated key by key, 501 at once, and back", verdict)


def test_all_nodes_are_killed_and_started_again() -> None:
    """For a while there is no Redis at all."""
    with site() as at:
        at.group.restart_all(kill=True)
        at.group.wait_for_master()
        at.whole_again()
        verdict = at.verdict()
    conclude("all nodes of a cluster killed and started again", verdict)


def test_rolling_restart() -> None:
    """Every node is restarted, one after the other, as an upgrade does."""
    with site() as at:
        at.group.rolling_restart()
        at.whole_again()
        verdict = at.verdict()
    conclude("rolling restart of a cluster", verdict)

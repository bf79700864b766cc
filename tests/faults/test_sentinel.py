"""A master behind Sentinel fails under load: what was acknowledged, and what was answered."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.conftest import running_service
from tests.faults.judge import judge, until_ready
from tests.lookup.measure import say
from tests.topologies.history import FAULT, MASTER, Verdict
from tests.topologies.node import Node
from tests.topologies.sentinels import SentinelGroup
from tests.topologies.workload import Workload

REPLICAS = 2


class Fault(NamedTuple):
    """What happens to a master, and how it is taken back."""

    name: str
    begin: Callable[[SentinelGroup, Node], None]
    end: Callable[[SentinelGroup, Node], None]
    proxied: bool = False


FAULTS = [
    Fault("killed", lambda _, node: node.kill(), lambda _, node: node.start()),
    Fault("stopped", lambda _, node: node.freeze(), lambda _, node: node.thaw()),
    Fault("cut off", SentinelGroup.cut, SentinelGroup.heal, proxied=True),
]


def suffer(fault: Fault, wait_replicas: int) -> Verdict:
    """Let a master fail under load and come back, with as many replicas waited for."""
    with (
        SentinelGroup(replicas=REPLICAS, proxied=fault.proxied) as group,
        running_service(
            redis__url=group.url, redis__wait_replicas=f"{wait_replicas}", redis__wait_timeout="1"
        ) as service,
    ):
        until_ready(service)
        with Workload(service.url) as load:
            load.start()
            load.wait_for_writes(100)
            old = group.master()
            load.mark(FAULT)
            fault.begin(group, old)
            group.wait_for_new_master(old)
            load.mark(MASTER)
            load.wait_until_normal()
            fault.end(group, old)
            group.wait_until_settled()
            load.wait_for_writes(50)
            verdict = load.stop(group).check()
        say(f"master {fault.name}, {wait_replicas} of {REPLICAS} replicas waited for: {verdict}")
        assert service.process.poll() is None
        return verdict


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_nothing_acknowledged_is_lost(fault: Fault) -> None:
    """When every replica has a write before it is acknowledged, whichever is promoted has it."""
    verdict = suffer(fault, REPLICAS)

    judge(verdict)
    assert verdict.lost == []


@pytest.mark.parametrize(
    ("fault", "wait_replicas"),
    [
        # where writes are lost
        pytest.param(FAULTS[2], 0, id="cut off-0"),
        *(
            pytest.param(fault, count, id=f"{fault.name}-{count}", marks=pytest.mark.slow)
            for count in (0, 1)
            for fault in FAULTS
            if (fault, count) != (FAULTS[2], 0)
        ),
    ],
)
def test_fewer_replicas(fault: Fault, wait_replicas: int) -> None:
    """Writes may be lost, and are counted; lookups are answered all the same."""
    judge(suffer(fault, wait_replicas))


def test_rolling_restart() -> None:
    """Every server is restarted, one after the other, as an upgrade does."""
    with (
        SentinelGroup(replicas=REPLICAS) as group,
        running_service(redis__url=group.url, redis__wait_replicas=f"{REPLICAS}") as service,
    ):
        until_ready(service)
        with Workload(service.url) as load:
            load.start()
            load.wait_for_writes(100)
            load.mark(FAULT)
            group.rolling_restart()
            load.mark(MASTER)
            load.wait_until_normal()
            load.wait_for_writes(50)
            verdict = load.stop(group).check()
    say(f"rolling restart behind Sentinel: {verdict}")

    judge(verdict)
    assert verdict.lost == []

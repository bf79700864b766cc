"""A master behind Sentinel fails under load: what was acknowledged, and what was answered."""

import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import pytest

from tests.conftest import Service, running_service, wait_for
from tests.support.judge import judge, until_ready
from tests.support.measure import say
from tests.support.topologies.node import Node
from tests.support.topologies.rights import ON_SENTINELS, PASSWORD, permit
from tests.support.topologies.seen import FAULT, MASTER
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.topology import ADMIN
from tests.support.topologies.verdict import Verdict
from tests.support.topologies.workload import Workload

REPLICAS = 2
STATIONS = ("cached", "deleted", "read")
STALE_IF_ERROR = 9  # seconds; more than a failover takes, and than others' word holds


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
        with Workload(service.url, removes=wait_replicas == REPLICAS) as load:
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
    judge(suffer(fault, REPLICAS))


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
    judge(suffer(fault, wait_replicas), lossless=False)


class Partition:
    """A network that is cut in two: a service and the master here, all others there.

    The users by whom they reach one another are switched off, for a proxy before the master would
    cut off the service as well.
    """

    def __init__(self, group: SentinelGroup) -> None:
        self._group = group
        self._master = group.master()
        self._master.credentials = ("csms", PASSWORD)

    def begin(self) -> None:
        self._switch("off")
        self._master.call("CLIENT", "KILL", "USER", ADMIN[0])
        for sentinel in self._group.sentinels:
            sentinel.call("CLIENT", "KILL", "USER", "csms")

    def end(self) -> None:
        self._switch("on")
        self._master.credentials = ADMIN

    def _switch(self, state: str) -> None:
        self._master.call("ACL", "SETUSER", ADMIN[0], state)
        for sentinel in self._group.sentinels:
            sentinel.call("ACL", "SETUSER", "csms", state)


def stale_answers(service: Service) -> float:
    """Lookups that were answered with what may have changed since."""
    metrics = service.request("GET", "/metrics").body.decode()
    lines = re.findall(r'^csms_lookups_total\{.*outcome="stale".*\} (.+)$', metrics, re.MULTILINE)
    return sum(map(float, lines))


def test_cut_off_together_with_the_master(tmp_path: Path) -> None:
    """What it says is served as stale, and no longer than that: others have a master by now."""
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    with SentinelGroup(
        users=["default off", f"csms on >{PASSWORD} ~* &* +@all"],
        sentinel_user="sentinels",
        sentinel_password="theirs",
    ) as group:
        permit(group.sentinels, ON_SENTINELS)
        settings = {
            "redis__url": group.url_as("csms", PASSWORD),
            "redis__sentinel_username": "csms",
            "redis__sentinel_password_file": str(secret),
            "lookup__stale_if_error": f"{STALE_IF_ERROR}",
        }
        with running_service(**settings) as service:
            until_ready(service)
            for name in STATIONS:
                assert service.post(f"/cs/{name}", {"securityProfile": 2}).status == 201
            assert service.get("/cs/cached/auth").status == 200
            old = group.master()
            group.wait_until(lambda: old.call("WAIT", REPLICAS, 1000) == REPLICAS, "all have them")

            partition = Partition(group)
            begun = monotonic()
            partition.begin()
            seen: set[int] = set()
            deleted = 0
            while not service.events("Redis is not used"):
                seen.add(service.get("/cs/deleted/auth").status)
                if not deleted and (new := group.find_master()) not in {None, old}:
                    deleted = new.call("DEL", "cs:deleted")
                assert monotonic() < begun + 10 * STALE_IF_ERROR
            took = monotonic() - begun
            say(f"a former master was read for {took:.1f} s, {STALE_IF_ERROR} of them allowed")
            assert seen <= {200, 503}
            assert 200 in seen
            assert stale_answers(service) > 0
            assert service.events("what Redis answers counts as stale")
            wait_for(
                lambda: {service.get(f"/cs/{name}/auth").status for name in STATIONS} == {503},
                "nothing is served any more",
            )
            if not deleted:
                deleted = group.wait_for_new_master(old).call("DEL", "cs:deleted")
            assert deleted == 1

            partition.end()
            until_ready(service)
            assert service.get("/cs/deleted/auth").status == 404
            assert service.get("/cs/read/auth").status == 200


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

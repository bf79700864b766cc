"""Redis is away, and a job goes on registering the fleet, or blocks or deletes all of it."""

import pytest

from tests.conftest import running_service
from tests.support.judge import judge, until_ready
from tests.support.measure import say
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.seen import FAULT, MASTER, Outcome
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.standalone import Standalone
from tests.support.topologies.topology import Topology, start_together
from tests.support.topologies.workload import Workload

GROUPS: dict[str, type[Topology]] = {
    "one": Standalone,
    "sentinels": SentinelGroup,
    "cluster": ClusterGroup,
}


@pytest.mark.parametrize(
    "group",
    [
        "one",
        pytest.param("sentinels", marks=pytest.mark.slow),
        pytest.param("cluster", marks=pytest.mark.slow),
    ],
)
def test_a_job_takes_nothing_away(group: str) -> None:
    """Each of its writes is refused, and each station is answered as before, by all services."""
    with (
        GROUPS[group]() as redis,
        running_service(**redis.settings) as one,
        running_service(**redis.settings) as other,
    ):
        for service in (one, other):
            until_ready(service)
        with Workload(one.url, other.url, cold=800) as load:
            load.start()
            load.wait_for_writes(100)
            load.mark(FAULT)
            for node in redis.nodes:
                node.kill()
            load.wait_for_writes_of(Outcome.REFUSED, 20)
            job = load.have_a_job("register", "block", "register", "delete")
            load.wait_for_lookups(300)
            ready = [s.request("GET", "/health/ready").status for s in (one, other)]
            start_together(redis.nodes)
            redis.wait_for_master()
            load.mark(MASTER)
            load.wait_until_normal()
            load.wait_for_writes(50)
            verdict = load.stop(redis).check()
        say(f"an outage of {group}, {len(job)} writes of a job in it: {verdict}")
    assert {write.outcome for write in job} == {Outcome.REFUSED}
    assert ready == [200, 200]
    judge(verdict)

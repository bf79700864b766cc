"""The least rights on a cluster: they are enough, and each is needed."""

from collections.abc import Iterator

import pytest

from csms_redis.redis.slots import slot_of
from tests.conftest import Service, wait_for
from tests.support.least_rights import see_it_work, service_as
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.rights import (
    ON_REDIS,
    permit,
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterGroup]:
    with ClusterGroup(replicas=1) as running:
        yield running


class TestCluster:
    """A cluster."""

    def test_it_is_enough(self, cluster: ClusterGroup) -> None:
        """Also while a slot is being moved."""
        permit(cluster.nodes, ON_REDIS)
        with service_as(cluster, redis__wait_replicas="1") as service:
            see_it_work(service)
            self._look_up_while_a_slot_moves(cluster, service, 200)
            assert "NOPERM" not in service.log

    def test_without_cluster_nodes(self, cluster: ClusterGroup) -> None:
        permit(cluster.nodes, ON_REDIS, "+cluster|nodes")
        with service_as(cluster) as service:
            wait_for(
                lambda: (
                    "may not run CLUSTER NODES" in str(service.request("GET", "/health/ready").body)
                ),
                "readiness says why",
            )
            assert service.post("/cs/cs001", {"securityProfile": 2}).status == 503

    def test_without_asking(self, cluster: ClusterGroup) -> None:
        """All is well until a slot is moved."""
        permit(cluster.nodes, ON_REDIS, "+asking")
        with service_as(cluster) as service:
            see_it_work(service)
            self._look_up_while_a_slot_moves(cluster, service, 503)

    def _look_up_while_a_slot_moves(
        self, cluster: ClusterGroup, service: Service, status: int
    ) -> None:
        slot = slot_of(b"cs:moved")
        assert service.post("/cs/moved", {"securityProfile": 2}).status == 201
        source = cluster.master(slot)
        target = next(node for node in cluster.masters() if node is not source)
        cluster.begin_migration(slot, source, target)
        try:
            cluster.move_keys(slot, source, target)
            assert service.get("/cs/moved/auth").status == status
            assert service.post("/cs/moved", {"securityProfile": 2}).status == (
                201 if status == 200 else status
            )
        finally:
            cluster.end_migration(slot, source, target)
            cluster.wait_until_settled()

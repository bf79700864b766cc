"""`check` on a cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.support.check_report import about, check
from tests.support.service import PASSWORD
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.standalone import Standalone


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterGroup]:
    with ClusterGroup(password=PASSWORD) as group:
        yield group


class TestCluster:
    """Every master is looked at."""

    def test_each_master(self, cluster: ClusterGroup, tmp_path: Path) -> None:
        code, told = check(tmp_path, cluster.url, wait_replicas="1")
        masters = sorted(str(node.address) for node in cluster.masters())
        assert sorted(about(told, "redis")) == [
            ("ok", f"redis://{address}/0 answers") for address in masters
        ]
        assert len(about(told, "version")) == 3
        assert about(told, "wait_replicas") == [
            ("ok", "1: what was acknowledged is at every replica")
        ]
        assert about(told, "min-replicas", "role", "key_prefix", "tls") == []
        assert code == 0

    def test_a_hash_tag(self, cluster: ClusterGroup, tmp_path: Path) -> None:
        """It would put all keys into one slot."""
        _, told = check(tmp_path, cluster.url, key_prefix="{csms}:")
        ((level, text),) = about(told, "key_prefix")
        assert level == "warning"
        assert "all records are in one slot" in text

    def test_a_master_without_a_replica(self, cluster: ClusterGroup, tmp_path: Path) -> None:
        """Nothing takes its place when it dies; waiting for a replica would be in vain."""
        master = cluster.master(0)
        replica = cluster.replicas(master)[0]
        replica.terminate()
        try:
            wait_for(lambda: master.info("replication")["connected_slaves"] == "0", "it is gone")
            code, told = check(tmp_path, cluster.url)
            ((level, text),) = about(told, "replicas")
            assert (level, code) == ("warning", 0)
            assert text.startswith(f"redis://{master.address}/0 has none")
            ((level, text),) = about(told, "wait_replicas")
            assert text.endswith("give each master 1 and set redis.wait_replicas = 1")
            code, told = check(tmp_path, cluster.url, wait_replicas="1")
            ((level, text),) = about(told, "wait_replicas")
            assert (level, code) == ("error", 1)
            assert text.startswith(f"1, but redis://{master.address}/0 has no replicas: ")
        finally:
            replica.start()
            cluster.wait_until_settled()

    def test_one_node_that_is_taken_for_the_redis(
        self, cluster: ClusterGroup, tmp_path: Path
    ) -> None:
        """Writes to two thirds of the keys would be refused."""
        url = cluster.url.split(",")[0].replace("+cluster", "")
        code, told = check(tmp_path, url)
        ((level, text),) = about(told, "role")
        assert (level, code) == ("error", 1)
        assert "redis+cluster://" in text

    def test_what_is_no_cluster(self, tmp_path: Path) -> None:
        with Standalone(password=PASSWORD) as one:
            url = one.url.removesuffix("/0").replace("redis://", "redis+cluster://")
            code, told = check(tmp_path, url)
        ((level, text),) = about(told, "redis")
        assert (level, code) == ("error", 1)
        assert text == f"redis+cluster://{one.node.address}: it is no cluster"

    def test_a_wrong_password(self, cluster: ClusterGroup, tmp_path: Path) -> None:
        code, told = check(tmp_path, cluster.url_as("", "wr0ng-one"))
        ((level, text),) = about(told, "redis")
        assert (level, code) == ("error", 1)
        assert "wr0ng" not in text

"""The least rights in deploy/install.md: they are enough, and each is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hiredis
import pytest

from csms_redis.redis.slots import slot_of
from csms_redis.registry.rights import COMMANDS, KEYS
from tests.conftest import DATA, Reply, Service, running_service, wait_for
from tests.support.check_report import about, check
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.rights import (
    ON_DISKS,
    ON_FIELDS,
    ON_REDIS,
    ON_SENTINELS,
    PASSWORD,
    permit,
)
from tests.support.topologies.sentinels import MASTER, SentinelGroup
from tests.support.topologies.software import CHOSEN, EACH, REDIS_6_2, Software
from tests.support.topologies.standalone import Standalone
from tests.support.topologies.topology import Topology

PEM = (DATA / "certificates" / "HUBOpenProvCert001.pem").read_text("ascii")
PEM_HASH = "1KOlEbBBpCleKkKEbIDwfq_u-zHhkzzH7mGYdfHz1SU"
TOKEN = {
    "countryCode": "GB",
    "partyId": "TWK",
    "type": "RFID",
    "uid": "DEADBEEF",
    "contractId": "GBTWK012345678V",
    "issuer": "Thoughtworks",
    "valid": True,
    "cacheMode": "ALWAYS",
}

TO_STORE = [f"+{command}" for command in COMMANDS["writes"] if command != "del"]


@contextmanager
def service_as(topology: Topology, **settings: str) -> Iterator[Service]:
    """A service that is the user of the documentation."""
    url = {"redis__url": topology.url_as("csms", PASSWORD)}
    with running_service(**topology.settings | url | settings) as service:
        yield service


def ready(service: Service) -> bool:
    """Whether it is."""
    return service.request("GET", "/health/ready").status == 200


def write_all(service: Service) -> list[Reply]:
    """Every kind of write, each of a new record and of one that is there."""
    replies = []
    for _ in range(2):
        replies += [
            service.post("/cs/cs001", {"securityProfile": 2}),
            service.post("/token", TOKEN),
            service.post("/certificate", {"certificate": PEM}),
        ]
    return [*replies, service.delete(f"/certificate/{PEM_HASH}")]


def statuses(replies: list[Reply]) -> list[int]:
    return [reply.status for reply in replies]


def logged(service: Service, event: str) -> list[dict[str, Any]]:
    """The lines about this, once there is one."""
    wait_for(lambda: service.events(event), f"a line: {event}")
    return service.events(event)


def see_it_work(service: Service, *, near_cache: bool = True, quiet: bool = True) -> None:
    """Reads, writes, and what someone else changes; `quiet` where the log has nothing to tell."""
    wait_for(lambda: ready(service), "ready")
    assert statuses(write_all(service)) == [201] * 6 + [204]
    assert service.get("/cs/cs001/auth").json == {"securityProfile": 2}
    assert service.get("/token/deadbeef").status == 200
    assert service.get(f"/certificate/{PEM_HASH}").status == 404
    assert {line["near_cache"] for line in service.events("Redis reached")} == {near_cache}
    assert not quiet or "NOPERM" not in service.log


def test_they_are_what_the_program_knows() -> None:
    commands = {f"+{command}" for those in COMMANDS.values() for command in those}
    newer = (ON_FIELDS, ON_DISKS)
    words = [*ON_REDIS.split()[6:], *(word for line in newer for word in line.split()[3:])]
    assert set(words) == {f"~{key}" for key in KEYS} | commands


@pytest.fixture(scope="module")
def one() -> Iterator[Standalone]:
    with Standalone() as running:
        yield running


@pytest.fixture
def empty(one: Standalone) -> Standalone:
    """Without records."""
    one.node.call("FLUSHALL")
    return one


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterGroup]:
    with ClusterGroup(replicas=1) as running:
        yield running


@pytest.fixture(scope="module")
def group() -> Iterator[SentinelGroup]:
    with SentinelGroup(replicas=1) as running:
        yield running


class TestStandalone:
    """One Redis."""

    def test_it_is_enough(self, empty: Standalone) -> None:
        """The near cache follows what others write."""
        permit(empty.nodes, ON_REDIS)
        with service_as(empty) as service:
            see_it_work(service)
            empty.node.call("HSET", "cs:cs001", "securityProfile", "3")
            wait_for(
                lambda: service.get("/cs/cs001/auth").json == {"securityProfile": 3},
                "the change is seen",
            )

    def test_with_a_prefix_and_a_database(self, empty: Standalone) -> None:
        permit(empty.nodes, ON_REDIS.replace("~", "~a:"))
        url = empty.url_as("csms", PASSWORD).removesuffix("/0") + "/3"
        with service_as(empty, redis__url=url, redis__key_prefix="a:") as service:
            see_it_work(service)

    def test_it_is_not_more_than_enough(self, empty: Standalone) -> None:
        """The user reads and writes nothing else, and administers nothing."""
        permit(empty.nodes, ON_REDIS)
        empty.node.credentials = ("csms", PASSWORD)
        try:
            for command in (
                ("HMGET", "other", "x"),
                ("EVAL", "return redis.call('HSET', KEYS[1], 'a', 'b')", 1, "other"),
                ("EVAL", "return redis.call('FLUSHALL')", 0),
                ("FLUSHALL",),
                ("KEYS", "*"),
                ("CONFIG", "GET", "*"),
                ("ACL", "LIST"),
                ("CLIENT", "KILL", "TYPE", "normal"),
                ("CLUSTER", "RESET"),
                ("SHUTDOWN",),
                ("SUBSCRIBE", "x"),
                ("PUBLISH", "x", "y"),
            ):
                with pytest.raises(hiredis.ReplyError, match=r"NOPERM|ACL failure|can't run"):
                    empty.node.call(*command)
        finally:
            empty.node.credentials = None

    def test_without_hmget(self, empty: Standalone) -> None:
        """Not ready, with the reason in the log and in the reply."""
        permit(empty.nodes, ON_REDIS, "+hmget")
        with service_as(empty, lookup__timeout="0.5") as service:
            (line,) = logged(service, "Redis cannot be reached")
            assert line["reason"] == "its user may not run what a lookup needs"
            reply = service.request("GET", "/health/ready")
            assert reply.status == 503
            assert "its user may not run what a lookup needs" in reply.json["error"]
            assert service.get("/cs/cs001/auth").status == 503

    @pytest.mark.parametrize("key", ["~cs:*", "~token:*", "~certificate:*"])
    def test_without_a_kind_of_key(self, key: str, empty: Standalone) -> None:
        """No write of that kind is accepted."""
        permit(empty.nodes, ON_REDIS, key)
        with service_as(empty) as service:
            replies = write_all(service)
            assert 503 in statuses(replies)
            assert "an operator must look at Redis" in str([reply.body for reply in replies])
            assert "NOPERM" in service.log

    @pytest.mark.parametrize("right", TO_STORE)
    def test_without_a_right_to_write(self, right: str, empty: Standalone) -> None:
        """Such writes are refused and change nothing, and the log says so.

        A script in Redis 6.2 cannot ask what it may do after its first command that writes.
        """
        late = CHOSEN is REDIS_6_2 and right in {"+hdel", "+persist"}
        proof = "It may have been applied" if late else "Nothing was changed; an operator must"
        permit(empty.nodes, ON_REDIS)
        with service_as(empty) as service:
            wait_for(lambda: ready(service), "ready")
            assert {reply.status for reply in write_all(service)[:-1]} == {201}
            assert service.post("/certificate", {"certificate": PEM}).status == 201
        permit(empty.nodes, ON_REDIS, right)
        with service_as(empty) as service:
            wait_for(lambda: ready(service), "ready")
            replies = write_all(service)[:-1]
            refused = [reply for reply in replies if reply.status != 201]
            assert refused
            for reply in refused:
                assert reply.status == 503
                assert proof in reply.error
            assert len(logged(service, "Redis refused a command")) >= len(refused)
            assert service.get("/cs/cs001/auth").json == {"securityProfile": 2}
            assert service.get("/token/deadbeef").json.items() > TOKEN.items()

    @pytest.mark.parametrize("right", [*TO_STORE, "+del"])
    def test_the_log_says_that_a_right_is_missing(self, right: str, empty: Standalone) -> None:
        permit(empty.nodes, ON_REDIS, right)
        empty.node.call("HSET", "cs:cs001", "securityProfile", "1")
        with service_as(empty) as service:
            wait_for(lambda: ready(service), "ready")
            service.post("/cs/cs001", {"securityProfile": 2})
            service.delete(f"/certificate/{PEM_HASH}")
            assert "NOPERM" in {
                line["reason"] for line in logged(service, "Redis refused a command")
            }

    def test_without_tracking(self, empty: Standalone) -> None:
        """Everything works, read from Redis each time, and the log says so once."""
        permit(empty.nodes, ON_REDIS, "+client|tracking")
        with service_as(empty) as service:
            wait_for(lambda: ready(service), "ready")
            assert statuses(write_all(service)) == [201] * 6 + [204]
            assert service.get("/cs/cs001/auth").json == {"securityProfile": 2}
            empty.node.call("HSET", "cs:cs001", "securityProfile", "3")
            assert service.get("/cs/cs001/auth").json == {"securityProfile": 3}
            (line,) = logged(service, "every lookup is read from Redis, none is kept")
            assert line["reason"] == "it refuses CLIENT TRACKING (NOPERM)"
            assert [line["near_cache"] for line in service.events("Redis reached")] == [False]

    @pytest.mark.parametrize("word", ["+get", "~layout", "+set"])
    def test_without_the_layout(self, word: str, empty: Standalone) -> None:
        """It goes on, and the log says so once."""
        permit(empty.nodes, ON_REDIS, word)
        with service_as(empty) as service:
            wait_for(lambda: ready(service), "ready")
            assert statuses(write_all(service)) == [201] * 6 + [204]
            lines = [each for each in service.events() if "storage layout" in each["event"]]
            assert [(line["level"], line["key"]) for line in lines] == [("warning", "layout")]
        assert empty.node.call("EXISTS", "layout") == 0

    def test_without_the_identity_of_the_data_set(self, empty: Standalone) -> None:
        """It goes on, and the log says so once."""
        permit(empty.nodes, ON_REDIS, "~dataset")
        with service_as(empty) as service:
            wait_for(lambda: ready(service), "ready")
            assert statuses(write_all(service)) == [201] * 6 + [204]
            (line,) = logged(service, "the data set's identity is not kept")
            assert (line["level"], line["key"]) == ("warning", "dataset")

    def test_without_select(self, empty: Standalone) -> None:
        """Not ready on another database than 0."""
        permit(empty.nodes, ON_REDIS, "+select")
        url = empty.url_as("csms", PASSWORD).removesuffix("/0") + "/3"
        with service_as(empty, redis__url=url) as service:
            (line,) = logged(service, "Redis cannot be reached")
            assert "may not" in line["reason"]
            assert not ready(service)
        with service_as(empty) as service:
            see_it_work(service)

    @pytest.mark.parametrize(("right", "on_disk"), [("+wait", "false"), ("", "true")])
    def test_without_wait(self, right: str, on_disk: str, empty: Standalone) -> None:
        """Nothing is acknowledged, and the log says why."""
        if on_disk == "true":
            empty.software.must_know("WAITAOF")
        permit(empty.nodes, ON_REDIS, right)
        waiting = {"redis__wait_replicas": "1", "redis__wait_for_disk": on_disk}
        with service_as(empty, **waiting) as service:
            wait_for(lambda: ready(service), "ready")
            reply = service.post("/cs/cs001", {"securityProfile": 2})
            assert reply.status == 503
            assert "may have been applied" in reply.error
            (line,) = logged(service, "Redis could not wait for its replicas")
            assert line["reason"] == "NOPERM"

    @pytest.mark.parametrize("right", ["+scan", "+info"])
    def test_without_a_right_to_list(self, right: str, empty: Standalone) -> None:
        """Listings are refused, and nothing else."""
        permit(empty.nodes, ON_REDIS, right)
        with service_as(empty) as service:
            see_it_work(service, quiet=right != "+info")
            for path in ("/cs", "/token", "/certificate"):
                reply = service.get(path)
                assert reply.status == 503
                assert "an operator must look at Redis" in reply.error
            assert {line["reason"] for line in service.events("Redis refused a command")} == {
                "NOPERM"
            }

    def test_check(self, empty: Standalone) -> None:
        """It needs none of these; what it may not look at, it names."""
        permit(empty.nodes, ON_REDIS, "+info")
        url = empty.url_as("csms", PASSWORD)
        code, told = check(Path("/tmp"), url)
        assert code == 0
        assert [level for level, _ in about(told, "redis", "info")] == ["ok", "warning"]
        permit(empty.nodes, f"{ON_REDIS} +config|get")
        code, told = check(Path("/tmp"), url)
        assert code == 0
        assert about(told, "info", "config") == []


@pytest.mark.parametrize("software", EACH, ids=lambda software: software.name)
def test_each_server_takes_the_rights(software: Software) -> None:
    """The lines are good for every server that they are said to be good for, and are enough."""
    with Standalone(software=software) as running:
        permit(running.nodes, ON_REDIS)
        if software.knows("WAITAOF"):
            permit(running.nodes, ON_DISKS)
        with service_as(running) as service:
            see_it_work(service)
            assert service.get("/cs").status == 200


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


class TestSentinels:
    """Sentinels, whose user is another one than the master's."""

    @contextmanager
    def _service(
        self, group: SentinelGroup, tmp_path: Path, without: str = ""
    ) -> Iterator[Service]:
        permit(group.nodes, ON_REDIS)
        permit(group.sentinels, ON_SENTINELS, without)
        (tmp_path / "secret").write_text(PASSWORD, "utf-8")
        settings = {
            "redis__sentinel_username": "csms",
            "redis__sentinel_password_file": str(tmp_path / "secret"),
        }
        with service_as(group, **settings) as service:
            yield service

    def test_it_is_enough(self, group: SentinelGroup, tmp_path: Path) -> None:
        """Each sentinel has a subscriber."""
        with self._service(group, tmp_path) as service:
            see_it_work(service)
            for sentinel in group.sentinels:
                wait_for(
                    lambda s=sentinel: "user=csms" in s.call("CLIENT", "LIST", "TYPE", "pubsub"),  # type: ignore[misc]
                    "it is followed",
                )

    def test_it_is_enough_for_disks(self, group: SentinelGroup, tmp_path: Path) -> None:
        """Writes that every disk must have."""
        group.software.must_know("WAITAOF")
        permit(group.sentinels, ON_SENTINELS)
        for line in (ON_REDIS, ON_DISKS):
            permit(group.nodes, line)
        (tmp_path / "secret").write_text(PASSWORD, "utf-8")
        with service_as(
            group,
            redis__sentinel_username="csms",
            redis__sentinel_password_file=str(tmp_path / "secret"),
            redis__wait_replicas="1",
            redis__wait_for_disk="true",
            redis__wait_timeout="10",
        ) as service:
            see_it_work(service)

    @pytest.mark.parametrize("right", ["+sentinel|get-master-addr-by-name", "+sentinel|sentinels"])
    def test_without_a_right_to_ask(self, right: str, group: SentinelGroup, tmp_path: Path) -> None:
        with self._service(group, tmp_path, right) as service:
            wait_for(
                lambda: (
                    "does not let its user ask" in str(service.request("GET", "/health/ready").body)
                ),
                "readiness says why",
            )
            wait_for(lambda: "does not let its user ask" in service.log, "the log too")

    @pytest.mark.parametrize("right", ["+subscribe", "&+switch-master", "+sentinel|myid"])
    def test_without_a_right_that_only_helps(
        self, right: str, group: SentinelGroup, tmp_path: Path
    ) -> None:
        """The master is asked for every second all the same."""
        with self._service(group, tmp_path, right) as service:
            see_it_work(service)

    def test_the_user_may_not_administer(self, group: SentinelGroup) -> None:
        permit(group.sentinels, ON_SENTINELS)
        sentinel = group.sentinels[0]
        sentinel.credentials = ("csms", PASSWORD)
        try:
            for command in (("SENTINEL", "FAILOVER", MASTER), ("SENTINEL", "REMOVE", MASTER)):
                with pytest.raises(hiredis.ReplyError, match="NOPERM"):
                    sentinel.call(*command)
        finally:
            sentinel.credentials = None

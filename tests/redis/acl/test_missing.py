"""Each of the least rights is needed: what one Redis refuses, and what is told of it."""

from pathlib import Path

import pytest

from csms_redis.registry.rights import COMMANDS
from tests.conftest import wait_for
from tests.support.check_report import about, check
from tests.support.least_rights import (
    PEM,
    PEM_HASH,
    logged,
    ready,
    see_it_work,
    service_as,
    statuses,
    write_all,
)
from tests.support.made import TOKEN
from tests.support.topologies.rights import (
    ON_REDIS,
    PASSWORD,
    permit,
)
from tests.support.topologies.software import CHOSEN, REDIS_6_2
from tests.support.topologies.standalone import Standalone

TO_STORE = [f"+{command}" for command in COMMANDS["writes"] if command != "del"]


class TestStandalone:
    """One Redis."""

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
        for key in empty.node.call("KEYS", "c*:*") + empty.node.call("KEYS", "token:*"):
            empty.node.call("HSET", key, "x", "1")  # so that each write has a field to remove
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
        record = ("securityProfile", "1", "registrationStatus", '"Rejected"', "x", "1")
        empty.node.call("HSET", "cs:cs001", *record)
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
        """Listings are refused, records are not read ahead, and nothing else."""
        permit(empty.nodes, ON_REDIS, right)
        with service_as(empty) as service:
            see_it_work(service, quiet=False)
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

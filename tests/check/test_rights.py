"""`check` tries what the service uses: what is refused, what that breaks, and what to do."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from csms_redis.check.server import memory
from tests.support.check_report import about, check
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.rights import ON_DISKS, ON_REDIS, PASSWORD, permit
from tests.support.topologies.software import CHOSEN, EACH, REDIS_7_0, Software
from tests.support.topologies.standalone import Standalone

# these are asked for when a connection is made, or where there is a cluster
ELSEWHERE = {"+select", "+asking", "+cluster|nodes", "+wait", "+info"}
WORDS = [word for word in ON_REDIS.split() if word[0] in "+~" and word not in ELSEWHERE]


@pytest.fixture(scope="module")
def one() -> Iterator[Standalone]:
    with Standalone() as running:
        yield running


def levels(one: Standalone, tmp_path: Path, *names: str, **settings: str) -> list[tuple[str, str]]:
    _, told = check(tmp_path, one.url_as("csms", PASSWORD), **settings)
    return about(told, *names)


@pytest.mark.parametrize("software", EACH, ids=lambda software: software.name)
def test_the_documented_rights_are_all_there(software: Software, tmp_path: Path) -> None:
    """On each server; and nothing is left of what was tried."""
    with Standalone(software=software) as running:
        permit(running.nodes, ON_REDIS)
        code, told = check(tmp_path, running.url_as("csms", PASSWORD))
        ((level, text),) = about(told, "rights")
        assert (code, level) == (0, "ok"), told
        assert text.endswith("does all that the service asks of it")
        assert running.node.call("DBSIZE") == 0


@pytest.mark.parametrize("word", WORDS)
def test_each_missing_right_is_named(word: str, one: Standalone, tmp_path: Path) -> None:
    """An error where writes or lookups fail, with the right to give."""
    permit(one.nodes, ON_REDIS, word)
    name = word.removeprefix("+")
    ((level, text),) = levels(one, tmp_path, name)
    assert "(NOPERM)" in text
    assert text.endswith(f"give the user {word}")
    milder = {
        "+get",
        "+set",
        "~layout",
        "~dataset",
        "~refused",
        "+pttl",
        "+scan",
        "+client|tracking",
    }
    assert level == ("warning" if word in milder else "error")
    assert one.node.call("DBSIZE") == 0


@pytest.mark.parametrize("name", ["EVAL", "HMGET", "DEL", "HSET", "SCAN", "HDEL"])
def test_a_renamed_command_is_named(name: str, tmp_path: Path) -> None:
    """Also where a script calls it."""
    with Standalone(options=[f"rename-command {name} hidden"]) as running:
        code, told = check(tmp_path, running.url)
    ((level, text),) = about(told, name.lower())
    assert f"refuses {name} (it has no such command)" in text
    assert (level, code) == (("warning", 0) if name == "SCAN" else ("error", 1))


def test_a_prefix(one: Standalone, tmp_path: Path) -> None:
    """The keys are tried that the service would use."""
    permit(one.nodes, ON_REDIS.replace("~", "~a:"))
    code, told = check(tmp_path, one.url_as("csms", PASSWORD), key_prefix="a:")
    assert code == 0, told
    found = levels(one, tmp_path, "~b:cs:*", "~b:token:*", "~b:certificate:*", key_prefix="b:")
    assert [level for level, _ in found] == ["error"] * 3


def test_a_server_without_waitaof(tmp_path: Path) -> None:
    """Every write would get a 503, though it is applied."""
    waits = {"wait_replicas": "1", "wait_for_disk": "true"}
    with Standalone(software=REDIS_7_0) as running:
        code, told = check(tmp_path, running.url, **waits)
    ((level, text),) = about(told, "waitaof")
    assert (level, code) == ("error", 1)
    assert "though it is applied; it came with Redis 7.2" in text
    assert text.endswith("unset redis.wait_for_disk")


@pytest.mark.parametrize(("right", "on_disk"), [("+wait", "false"), ("", "true")])
def test_the_rights_to_wait(right: str, on_disk: str, one: Standalone, tmp_path: Path) -> None:
    if on_disk == "true":
        CHOSEN.must_know("WAITAOF")
    permit(one.nodes, ON_REDIS, right)
    waits = {"wait_replicas": "1", "wait_for_disk": on_disk}
    ((level, text),) = levels(one, tmp_path, "wait", "waitaof", **waits)
    assert level == "error"
    assert text.endswith(f"give the user {right or '+waitaof'}")
    if not right:
        permit(one.nodes, ON_DISKS)
        assert levels(one, tmp_path, "wait", "waitaof", **waits) == []


@pytest.mark.parametrize("software", EACH, ids=lambda software: software.name)
def test_memory(software: Software, tmp_path: Path) -> None:
    """Full: an error, and the write that was tried says so too; nearly full: a warning."""
    with Standalone(software=software) as running:
        _, told = check(tmp_path, running.url)
        assert about(told, "maxmemory", "writes") == []
        used = int(running.node.info("memory")["used_memory"])
        running.node.call("CONFIG", "SET", "maxmemory", used // 2)
        code, told = check(tmp_path, running.url)
        (full, tried) = sorted(about(told, "maxmemory", "writes"), key=lambda one: "EVAL" in one[1])
        assert code == 1
        assert {full[0], tried[0]} == {"error"}
        for each in (full, tried):
            assert "(OOM)" in each[1]
            assert "block" in each[1]


@pytest.mark.parametrize(
    ("used", "uncounted", "policy", "level"),
    [
        (100, 0, "noeviction", "error"),
        (105, 10, "noeviction", "warning"),
        (90, 0, "noeviction", "warning"),
        (89, 0, "noeviction", None),
        (100, 0, "allkeys-lru", None),
    ],
)
def test_how_full_it_is(used: int, uncounted: int, policy: str, level: str | None) -> None:
    """As Redis counts."""
    info = {
        "used_memory": f"{used}",
        "mem_not_counted_for_evict": f"{uncounted}",
        "maxmemory": "100",
        "maxmemory_policy": policy,
    }
    assert [finding.level.value for finding in memory(info)] == ([level] if level else [])
    assert list(memory(info | {"maxmemory": "0"})) == []
    assert list(memory({})) == []


def test_a_cluster(tmp_path: Path) -> None:
    """Each master is tried, at keys of its own."""
    with ClusterGroup(replicas=0) as cluster:
        permit(cluster.nodes, ON_REDIS)
        url = cluster.url_as("csms", PASSWORD)
        code, told = check(tmp_path, url)
        assert [level for level, _ in about(told, "rights")] == ["ok"] * 3
        assert code == 0
        permit(cluster.nodes, ON_REDIS, "+hdel")
        permit(cluster.nodes[:1], ON_REDIS, "+asking")
        code, told = check(tmp_path, url)
        assert sorted(level for level, _ in about(told, "hdel")) == ["error"] * 2
        assert [level for level, _ in about(told, "asking")] == ["warning"]
        assert code == 1
        assert re.findall(r"CROSSSLOT|MOVED", str(told)) == []
        assert [node.call("DBSIZE") for node in cluster.nodes] == [0, 0, 0]

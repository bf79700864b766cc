"""`check` behind Sentinel, with replicas that are waited for."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.check_report import SENTINEL_PASSWORD, about, check
from tests.support.service import PASSWORD
from tests.support.topologies.node import Node
from tests.support.topologies.sentinels import SentinelGroup


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelGroup]:
    with SentinelGroup(
        password=PASSWORD, sentinel_user="watcher", sentinel_password=SENTINEL_PASSWORD
    ) as group:
        yield group


@pytest.fixture
def watched(sentinels: SentinelGroup, tmp_path: Path) -> Mapping[str, str]:
    """What the settings need for the sentinels."""
    (tmp_path / "sentinel").write_text(SENTINEL_PASSWORD, "utf-8")
    return {
        "url": sentinels.url,
        "sentinel_username": "watcher",
        "sentinel_password_file": "sentinel",
    }


def _set(nodes: list[Node], name: str, value: str) -> None:
    for node in nodes:
        node.call("CONFIG", "SET", name, value)


class TestSentinel:
    """The master is found as the service finds it."""

    def test_the_master_and_its_replicas(
        self, sentinels: SentinelGroup, watched: Mapping[str, str], tmp_path: Path
    ) -> None:
        """A warning for each way to lose an acknowledged write, and the number to set."""
        code, told = check(tmp_path, **watched)
        master = sentinels.master().address
        assert about(told, "redis") == [("ok", f"redis://{master}/0 answers")]
        ((level, text),) = about(told, "min-replicas")
        assert level == "warning"
        assert "set min-replicas-to-write 1 and min-replicas-max-lag 10" in text
        ((level, text),) = about(told, "wait_replicas")
        assert level == "warning"
        assert text.startswith(f"0, but redis://{master}/0 has 2 replicas: ")
        assert text.endswith("; set redis.wait_replicas = 2")
        assert code == 0

    def test_all_replicas_are_waited_for(self, watched: Mapping[str, str], tmp_path: Path) -> None:
        """Then nothing acknowledged is lost, whatever min-replicas-to-write is."""
        code, told = check(tmp_path, **watched, wait_replicas="2")
        assert about(told, "wait_replicas", "min-replicas") == [
            ("ok", "0, but a master that is cut off acknowledges no write: no replica has it"),
            ("ok", "2: what was acknowledged is at every replica"),
        ]
        assert code == 0

    def test_one_of_two_is_waited_for(self, watched: Mapping[str, str], tmp_path: Path) -> None:
        _, told = check(tmp_path, **watched, wait_replicas="1")
        levels = [level for level, _ in about(told, "wait_replicas", "min-replicas")]
        assert levels == ["warning", "warning"]

    def test_more_are_waited_for_than_there_are(
        self, watched: Mapping[str, str], tmp_path: Path
    ) -> None:
        """An error: no write would be acknowledged."""
        code, told = check(tmp_path, **watched, wait_replicas="3")
        ((level, text),) = about(told, "wait_replicas")
        assert level == "error"
        assert "has 2 replicas: every write to it is answered 503" in text
        assert text.endswith("set redis.wait_replicas = 2")
        assert code == 1

    def test_min_replicas_to_write(
        self, sentinels: SentinelGroup, watched: Mapping[str, str], tmp_path: Path
    ) -> None:
        """Without its lag it is as good as not set."""
        try:
            _set(sentinels.nodes, "min-replicas-to-write", "1")
            _, told = check(tmp_path, **watched)
            assert about(told, "min-replicas") == [
                ("ok", "1: a master that is cut off refuses writes after 10 s")
            ]
            _set(sentinels.nodes, "min-replicas-max-lag", "0")
            _, told = check(tmp_path, **watched)
            assert about(told, "min-replicas")[0][0] == "warning"
        finally:
            _set(sentinels.nodes, "min-replicas-to-write", "0")
            _set(sentinels.nodes, "min-replicas-max-lag", "10")

    def test_disks(
        self, sentinels: SentinelGroup, watched: Mapping[str, str], tmp_path: Path
    ) -> None:
        """What cannot confirm is an error, what confirms late a warning."""
        waits = {**watched, "wait_replicas": "2", "wait_for_disk": "true"}
        replica = sentinels.replicas()[0]
        try:
            _, told = check(tmp_path, **waits)
            ((level, text),) = about(told, "wait_for_disk")
            assert level == "warning"
            assert "has appendfsync everysec: writes to" in text
            assert "503" not in text
            _, told = check(tmp_path, **waits, wait_timeout="0.5")
            assert "longer than redis.wait_timeout, and get a 503" in str(told)

            _set(sentinels.nodes, "appendfsync", "always")
            code, told = check(tmp_path, **waits)
            assert (code, about(told, "wait_for_disk")) == (0, [])

            for name, value in (("appendfsync", "no"), ("appendonly", "no")):
                replica.call("CONFIG", "SET", name, value)
                code, told = check(tmp_path, **waits)
                ((level, text),) = about(told, "wait_for_disk")
                assert level == "error"
                assert text.startswith(f"redis://{replica.address}/0 never confirms")
                assert code == 1
                _, told = check(tmp_path, **waits | {"wait_replicas": "1"})
                assert about(told, "wait_for_disk") == []
        finally:
            _set(sentinels.nodes, "appendonly", "yes")
            _set(sentinels.nodes, "appendfsync", "everysec")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("sentinel_username", "nobody"),
            ("url", "redis+sentinel://127.0.0.1:1/mymaster"),
            ("url", "{url}er"),
        ],
    )
    def test_sentinels_that_do_not_tell(
        self, name: str, value: str, watched: Mapping[str, str], tmp_path: Path
    ) -> None:
        """Another user, nobody there, another name: an error, with the sentinels' addresses."""
        wrong = {**watched, name: value.format(**watched)}
        code, told = check(tmp_path, **wrong)
        ((level, text),) = about(told, "redis")
        assert level == "error"
        assert text.startswith("redis+sentinel://127.0.0.1:")
        assert code == 1

    def test_a_sentinel_that_is_taken_for_the_redis(self, tmp_path: Path) -> None:
        """It answers INFO too."""
        with SentinelGroup(replicas=1, sentinels=1) as group:
            code, told = check(tmp_path, f"redis://{group.sentinels[0].address}")
        assert ("error", "role") in {(one.level, one.about) for one in told}
        assert "redis+sentinel://" in str(told)
        assert code == 1

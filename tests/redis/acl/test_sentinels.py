"""The least rights behind sentinels: they are enough, and what happens without one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hiredis
import pytest

from tests.conftest import Service, wait_for
from tests.support.least_rights import see_it_work, service_as
from tests.support.topologies.rights import (
    ON_DISKS,
    ON_REDIS,
    ON_SENTINELS,
    PASSWORD,
    permit,
)
from tests.support.topologies.sentinels import MASTER, SentinelGroup


@pytest.fixture(scope="module")
def group() -> Iterator[SentinelGroup]:
    with SentinelGroup(replicas=1) as running:
        yield running


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

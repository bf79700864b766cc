"""The least rights in deploy/install.md are enough for one Redis, and not more than enough."""

import hiredis
import pytest

from csms_redis.registry.rights import COMMANDS, KEYS
from tests.conftest import wait_for
from tests.support.least_rights import see_it_work, service_as
from tests.support.topologies.rights import (
    ON_DISKS,
    ON_FIELDS,
    ON_REDIS,
    PASSWORD,
    permit,
)
from tests.support.topologies.software import EACH, Software
from tests.support.topologies.standalone import Standalone


def test_they_are_what_the_program_knows() -> None:
    commands = {f"+{command}" for those in COMMANDS.values() for command in those}
    newer = (ON_FIELDS, ON_DISKS)
    words = [*ON_REDIS.split()[6:], *(word for line in newer for word in line.split()[3:])]
    assert set(words) == {f"~{key}" for key in KEYS} | commands


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

"""Stations that are turned away are listed for all, on a cluster and behind Sentinel too."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis.crc import key_slot

from tests.conftest import Service, running_service, wait_for
from tests.support.commands import Done, command, records
from tests.support.refused import knock, refused, until_reached
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.topology import Topology


class Site(NamedTuple):
    """Two processes of one registry, and its command line."""

    one: Service
    other: Service
    home: Path
    settings: Mapping[str, str]

    def run(self, *words: str) -> Done:
        """Run a command on its Redis."""
        settings = {f"CSMS_{name.upper()}": value for name, value in self.settings.items()}
        done = command(self.home, settings, *words)
        assert done.returncode == 0, done.stderr
        return done

    def listed(self) -> dict[str, dict[str, Any]]:
        """What the command line lists, by id."""
        return {one["csId"]: one for one in records(self.run("refused", "list", "--json"))}

    def wait_for_counts(self, wanted: Mapping[str, tuple[str, int]]) -> None:
        """Until both processes and the command line have just these: their reasons and counts."""

        def has(found: Mapping[str, dict[str, Any]]) -> bool:
            return wanted == {
                cs_id: (one.get("reason"), one["count"]) for cs_id, one in found.items()
            }

        for service in (self.one, self.other):
            wait_for(lambda asked=service: has(refused(asked)), f"{service.url} lists {wanted}")  # type: ignore[misc]
        wait_for(lambda: has(self.listed()), f"the command line lists {wanted}")


@contextmanager
def site(topology: Topology, home: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(running_service(**topology.settings, lookup__timeout="10"))
            for _ in range(2)
        )
        for service in (one, other):
            until_reached(service)
        yield Site(one, other, home, topology.settings)


def test_on_a_cluster(tmp_path: Path) -> None:
    """Whichever masters have the stations; also when the list's own slot moves to another."""
    with ClusterGroup(replicas=0) as cluster, site(cluster, tmp_path) as there:
        of_each = cluster.by_master(f"cs:stranger-{number}" for number in range(100))
        ids = [keys[0].removeprefix("cs:") for keys in of_each.values()]
        assert len(ids) == 3
        assert there.one.post("/cs/out", {"securityProfile": 2}).status == 201
        there.run("station", "block", "out")
        for cs_id in (*ids, "out"):
            knock(there.one, cs_id, 2)
            knock(there.other, cs_id, 3)
        wanted = dict.fromkeys(ids, ("unknown", 5)) | {"out": ("blocked", 5)}
        there.wait_for_counts(wanted)

        slot = key_slot(b"refused")
        source = cluster.master(slot)
        target = next(node for node in cluster.masters() if node is not source)
        cluster.migrate_slot(slot, source, target)
        cluster.wait_until_owned(slot, target)
        there.wait_for_counts(wanted)
        for service in (there.one, there.other):
            knock(service, ids[0])
        there.wait_for_counts(wanted | {ids[0]: ("unknown", 7)})
        assert target.call("HLEN", "refused") == 2


@pytest.mark.parametrize(
    "kill", [pytest.param(False, marks=pytest.mark.slow), True], ids=["asked", "killed"]
)
def test_behind_sentinel(tmp_path: Path, *, kill: bool) -> None:
    """The list is there after a failover, and goes on."""
    with SentinelGroup(replicas=1) as group, site(group, tmp_path) as there:
        knock(there.one, "stranger", 2)
        knock(there.other, "stranger", 3)
        knock(there.other, "x" * 60)
        wanted = {"stranger": ("unknown", 5), "x" * 60: ("malformed", 1)}
        there.wait_for_counts(wanted)
        old = group.master()
        wait_for(lambda: group.replicas()[0].call("HLEN", "refused") == 2, "it is replicated")

        if kill:
            old.kill()
            group.wait_for_new_master(old)
        else:
            group.fail_over()
        there.wait_for_counts(wanted)
        for service in (there.one, there.other):
            wait_for(lambda asked=service: asked.get("/cs").status == 200, "Redis is reached")  # type: ignore[misc]
            knock(service, "stranger")
            knock(service, "new")
        there.wait_for_counts(wanted | {"stranger": ("unknown", 7), "new": ("unknown", 2)})
        assert group.master() is not old
        assert group.master().call("HLEN", "refused") == 2

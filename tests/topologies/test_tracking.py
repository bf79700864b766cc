"""What Valkey tells a tracking client when slots and masters move; the near cache relies on it."""

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import hiredis
import pytest

from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.node import Node

SLOT = 0
KEY = "cs:{06S}"  # of slot 0


class Tracker:
    """A RESP3 connection that gets every invalidation of keys with the prefix `cs:`."""

    def __init__(self, node: Node) -> None:
        self._socket = socket.create_connection(node.own, 5)
        self._reader = hiredis.Reader(encoding="utf-8")
        self._pushed: list[Any] = []
        self.call("HELLO", "3")
        self.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "cs:")

    def close(self) -> None:
        self._socket.close()

    def call(self, *words: Any) -> Any:
        self._socket.sendall(hiredis.pack_command(words))
        while True:
            while (reply := self._reader.gets()) is False:
                received = self._socket.recv(65536)
                assert received, "the connection was closed"
                self._reader.feed(received)
            if not isinstance(reply, hiredis.PushNotification):
                return reply
            self._pushed.append(reply[1])

    def invalidated(self) -> list[Any]:
        """What was invalidated since the last time; None stands for everything."""
        self.call("PING")  # invalidations of one turn are sent at its end, so before the second
        self.call("PING")
        pushed, self._pushed = self._pushed, []
        return pushed


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterGroup]:
    with ClusterGroup() as running:
        yield running


@pytest.fixture
def ends(cluster: ClusterGroup) -> tuple[Node, Node]:
    """The master of the slot, with the key, and another one."""
    cluster.wait_until_settled()
    source = cluster.master(SLOT)
    source.call("SET", KEY, "1")
    return source, next(node for node in cluster.masters() if node is not source)


@pytest.fixture
def trackers(ends: tuple[Node, Node]) -> Iterator[tuple[Tracker, Tracker]]:
    with closing(Tracker(ends[0])) as source, closing(Tracker(ends[1])) as target:
        yield source, target


def test_migrate_invalidates_at_both_ends(
    cluster: ClusterGroup, ends: tuple[Node, Node], trackers: tuple[Tracker, Tracker]
) -> None:
    """When the key moves, not when the slot's owner changes."""
    cluster.begin_migration(SLOT, *ends)
    assert [one.invalidated() for one in trackers] == [[], []]
    cluster.move_keys(SLOT, *ends)
    assert [one.invalidated() for one in trackers] == [[[KEY]], [[KEY]]]
    cluster.end_migration(SLOT, *ends)
    assert [one.invalidated() for one in trackers] == [[], []]


def test_migrateslots_invalidates_at_both_ends(
    cluster: ClusterGroup, ends: tuple[Node, Node], trackers: tuple[Tracker, Tracker]
) -> None:
    cluster.migrate_slots(SLOT, SLOT, *ends)
    cluster.wait_until(lambda: ends[0].call("DBSIZE") == 0, "the source forgets the key")
    assert [one.invalidated() for one in trackers] == [[[KEY]], [[KEY]]]


def test_a_slot_that_is_taken_away_with_its_keys_invalidates_them(
    cluster: ClusterGroup, ends: tuple[Node, Node], trackers: tuple[Tracker, Tracker]
) -> None:
    """The loser deletes them when it hears of the new owner, which has none: data is lost."""
    source, target = ends
    target.call("CLUSTER", "SETSLOT", SLOT, "IMPORTING", cluster.id(source))
    target.call("CLUSTER", "SETSLOT", SLOT, "NODE", cluster.id(target))
    cluster.wait_until_owned(SLOT, target)
    cluster.wait_until(lambda: source.call("DBSIZE") == 0, "the source forgets the key")
    assert [one.invalidated() for one in trackers] == [[[KEY]], []]


def test_a_slot_that_nobody_owns_invalidates_nothing(
    cluster: ClusterGroup, ends: tuple[Node, Node], trackers: tuple[Tracker, Tracker]
) -> None:
    source, _ = ends
    source.call("CLUSTER", "DELSLOTS", SLOT)
    assert [one.invalidated() for one in trackers] == [[], []]
    assert source.call("DBSIZE") == 1
    source.call("CLUSTER", "ADDSLOTS", SLOT)
    cluster.wait_until_settled()


def test_what_is_not_there_is_not_invalidated_when_its_slot_moves(
    cluster: ClusterGroup, ends: tuple[Node, Node], trackers: tuple[Tracker, Tracker]
) -> None:
    """So a cache that remembers unknown keys must watch the map of slots itself."""
    ends[0].call("DEL", KEY)
    assert trackers[0].invalidated() == [[KEY]]
    cluster.migrate_slot(SLOT, *ends)
    ends[1].call("SET", KEY, "2")
    assert [one.invalidated() for one in trackers] == [[], [[KEY]]]


def test_a_demotion_keeps_the_connection_and_invalidates_nothing(
    cluster: ClusterGroup, trackers: tuple[Tracker, Tracker]
) -> None:
    """Only what is asked next tells, by MOVED; later writes come through replication."""
    new = cluster.fail_over(SLOT)
    assert trackers[0].invalidated() == []
    assert str(trackers[0].call("GET", KEY)).startswith("MOVED ")
    cluster.wait_until_settled()
    new.call("SET", KEY, "2")
    new.call("WAIT", 1, 1000)
    assert trackers[0].invalidated() == [[KEY]]

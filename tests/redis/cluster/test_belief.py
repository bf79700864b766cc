"""Which map is believed, who confirms a master, and what MOVED changes."""

from math import inf

import pytest

from csms_redis.redis.cluster import Cluster
from csms_redis.redis.slots import slot_of
from tests.support.cluster_nodes import (
    ALL,
    HOST,
    KEY,
    SEED,
    THIRDS,
    Told,
    at,
    failed_over,
    line,
    owners,
    said,
    said_by,
    three,
)


def test_the_first_map(cluster: Cluster) -> None:
    assert (at(7000), at(7001), at(7002)) == cluster.masters
    assert owners(cluster) == {7000: 5461, 7001: 5462, 7002: 5461}
    assert at(7000) == cluster.owner(KEY)
    assert Cluster([SEED], timeout=1).owner(KEY) is None


def test_the_same_again_tells_nothing(cluster: Cluster) -> None:
    told = Told(cluster)
    for me in "abcd":
        assert cluster._learn(said(list(reversed(three(me)))))
    assert told.slots == []


def test_a_replica_is_promoted(cluster: Cluster) -> None:
    """What was its master's is told of, after all is consistent."""
    seen = []
    cluster.changed.append(lambda _: seen.append((cluster.masters, cluster.owner(KEY))))
    told = Told(cluster)
    assert cluster._learn(said(failed_over()))
    assert told.slots == [set(THIRDS[0])]
    assert seen == [((at(7001), at(7002), at(7003)), at(7003))]


def test_a_zombie_is_not_believed(cluster: Cluster) -> None:
    """Its replica is still its replica in its eyes, with the epoch from before."""
    cluster._learn(said(failed_over()))
    told = Told(cluster)
    assert not cluster._learn(said(three("a"), when=9.0))
    assert told.slots == []
    assert at(7003) == cluster.owner(KEY)
    assert cluster.confirmed(at(7000)) == -inf
    # it hears the news, and the one that replaced it is replaced in turn
    assert cluster._learn(said(failed_over("c")))
    back = [line("a", 7000, 5, ALL[0]), *three()[1:3], line("d", 7003, 5, of="a")]
    assert cluster._learn(said(said_by("c", back)))
    assert at(7000) == cluster.owner(KEY)
    assert told.slots == [set(THIRDS[0])]


def test_a_zombie_found_first_is_corrected() -> None:
    cluster = Cluster([SEED], timeout=1)
    assert cluster._learn(said(three("a")))
    assert cluster._learn(said(failed_over()))
    assert at(7003) == cluster.owner(KEY)


def test_a_node_that_missed_two_failovers_is_not_believed(cluster: Cluster) -> None:
    """It knows of no owner that is later than the known one."""
    twice = [line("a", 7000, 9, ALL[0]), *three()[1:3], line("d", 7003, 9, of="a")]
    cluster._learn(said(said_by("b", twice)))
    assert not cluster._learn(said(failed_over()))
    assert at(7000) == cluster.owner(KEY)


def test_a_cluster_built_anew_is_believed(cluster: Cluster) -> None:
    """Its epochs start again, and so do the ids."""
    anew = [line("w", 7000, 0, ALL[1], flags="myself"), line("x", 7001, 0, ALL[0], ALL[2])]
    assert cluster._learn(said(anew))
    assert owners(cluster) == {7000: 5462, 7001: 10922}


def test_the_known_owner_itself_is_believed(cluster: Cluster) -> None:
    """Restored from a backup, all nodes are where they were, with their old epochs."""
    cluster._learn(said(failed_over()))
    assert not cluster._learn(said(three("b")))
    assert cluster._learn(said(three("d")))
    assert at(7000) == cluster.owner(KEY)
    assert cluster._learn(said(three("a")))


def test_slots_are_moved(cluster: Cluster) -> None:
    """The target's epoch is the highest; who has not heard of it is not believed."""
    told = Told(cluster)
    lines = [line("a", 7000, 1, "1-5460"), line("b", 7001, 4, "0", ALL[1]), *three()[2:]]
    assert cluster._learn(said(said_by("b", lines)))
    assert told.slots == [{0}]
    assert not cluster._learn(said(three("c")))
    assert told.slots == [{0}]


def test_a_slot_given_without_a_new_epoch(cluster: Cluster) -> None:
    """As `SETSLOT NODE` does alone: the known owner is as well known, and has it no more."""
    lines = [line("a", 7000, 1), line("b", 7001, 2, ALL[1]), line("c", 7002, 3, ALL[0], ALL[2])]
    assert cluster._learn(said(said_by("b", lines)))
    back = [line("a", 7000, 1, ALL[0]), line("b", 7001, 2, ALL[1]), line("c", 7002, 3, ALL[2])]
    assert cluster._learn(said(said_by("b", back)))
    assert at(7000) == cluster.owner(KEY)


def test_a_slot_keeps_its_master_until_it_has_another(cluster: Cluster) -> None:
    """One that failed without a replica, a slot that nobody has, a node that was reset."""
    told = Told(cluster)
    failed = said(said_by("b", [line("a", 7000, 1, ALL[0], flags="fail"), *three()[1:3]]))
    assert cluster._learn(failed)
    assert failed.missing == 5461
    assert cluster._learn(said([line("z", 7003, 0, flags="myself")]))
    assert told.slots == []
    assert at(7000) == cluster.owner(KEY)


def test_a_node_gets_another_address(cluster: Cluster) -> None:
    told = Told(cluster)
    lines = three("b")
    lines[0] = line("a", 0, 1, ALL[0], where="10.0.0.9:7000@17000")
    assert cluster._learn(said(lines))
    assert SEED.at("10.0.0.9", 7000) == cluster.owner(KEY)
    assert told.slots == [set(THIRDS[0])]


def test_a_map_that_is_not_believed_moves_no_address(cluster: Cluster) -> None:
    cluster._learn(said(failed_over()))
    zombie = three("a")
    zombie[1] = line("b", 0, 2, ALL[1], where="10.0.0.9:7001@17001")
    assert not cluster._learn(said(zombie))
    assert at(7001) in cluster.masters


def test_another_node_confirms(cluster: Cluster) -> None:
    """Each master but the one that was asked."""
    assert (-inf, 1.0, 1.0) == tuple(map(cluster.confirmed, cluster.masters))
    cluster._learn(said(three("b"), when=2.0))
    assert tuple(map(cluster.confirmed, cluster.masters)) == (2.0, 1.0, 2.0)
    cluster._learn(said(three("d"), when=1.5))
    assert tuple(map(cluster.confirmed, cluster.masters)) == (2.0, 1.5, 2.0)


@pytest.mark.parametrize(
    "doubtful",
    [
        line("a", 7000, 1, ALL[0], flags="fail?"),
        line("a", 7000, 1, ALL[0], flags="fail"),
        line("a", 7000, 1, ALL[0], link="disconnected"),
        line("a", 7000, 0, ALL[0]),
        line("a", 7000, 1),
    ],
)
def test_a_master_in_doubt_is_not_confirmed(cluster: Cluster, doubtful: str) -> None:
    cluster._learn(said([doubtful, *three("b")[1:]], when=2.0))
    assert cluster.confirmed(at(7000)) == -inf
    assert cluster.confirmed(at(7002)) == 2.0


@pytest.mark.parametrize(("flags", "confirmed"), [("", -inf), ("fail?", -inf), ("fail", 1.0)])
def test_a_master_alone_confirms_itself(flags: str, confirmed: float) -> None:
    """Where most masters say that its replica failed; not where it only suspects so."""
    cluster = Cluster([SEED], timeout=1)
    lines = [line("a", 7000, 1, "0-16383"), line("b", 7001, 1, of="a", flags=flags)]
    cluster._learn(said(said_by("a", lines)))
    assert confirmed == cluster.confirmed(at(7000))


def test_moved_is_believed_at_once(cluster: Cluster) -> None:
    told = Told(cluster)
    cluster.moved(KEY, at(7005))
    assert told.slots == [{0}]
    assert at(7005) == cluster.owner(KEY)
    assert at(7005) in cluster.masters
    assert at(7000) in cluster.masters
    assert cluster._doubted.is_set()
    cluster.moved(KEY, at(7005))
    assert told.slots == [{0}]


def test_a_later_map_overrules_moved_and_an_earlier_one_does_not(cluster: Cluster) -> None:
    cluster.moved(KEY, at(7005))
    told = Told(cluster)
    cluster._learn(said(three("b")))
    assert at(7005) == cluster.owner(KEY)
    cluster._learn(said(three("b"), when=inf))
    assert at(7000) == cluster.owner(KEY)
    assert told.slots == [{0}]
    assert at(7005) not in cluster.masters


def test_moved_to_a_name_means_the_node_of_that_name(cluster: Cluster) -> None:
    """`cluster-preferred-endpoint-type hostname`."""
    lines = three("b")
    lines[2] = line("c", 0, 3, ALL[2], where=f"{HOST}:7002@17002,c.example")
    cluster._learn(said(lines))
    cluster.moved(KEY, SEED.at("c.example", 7002))
    assert at(7002) == cluster.owner(KEY)


def test_sample_keys(cluster: Cluster) -> None:
    """Each in one of the master's slots; with a hash tag there may be none."""
    for master in cluster.masters:
        key = cluster.sample_key(master, b"csms:cs:")
        assert key is not None
        assert key.startswith(b"csms:cs:")
        assert master == cluster.owner(key)
    tagged = [cluster.sample_key(master, b"{06S}cs:") for master in cluster.masters]
    assert tagged == [b"{06S}cs:", None, None]
    assert cluster.sample_key(at(7999), b"cs:") is None
    cluster.moved(KEY, at(7005))
    key = cluster.sample_key(at(7005), b"cs:")
    assert key is not None
    assert slot_of(key) == 0

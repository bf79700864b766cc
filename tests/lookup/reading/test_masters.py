"""Lookups of a cluster: several masters, and slots that move between them."""

import asyncio

import pytest

from csms_redis.lookup.reading import source_events as module
from csms_redis.redis.address import Address
from tests.support.two_masters import FOUND, NOT_FOUND, A, B, C, Cluster
from tests.support.wire import NO_RECORD, connect, invalidation, prove, record


class TestSources:
    """Each master has its own connection, lease and cache."""

    async def test_each_is_asked_for_its_own(self, cluster: Cluster) -> None:
        """And each answer is kept."""
        assert await cluster.fill("a", cluster.a, record(1)) == FOUND[1]
        assert await cluster.fill("b", cluster.b, record(2)) == FOUND[2]
        assert await cluster.fill("b0", cluster.b, NO_RECORD) == NOT_FOUND

        assert [await cluster.hit(cs_id) for cs_id in ("a", "b", "b0")] == [
            FOUND[1],
            FOUND[2],
            NOT_FOUND,
        ]

    async def test_an_invalidation_counts_wherever_it_comes_from(self, cluster: Cluster) -> None:
        """A key that has just moved is changed at its new master."""
        await cluster.fill("a", cluster.a, record(1))
        await cluster.fill("a0", cluster.a, NO_RECORD)
        cluster.b.receive(invalidation(b"cs:a", b"cs:a0"))

        assert await cluster.hit("a") is None
        assert await cluster.hit("a0") is None

    async def test_a_flush_of_one_leaves_the_other(self, cluster: Cluster) -> None:
        """FLUSHALL tells of that master's keys only."""
        await cluster.fill("a", cluster.a, record(1))
        await cluster.fill("a0", cluster.a, NO_RECORD)
        await cluster.fill("b", cluster.b, record(1))
        cluster.a.receive(invalidation())

        assert await cluster.hit("a") is None
        assert await cluster.hit("a0") is None
        assert await cluster.hit("b") == FOUND[1]

    async def test_a_flush_detaches_that_masters_flights(self, cluster: Cluster) -> None:
        """Their replies were made before it."""
        cluster.client.ask("a")
        cluster.client.ask("b")
        assert await cluster.a.sent()
        assert await cluster.b.sent()
        cluster.b.receive(record(2))
        cluster.a.receive(invalidation(), record(1))

        assert cluster.client.take() == [FOUND[2], FOUND[1]]
        assert await cluster.hit("b") == FOUND[2]
        assert await cluster.hit("a") is None

    async def test_the_loss_of_one_is_its_own(self, cluster: Cluster) -> None:
        """Its stations are answered from what was known, the others as ever."""
        await cluster.fill("a", cluster.a, record(1))
        await cluster.fill("b", cluster.b, record(2))
        cluster.a.lose()

        assert await cluster.hit("a") == FOUND[1]
        assert cluster.lookups.stale_answers == 1
        assert await cluster.hit("b") == FOUND[2]
        assert cluster.lookups.stale_answers == 1
        cluster.client.ask("b1")
        assert await cluster.b.asked() == [b"cs:b1"]

    async def test_a_lease_is_its_own(self, cluster: Cluster) -> None:
        """A master that is not proved any more is asked again."""
        await cluster.fill("a", cluster.a, record(1))
        await cluster.fill("b", cluster.b, record(2))
        prove(cluster.lookups, cluster.a, at=0)

        assert await cluster.hit("b") == FOUND[2]
        assert await cluster.fill("a", cluster.a, record(2)) == FOUND[2]

    async def test_after_a_failover(self, cluster: Cluster) -> None:
        """Another server has the lost one's stations: what it says takes the place of the stale."""
        await cluster.fill("a", cluster.a, record(1))
        cluster.a.lose()
        cluster.topology.owners[b"cs:a"] = B

        assert await cluster.fill("a", cluster.b, record(2)) == FOUND[2]
        cluster.b.lose()
        assert await cluster.hit("a") == FOUND[2]


class TestMoves:
    """Slots that go from one master to another."""

    async def test_what_moved_is_dropped(self, cluster: Cluster) -> None:
        """And nothing else."""
        await cluster.fill("a", cluster.a, record(1))
        await cluster.fill("a1", cluster.a, record(1))
        cluster.topology.move(b"cs:a", B)
        await cluster.lookups.events.drop_disowned()

        assert await cluster.hit("a1") == FOUND[1]
        assert await cluster.fill("a", cluster.b, record(2)) == FOUND[2]

    async def test_what_moved_out_of_reach_is_stale(self, cluster: Cluster) -> None:
        """In a failover the next master is known before it can be read."""
        await cluster.fill("a", cluster.a, record(1))
        await cluster.fill("a1", cluster.a, record(1))
        cluster.topology.move(b"cs:a", C)
        await cluster.lookups.events.drop_disowned()

        assert await cluster.hit("a") == FOUND[1]
        assert cluster.lookups.stale_answers == 1
        assert await cluster.hit("a1") == FOUND[1]
        assert cluster.lookups.stale_answers == 1

        wire = connect(cluster.lookups, master=C)
        cluster.client.ask("a")
        assert await wire.asked() == [b"cs:a"]
        wire.receive(record(2))
        assert cluster.client.take() == [FOUND[2]]
        wire.lose()
        assert await cluster.hit("a") == FOUND[2]

    async def test_what_is_stale_is_forgotten_with_its_invalidation(self, cluster: Cluster) -> None:
        """Whoever tells of it."""
        await cluster.fill("a", cluster.a, record(1))
        cluster.topology.move(b"cs:a", C)
        await cluster.lookups.events.drop_disowned()
        cluster.a.receive(invalidation(b"cs:a"))

        cluster.client.ask("a")
        assert cluster.client.take() == [], "it waits for the new master"
        assert cluster.lookups.stale_answers == 0

    async def test_the_next_master_is_waited_for(self, cluster: Cluster) -> None:
        """As after a loss, for what was not known before."""
        cluster.topology.move(b"cs:a", C)
        cluster.client.ask("a")
        assert cluster.client.take() == []
        wire = connect(cluster.lookups, master=C)
        assert await wire.asked() == [b"cs:a"]
        wire.receive(record(1))
        assert cluster.client.take() == [FOUND[1]]

    async def test_many_are_looked_through_in_pieces(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So that lookups are answered meanwhile."""
        monkeypatch.setattr(module, "_CHUNK", 10)
        for number in range(95):
            await cluster.fill(f"a{number}", cluster.a, record(1))
            cluster.topology.owners[b"cs:a%d" % number] = B if number % 2 else A
        dropping = asyncio.create_task(cluster.lookups.events.drop_disowned())
        turns = 0
        while not dropping.done():
            turns += 1
            await asyncio.sleep(0)

        assert turns > 9
        assert len(cluster.lookups.cache) == 48

    async def test_that_there_was_none_is_forgotten_at_once(self, cluster: Cluster) -> None:
        """The next master may have got it unseen, and to look through all that is known takes long.

        So does every look before it, while a cluster is balanced anew.
        """
        assert await cluster.fill("a", cluster.a, NO_RECORD) == NOT_FOUND
        assert await cluster.hit("a") == NOT_FOUND
        cluster.topology.move(b"cs:a", B)
        cluster.lookups.events.slots_changed({0})

        assert await cluster.fill("a", cluster.b, record(1)) == FOUND[1]

    @pytest.mark.parametrize("how", ["its connection ended", "it is no master any more"])
    async def test_what_becomes_stale_meanwhile_is_kept(
        self, how: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A master dies while one looks for what has moved: another is to have all of its slots."""
        monkeypatch.setattr(module, "_CHUNK", 10)
        for number in range(50):
            await cluster.fill(f"a{number}", cluster.a, record(1))
        dropping = asyncio.create_task(cluster.lookups.events.drop_disowned())
        await asyncio.sleep(0)
        for number in range(50):
            cluster.topology.owners[b"cs:a%d" % number] = Address(host="c.test")
        if how == "its connection ended":
            cluster.a.lose()
        else:
            cluster.topology.masters = (B, Address(host="c.test"))
        await dropping

        cluster.a.lose()
        assert [await cluster.hit(f"a{number}") for number in range(50)] == [FOUND[1]] * 50

    async def test_a_reply_of_the_former_master_is_not_kept(self, cluster: Cluster) -> None:
        """It was on its way when the slot moved."""
        cluster.client.ask("a")
        await cluster.a.sent()
        cluster.topology.move(b"cs:a", B)
        cluster.a.receive(record(1))

        assert cluster.client.take() == [FOUND[1]]
        assert await cluster.fill("a", cluster.b, record(2)) == FOUND[2]

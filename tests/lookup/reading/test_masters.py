"""Lookups of a cluster: several masters, keys that move between them, redirections."""

import asyncio
from collections.abc import Collection
from math import inf

import pytest

from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading import source_events as module
from csms_redis.redis.address import Address
from csms_redis.redis.topology import Topology
from csms_redis.settings import LookupSettings
from tests.support.wire import (
    NO_RECORD,
    PROFILE,
    Client,
    Wire,
    connect,
    invalidation,
    prove,
    record,
)

A = Address(host="a.test", port=7001)
B = Address(host="b.test", port=7002)
C = Address(host="c.test", port=7003)
TIMEOUT = 0.1
FOUND = {profile: (200, body) for profile, body in PROFILE.items()}
NOT_FOUND = (404, b"")
AWAY = (503, b"")
OK = b"+OK\r\n"


class Halves(Topology):
    """Stations whose id begins with b belong to B, all others to A, until they move."""

    def __init__(self) -> None:
        super().__init__()
        self.masters = (A, B)
        self.owners: dict[bytes, Address | None] = {}

    def owner(self, key: bytes) -> Address | None:
        return self.owners.get(key, B if key.startswith(b"cs:b") else A)

    def confirmed(self, master: Address) -> float:
        del master
        return inf

    async def look(self) -> None:
        """Nothing is found out."""

    def moved(self, key: bytes, to: Address) -> None:
        self.owners[key] = to
        super().moved(key, to)

    def move(self, key: bytes, to: Address, slots: Collection[int] | None = None) -> None:
        """Have a key belong to another master."""
        self.owners[key] = to
        self._notify(slots)


class Cluster:
    """Lookups with a connection to each of two masters."""

    def __init__(self) -> None:
        self.topology = Halves()
        self.lookups = Lookups(LookupSettings(timeout=TIMEOUT), b"", self.topology)
        self.client = Client(self.lookups)
        self.a = connect(self.lookups, master=A)
        self.b = connect(self.lookups, master=B)

    async def fill(self, cs_id: str, wire: Wire, reply: bytes) -> tuple[int, bytes]:
        """Look a station up, which only `wire` is asked for."""
        self.client.ask(cs_id)
        other = self.b if wire is self.a else self.a
        assert await wire.asked() == [b"cs:" + cs_id.encode()]
        assert await other.asked() == []
        wire.receive(reply)
        (answer,) = self.client.take()
        return answer

    async def hit(self, cs_id: str) -> tuple[int, bytes] | None:
        """Look a station up; None when Redis would be asked."""
        self.client.ask(cs_id)
        if await self.a.sent() or await self.b.sent():
            return None
        (answer,) = self.client.take()
        return answer


@pytest.fixture
async def cluster() -> Cluster:
    return Cluster()


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


class TestRedirections:
    """What a node of a cluster says of a key that is not, or not only, its own."""

    async def test_moved(self, cluster: Cluster) -> None:
        """The other is asked at once, and from then on."""
        cluster.client.ask("a")
        await cluster.a.sent()
        cluster.a.receive(b"-MOVED 1 b.test:7002\r\n")
        assert await cluster.b.asked() == [b"cs:a"]
        cluster.b.receive(record(1))

        assert cluster.client.take() == [FOUND[1]]
        assert await cluster.hit("a") == FOUND[1]
        assert cluster.topology.owner(b"cs:a") == B

    async def test_moved_late_to_one_that_is_slow(self, cluster: Cluster) -> None:
        """The time counts from when the lookup came, not from when others asked the second one."""
        cluster.client.ask("a")
        await cluster.a.sent()
        await asyncio.sleep(TIMEOUT - 0.02)
        cluster.client.ask("b")
        cluster.a.receive(b"-MOVED 1 b.test:7002\r\n")
        await asyncio.sleep(0.06)

        assert cluster.client.take() == [AWAY]

    @pytest.mark.parametrize("host", [b"", b"?"])
    async def test_moved_to_the_host_that_was_asked(self, host: bytes, cluster: Cluster) -> None:
        """As a node says that does not know the other's name, or is not to tell it."""
        cluster.client.ask("a")
        await cluster.a.sent()
        cluster.a.receive(b"-MOVED 1 %b:7009\r\n" % host)

        assert cluster.topology.owner(b"cs:a") == Address(host="a.test", port=7009)

    async def test_moved_to_one_not_yet_connected(self, cluster: Cluster) -> None:
        """The lookup waits for the connection."""
        other = Address(host="c.test", port=7003)
        cluster.client.ask("a")
        await cluster.a.sent()
        cluster.a.receive(b"-MOVED 1 c.test:7003\r\n")
        wire = connect(cluster.lookups, master=other)
        assert await wire.asked() == [b"cs:a"]
        wire.receive(record(1))

        assert cluster.client.take() == [FOUND[1]]

    async def test_ask(self, cluster: Cluster) -> None:
        """The other is asked with ASKING, this once, and its answer is not kept."""
        cluster.client.ask("a")
        await cluster.a.sent()
        cluster.a.receive(b"-ASK 1 b.test:7002\r\n")
        asking, reading = await cluster.b.sent()
        assert asking == [b"ASKING"]
        assert reading[:2] == [b"HMGET", b"cs:a"]
        cluster.b.receive(OK, record(1))

        assert cluster.client.take() == [FOUND[1]]
        assert await cluster.fill("a", cluster.a, record(2)) == FOUND[2]

    async def test_ask_leaves_the_replies_in_step(self, cluster: Cluster) -> None:
        """Whatever ASKING is answered."""
        cluster.client.ask("a")
        cluster.client.ask("b")
        await cluster.a.sent()
        cluster.a.receive(b"-ASK 1 b.test:7002\r\n")
        cluster.client.ask("b1")
        assert len(await cluster.b.sent()) == 4
        cluster.b.receive(record(1), b"-ERR no\r\n", record(2), NO_RECORD)

        assert cluster.client.take() == [FOUND[1], FOUND[2], NOT_FOUND]

    async def test_try_again(self, cluster: Cluster) -> None:
        """A little later, within the time-out."""
        cluster.client.ask("a")
        await cluster.a.sent()
        cluster.a.receive(b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n")
        assert await cluster.a.sent() == []
        await asyncio.sleep(0.05)
        assert await cluster.a.asked() == [b"cs:a"]
        cluster.a.receive(record(1))

        assert cluster.client.take() == [FOUND[1]]

    async def test_in_circles(self, cluster: Cluster) -> None:
        """Two nodes that each name the other are not asked for ever."""
        cluster.client.ask("a")
        for _ in range(10):
            if await cluster.a.sent():
                cluster.a.receive(b"-MOVED 1 b.test:7002\r\n")
            if await cluster.b.sent():
                cluster.b.receive(b"-MOVED 1 a.test:7001\r\n")

        assert cluster.client.take() == [AWAY]
        assert not cluster.lookups._attached.by_target

    @pytest.mark.parametrize(
        "reply",
        [b"-MOVED\r\n", b"-MOVED 1\r\n", b"-ASK 1 b.test\r\n", b"-ASK x b.test:99999999\r\n"],
    )
    async def test_one_that_makes_no_sense(self, reply: bytes, cluster: Cluster) -> None:
        """The lookup is answered in time, and the connection stays."""
        cluster.client.ask("a")
        await cluster.a.sent()
        cluster.a.receive(reply)
        for _ in range(20):
            await asyncio.sleep(0.01)
            if await cluster.a.sent():
                cluster.a.receive(reply)

        assert cluster.client.take() == [AWAY]
        assert not cluster.a.transport.aborted
        assert not cluster.lookups._attached.by_target
        assert not cluster.lookups._dispatch.backlog

    async def test_the_cluster_is_down(self, cluster: Cluster) -> None:
        """That master's connection ends; the other's does not."""
        await cluster.fill("a", cluster.a, record(1))
        cluster.client.ask("a1")
        await cluster.a.sent()
        cluster.a.receive(b"-CLUSTERDOWN The cluster is down\r\n")

        assert cluster.client.take() == [AWAY]
        assert cluster.a.transport.aborted
        assert not cluster.b.transport.aborted
        assert await cluster.hit("a") == FOUND[1]

    async def test_no_master_at_all(self, cluster: Cluster) -> None:
        """A slot that nobody has: answered in time."""
        cluster.topology.owners[b"cs:a"] = None
        cluster.client.ask("a")
        await asyncio.sleep(TIMEOUT + 0.1)

        assert cluster.client.take() == [AWAY]

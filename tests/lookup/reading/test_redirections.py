"""Lookups of a cluster whose nodes send them on: MOVED, ASK, TRYAGAIN."""

import asyncio

import pytest

from csms_redis.redis.address import Address
from tests.support.two_masters import AWAY, FOUND, NOT_FOUND, TIMEOUT, B, Cluster
from tests.support.wire import NO_RECORD, connect, record

OK = b"+OK\r\n"


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

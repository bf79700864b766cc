"""Writes to masters that move: redirections, on servers that answer as the test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import TypeAlias

import hiredis
import pytest

from csms_redis.contract.errors import OutcomeUnknown, Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient
from csms_redis.redis.node import Node
from csms_redis.redis.topology import Topology

HOST = "127.0.0.1"
KEY = b"cs:a"
MASTER = b"*2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"

Answer: TypeAlias = Callable[[list[bytes]], bytes]


class Server:
    """Keeps the commands, but for HELLO, and answers them."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.answer: Answer = lambda _: b":1\r\n"
        self.port = 0
        self.connections = 0
        self.open = 0

    @property
    def address(self) -> Address:
        return Address(host=HOST, port=self.port)

    def redirects(
        self, code: str, to: "Server | None" = None, *, times: int = 1, host: str = HOST
    ) -> None:
        """Answer so many writes with MOVED, ASK or TRYAGAIN, those after them as ever."""
        where = f" 1 {host}:{to.port}" if to else " later"
        left = [f"-{code}{where}\r\n".encode()] * times

        def answer(command: list[bytes]) -> bytes:
            del command
            return left.pop() if left else b":1\r\n"

        self.answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        resp = hiredis.Reader()
        while data := await reader.read(65536):
            resp.feed(data)
            while (command := resp.gets()) is not False:
                assert isinstance(command, list)
                if command[0] == b"HELLO":
                    writer.write(MASTER)
                else:
                    self.commands.append(command[0])
                    writer.write(b"+OK\r\n" if command[0] == b"ASKING" else self.answer(command))
        self.open -= 1
        writer.close()


class Two(Topology):
    """Two servers; all is at the first, until it moves."""

    def __init__(self, servers: list[Server]) -> None:
        super().__init__()
        self.masters = tuple(server.address for server in servers)
        self.at: Address | None = self.masters[0]

    def owner(self, key: bytes) -> Address | None:
        del key
        return self.at

    def confirmed(self, master: Address) -> float:
        del master
        return inf

    async def look(self) -> None:
        """Nothing is found out."""

    def moved(self, key: bytes, to: Address) -> None:
        self.at = to
        super().moved(key, to)

    def leave(self, master: Address) -> None:
        self.masters = tuple(each for each in self.masters if each != master)
        self._notify(None)

    @property
    def doubted(self) -> bool:
        return self._doubted.is_set()


class Site:
    """A client of two servers."""

    def __init__(self, one: Server, other: Server) -> None:
        self.one = one
        self.other = other
        self.topology = Two([one, other])
        self.client = RedisClient(self.topology, partial(Node, max_connections=2), timeout=1)

    async def write(self) -> object:
        return await self.client.write(KEY, "DEL", KEY)


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    listener = await asyncio.start_server(server.serve, HOST, 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running(Server()) as one, running(Server()) as other:
        made = Site(one, other)
        yield made
        await made.client.close()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("host", [HOST, "", "?"])
async def test_moved(host: str, site: Site) -> None:
    """Sent to the other, also where its host is not told, and from then on there at once."""
    site.one.redirects("MOVED", site.other, host=host)

    assert await site.write() == 1
    assert await site.write() == 1
    assert (site.one.commands, site.other.commands) == ([b"DEL"], [b"DEL", b"DEL"])


async def test_ask(site: Site) -> None:
    """Sent to the other with ASKING, this once."""
    site.one.redirects("ASK", site.other)

    assert await site.write() == 1
    assert await site.write() == 1
    assert (site.one.commands, site.other.commands) == ([b"DEL", b"DEL"], [b"ASKING", b"DEL"])


async def test_try_again(site: Site) -> None:
    site.one.redirects("TRYAGAIN")

    assert await site.write() == 1
    assert site.one.commands == [b"DEL", b"DEL"]


async def test_in_circles(site: Site) -> None:
    """Two that each name the other: unavailable, and the topology is looked at."""
    site.one.redirects("MOVED", site.other, times=99)
    site.other.redirects("MOVED", site.one, times=99)
    with pytest.raises(Unavailable) as caught:
        await site.write()

    assert type(caught.value) is Unavailable
    assert len(site.one.commands + site.other.commands) <= 5
    assert site.topology.doubted


async def test_no_master(site: Site) -> None:
    """Unavailable at once, and the topology is looked at."""
    site.topology.at = None
    with pytest.raises(Unavailable) as caught:
        await site.write()

    assert type(caught.value) is Unavailable
    assert site.topology.doubted


@pytest.mark.parametrize("code", ["READONLY", "CLUSTERDOWN", "LOADING", "MASTERDOWN"])
async def test_a_server_that_is_not_the_master(site: Site, code: str) -> None:
    """Nothing was changed; the topology is looked at, and the connection not used again."""
    site.one.answer = lambda _: f"-{code} no\r\n".encode()
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            await site.write()
        assert type(caught.value) is Unavailable

    assert site.topology.doubted
    assert site.one.connections == 2
    assert site.other.commands == []


async def test_an_unknown_fate_is_not_tried_elsewhere(site: Site) -> None:
    """Sent once."""
    site.one.answer = lambda _: b"nonsense\r\n"
    with pytest.raises(OutcomeUnknown):
        await site.write()

    assert site.one.commands == [b"DEL"]
    assert site.other.commands == []
    assert site.topology.doubted


async def test_connections_to_a_former_master_are_closed(site: Site) -> None:
    """When it has left the topology."""
    await site.write()
    site.topology.at = site.other.address
    await site.write()
    site.topology.leave(site.one.address)
    await asyncio.sleep(0.01)

    assert list(site.client._nodes) == [site.other.address]
    assert site.one.open == 0
    assert site.other.open == 1

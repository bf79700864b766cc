"""A cluster's nodes: what they say of one another, and servers that answer as a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress

import hiredis

from csms_redis.redis.address import Address
from csms_redis.redis.cluster import Cluster
from csms_redis.redis.cluster_map import ClusterMap, parse
from csms_redis.redis.slots import SLOTS

HOST = "127.0.0.1"
SECRET = "hunter2"
SEED = Address(host=HOST, port=7000, username="scout", password=SECRET)
KEY = b"{06S}"  # of slot 0
ALL = "0-5460", "5461-10922", "10923-16383"
THIRDS = [range(5461), range(5461, 10923), range(10923, SLOTS)]


def at(port: int) -> Address:
    return SEED.at(HOST, port)


def line(
    name: str,
    port: int,
    epoch: int,
    *slots: str,
    of: str = "-",
    flags: str = "",
    where: str = "",
    link: str = "connected",
) -> str:
    """A node as another one, or it itself, names it."""
    kind = "master" if of == "-" else "slave"
    where = where or f"{HOST}:{port}@{port + 10000}"
    words = [name, where, ",".join(filter(None, [flags, kind])), of, "0", "0", str(epoch), link]
    return " ".join([*words, *slots])


def three(me: str = "a") -> list[str]:
    """Masters a, b and c; d follows a."""
    lines = [
        line("a", 7000, 1, ALL[0]),
        line("b", 7001, 2, ALL[1]),
        line("c", 7002, 3, ALL[2]),
        line("d", 7003, 1, of="a"),
    ]
    return said_by(me, lines)


def said_by(me: str, lines: list[str]) -> list[str]:
    """Mark the one that says it."""
    return [
        each.replace(" master", " myself,master").replace(" slave", " myself,slave")
        if each.startswith(f"{me} ")
        else each
        for each in lines
    ]


def said(lines: Sequence[str], *, asked: Address = SEED, when: float = 1.0) -> ClusterMap:
    return parse("\n".join([*lines, ""]), asked, when)


def owners(cluster: Cluster) -> dict[int, int]:
    """How many slots each port has."""
    ports = [address.port for address in cluster._slots if address is not None]
    return {port: ports.count(port) for port in sorted(set(ports))}


class Told:
    """What a cluster told of."""

    def __init__(self, cluster: Cluster) -> None:
        self.slots: list[set[int]] = []
        cluster.changed.append(self)

    def __call__(self, slots: Collection[int] | None) -> None:
        assert slots is not None
        self.slots.append(set(slots))


def failed_over(me: str = "b") -> list[str]:
    lines = [
        line("a", 7000, 1, flags="fail"),
        line("b", 7001, 2, ALL[1]),
        line("c", 7002, 3, ALL[2]),
        line("d", 7003, 4, ALL[0]),
    ]
    return said_by(me, lines)


class Server:
    """Answers AUTH with OK and everything else with `reply`."""

    def __init__(self, host: str = HOST) -> None:
        self.host = host
        self.port = 0
        self.reply: str | None = ""  # None: nothing
        self.asked = 0
        self.open = 0

    @property
    def address(self) -> Address:
        return SEED.at(self.host, self.port)

    def says(self, lines: Sequence[str]) -> None:
        text = "\n".join([*lines, ""])
        self.reply = f"${len(text)}\r\n{text}\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        resp = hiredis.Reader()
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                resp.feed(data)
                while (command := resp.gets()) is not False:
                    assert isinstance(command, list)
                    if command[0] == b"AUTH":
                        assert command[1:] == [b"scout", SECRET.encode()]
                        writer.write(b"+OK\r\n")
                    else:
                        assert command == [b"CLUSTER", b"NODES"]
                        self.asked += 1
                        writer.write((self.reply or "").encode())
        self.open -= 1
        writer.close()


@asynccontextmanager
async def serving(*servers: Server, port: int = 0) -> AsyncIterator[None]:
    listening = []
    for server in servers:
        listener = await asyncio.start_server(server.serve, server.host, port)
        server.port = listener.sockets[0].getsockname()[1]
        listening.append(listener)
    try:
        yield
    finally:
        for listener in listening:
            listener.close()
        await until(lambda: not any(server.open for server in servers))


async def until(condition: Callable[[], object], *, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 nothing tells of it
            await asyncio.sleep(0.005)


def pair(one: Server, other: Server, me: str) -> list[str]:
    lines = [line("a", one.port, 1, "0-9999"), line("b", other.port, 2, "10000-16383")]
    return said_by(me, lines)

"""Sentinels that answer as a test says, and the master's follower that asks them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import hiredis

from csms_redis.redis import names as names_module
from csms_redis.redis.address import Address
from csms_redis.redis.sentinel import Sentinel
from tests.support.topologies.node import free_port
from tests.support.topologies.sentinels import MASTER

HOST = "127.0.0.1"
OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6380)
PATIENCE = 30.0  # seconds until something that should happen is given up
SECRET = "hush-hush"
NEVER = 3600.0  # seconds


def resp(reply: Any) -> bytes:
    match reply:
        case None:
            return b"*-1\r\n"
        case bytes():
            return reply
        case int():
            return b":%d\r\n" % reply
        case str():
            return b"$%d\r\n%b\r\n" % (len(reply), reply.encode())
        case _:
            return b"*%d\r\n%b" % (len(reply), b"".join(resp(one) for one in reply))


class Fake:
    """A sentinel that knows one master, called `mymaster`, and the others it is told of."""

    def __init__(self, number: int, *, host: str = HOST, port: int = 0) -> None:
        self.id = f"{number:040x}"
        self.host = host
        self.port = port or free_port()
        self.master: tuple[str, int] | None = OLD
        self.others: Sequence[Fake] = ()
        self.silent = False
        self.hangs_up = False
        self.tells_id = True
        self.password = ""
        self.tls: ssl.SSLContext | None = None
        self.questions = 0
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.subscribers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> Address:
        return Address(host=self.host, port=self.port)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in [*self.open]:
            writer.transport.abort()
        while self.open:  # noqa: ASYNC110 nothing tells of it
            await asyncio.sleep(0.001)

    def switch(self, master: tuple[str, int], *, name: str = MASTER) -> None:
        """Have another master, and tell those who subscribed."""
        self.master = master
        for writer in self.subscribers:
            text = f"{name} {OLD[0]} {OLD[1]} {master[0]} {master[1]}"
            writer.write(resp(["message", "+switch-master", text]))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        commands = hiredis.Reader(encoding="utf-8")
        known = not self.password
        try:
            while data := await reader.read(65536):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    assert isinstance(command, list)
                    if command[0] == "AUTH":
                        known = command[-1] == self.password
                        writer.write(b"+OK\r\n" if known else f"-WRONGPASS {command}\r\n".encode())
                    elif not known:
                        writer.write(b"-NOAUTH Authentication required.\r\n")
                    elif self.hangs_up:
                        self.questions += 1
                        return
                    elif not self.silent:
                        self._answer(command, writer)
        except OSError:
            pass
        finally:
            self.open.discard(writer)
            self.subscribers.discard(writer)
            writer.transport.abort()

    def _answer(self, command: list[str], writer: asyncio.StreamWriter) -> None:
        match command:
            case ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]:
                self.questions += 1
                where = self.master if name == MASTER else None
                writer.write(resp(where and (where[0], str(where[1]))))
            case ["SENTINEL", "MYID"]:
                writer.write(resp(self.id) if self.tells_id else b"-ERR Unknown subcommand\r\n")
            case ["SENTINEL", "SENTINELS", name]:
                others = [
                    ["name", "x", "ip", one.host, "port", str(one.port), "runid", one.id]
                    for one in self.others
                ]
                known = name == MASTER and self.master is not None
                writer.write(resp(others) if known else b"-ERR No such master with that name\r\n")
            case ["SUBSCRIBE", channel]:
                self.subscribers.add(writer)
                writer.write(resp(["subscribe", channel, 1]))
            case _:
                writer.write(b"-ERR unknown command\r\n")


def acquaint(fakes: Sequence[Fake]) -> None:
    """Let each know all others."""
    for fake in fakes:
        fake.others = [other for other in fakes if other is not fake]


@asynccontextmanager
async def asking(
    addresses: Sequence[Address], *, name: str = MASTER, patience: float = 5, **template: Any
) -> AsyncIterator[Sentinel]:
    sentinel = Sentinel(addresses, name, Address(**template), timeout=patience)
    try:
        yield sentinel
    finally:
        await sentinel.close()


@asynccontextmanager
async def following(sentinel: Sentinel) -> AsyncIterator[None]:
    running = asyncio.create_task(sentinel.run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def until(condition: Callable[[], Any], what: str) -> None:
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        await asyncio.sleep(0.002)


def addresses(fakes: Sequence[Fake]) -> list[Address]:
    return [fake.address for fake in fakes]


def masters(*where: tuple[str, int]) -> tuple[Address, ...]:
    return tuple(Address(host=host, port=port) for host, port in where)


class Names:
    """A name server."""

    def __init__(self) -> None:
        self.hosts: dict[str, list[str]] = {}
        self.questions = 0

    def look_up(self, host: str, port: int) -> list[names_module.Place]:
        self.questions += 1
        if host not in self.hosts:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, (ip, port)) for ip in self.hosts[host]]

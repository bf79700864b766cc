"""A server on a Unix socket that answers as a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias, cast

import hiredis

Answer: TypeAlias = Callable[[list[bytes]], bytes | None]
"""Gives the reply to a command as it goes over the wire; None for no reply."""

MASTER = b"%1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
NULLS = b"*1\r\n_\r\n"


def healthy(command: list[bytes]) -> bytes:
    """The replies of a master that has no records."""
    return {b"HELLO": MASTER, b"HMGET": NULLS}.get(command[0], b"+OK\r\n")


class FakeRedis:
    """Counts its connections and keeps the commands."""

    def __init__(self) -> None:
        self.answer: Answer = healthy
        self.commands: list[list[bytes]] = []
        self.connections = 0
        self.open: set[asyncio.Transport] = set()

    def close_connections(self) -> None:
        """End every connection."""
        for transport in self.open:
            transport.close()


class _Connection(asyncio.Protocol):
    def __init__(self, fake: FakeRedis) -> None:
        self._fake = fake
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._fake.connections += 1
        self._fake.open.add(self._transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._reader.feed(data)
        while (command := self._reader.gets()) is not False:
            assert isinstance(command, list)
            self._fake.commands.append(command)
            reply = self._fake.answer(command)
            if reply is not None:
                self._transport.write(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        assert self._transport is not None
        self._fake.open.discard(self._transport)


@asynccontextmanager
async def fake_redis(path: Path) -> AsyncIterator[FakeRedis]:
    """Run one on a Unix socket."""
    fake = FakeRedis()
    server = await asyncio.get_running_loop().create_unix_server(
        lambda: _Connection(fake), str(path)
    )
    try:
        yield fake
    finally:
        server.close()
        fake.close_connections()
        await server.wait_closed()

"""Proxies before Valkeys: networks that can be cut, and TLS, which this Valkey is built without."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol, Self, TypeVar

from tests.support.topologies.node import Address

T = TypeVar("T")
_TLS_HANDSHAKE = b"\x16"


class Ends(Protocol):
    """What runs in the thread until it is ended there."""

    async def end(self) -> None:
        """Close everything."""


class Proxies:
    """A thread in which proxies run; they end with the block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._proxies: list[Ends] = []

    def __enter__(self) -> Self:
        # A client that leaves in the middle of a handshake is nobody's error here.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self._proxies:
            self.run(proxy.end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def end_with(self, proxy: "Ends") -> None:
        """End a proxy together with all others."""
        self._proxies.append(proxy)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def add(
        self,
        address: Address,
        target: Address,
        *,
        tls: ssl.SSLContext | None = None,
        plain: bool = True,
    ) -> "Proxy":
        """Listen on an address and forward to a target.

        Args:
            address: where to listen.
            target: where to forward to; nobody needs to listen there yet.
            tls: how to speak TLS with clients that do.
            plain: whether clients may do without.
        """
        proxy = Proxy(self, address, target, tls, plain=plain)
        self.run(proxy.begin())
        self._proxies.append(proxy)
        return proxy


class Proxy:
    """Forwards connections to one Valkey; `cut` and `heal` are what a network can do."""

    def __init__(
        self,
        proxies: Proxies,
        address: Address,
        target: Address,
        tls: ssl.SSLContext | None,
        *,
        plain: bool,
    ) -> None:
        self.address = address
        self._proxies = proxies
        self._target = target
        self._tls = tls
        self._plain = plain
        self._whole = asyncio.Event()
        self._whole.set()
        self._listener: socket.socket
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Let no byte pass either way, and no end of a connection: as if every packet were lost.

        Connections are still accepted, which a client cannot tell from a slow server.
        """
        self._proxies.run(self._set(whole=False))

    def heal(self) -> None:
        """Let bytes pass again, first those that were sent meanwhile: TCP repeats what was lost.

        So a command that was sent into the void may still be run, late.
        """
        self._proxies.run(self._set(whole=True))

    async def _set(self, *, whole: bool) -> None:
        if whole:
            self._whole.set()
        else:
            self._whole.clear()

    async def begin(self) -> None:
        """Listen."""
        family = socket.AF_INET6 if ":" in self.address.host else socket.AF_INET
        self._listener = socket.create_server(self.address, family=family, backlog=512)
        self._listener.settimeout(0)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def end(self) -> None:
        """Close everything."""
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self) -> None:
        # No task accepts: one that is cancelled just then would lose the connection, unclosed.
        with suppress(BlockingIOError, ConnectionAbortedError):
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.get_running_loop().create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            # nor does the task close it: it may be cancelled before its first line
            task.add_done_callback(lambda _: connection.close())

    async def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError):
            await _readable(connection)
            await self._whole.wait()
            is_tls = connection.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE
            if is_tls != (self._tls is not None) and not (self._plain and not is_tls):
                return
            client = _Stream()
            await client.over(connection, self._tls if is_tls else None)
            try:
                await self._forward(client)
            finally:
                client.writer.transport.abort()

    async def _forward(self, client: "_Stream") -> None:
        reader, writer = await asyncio.open_connection(*self._target)
        try:
            pumps = [
                asyncio.ensure_future(self._pump(client.reader, writer)),
                asyncio.ensure_future(self._pump(reader, client.writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                client.writer.close()  # what was written to it is still sent
                writer.close()
                await asyncio.gather(
                    client.writer.wait_closed(), writer.wait_closed(), return_exceptions=True
                )
        finally:
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward until the end of what is read; cut, wait before that as well."""
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        await self._whole.wait()


class _Stream:
    """asyncio's streams over a socket that was accepted and perhaps begins with a handshake."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.reader = asyncio.StreamReader(loop=loop)
        self._protocol = asyncio.StreamReaderProtocol(self.reader, loop=loop)
        self.writer: asyncio.StreamWriter

    async def over(self, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(
            lambda: self._protocol, connection, ssl=tls
        )
        self.writer = asyncio.StreamWriter(transport, self._protocol, self.reader, loop)


async def _readable(connection: socket.socket) -> None:
    """Wait for the first byte, or the end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    connection.settimeout(0)

    def tell() -> None:
        loop.remove_reader(connection)
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, tell)
    try:
        await ready
    finally:
        loop.remove_reader(connection)

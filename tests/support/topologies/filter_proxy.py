"""A proxy that knows few of Redis' commands, in the way of Envoy or of twemproxy."""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from contextlib import suppress
from zlib import crc32

import hiredis

from tests.support.topologies.node import Address
from tests.support.topologies.proxy import Proxies

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class FilterProxy:
    """Passes commands on one by one, but for some that it refuses or hangs up on.

    Of several servers each has a share of the keys; a command goes by its first key.
    """

    def __init__(
        self,
        proxies: Proxies,
        *targets: Address,
        refuses: Collection[str] = (),
        hangs_up_on: Collection[str] = (),
    ) -> None:
        """Listen on a port of its own, until `proxies` end.

        Args:
            proxies: where it runs.
            targets: the servers.
            refuses: names of commands that it answers with an error, as Envoy words it.
            hangs_up_on: names of commands on which it closes the connection.
        """
        self.met: list[str] = []
        """The names of the commands that came."""
        self._targets = targets
        self._refuses = refuses
        self._hangs_up_on = hangs_up_on
        self._serving: set[asyncio.Task[None]] = set()
        host, port = proxies.run(self._listen())
        proxies.end_with(self)
        self.address = Address(host, port)
        self.url = f"redis://{self.address}"

    async def _listen(self) -> tuple[str, int]:
        self._server = await asyncio.start_server(self._serve, self._targets[0].host, 0)
        host, port = self._server.sockets[0].getsockname()
        return host, port

    async def end(self) -> None:
        """Close everything."""
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        with suppress(OSError, asyncio.CancelledError):
            async with contextlib.AsyncExitStack() as open_ones:
                open_ones.callback(writer.close)
                targets = [await asyncio.open_connection(*each) for each in self._targets]
                for target in targets:
                    open_ones.callback(target[1].close)
                await self._pass_on(reader, writer, targets)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        targets: Sequence[_Streams],
    ) -> None:
        commands = hiredis.Reader()
        while data := await reader.read(65536):
            commands.feed(data)
            while (words := commands.gets()) is not False:
                name = words[0].decode().upper()
                self.met.append(name)
                if name in self._hangs_up_on:
                    return
                if name in self._refuses:
                    writer.write(b"-unsupported command '%b'\r\n" % words[0].lower())
                else:
                    target = targets[crc32(_first_key(words)) % len(targets)]
                    target[1].write(hiredis.pack_command(tuple(words)))
                    await _pass_back(target[0], writer)


def _first_key(words: Sequence[bytes]) -> bytes:
    number = 3 if words[0].upper() == b"EVAL" else 1
    return words[number] if len(words) > number else b""


async def _pass_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass one reply back."""
    replies = hiredis.Reader(notEnoughData=Ellipsis)
    reply = ...
    while reply is ...:
        data = await reader.read(65536)
        if not data:
            return
        writer.write(data)
        replies.feed(data)
        reply = replies.gets()

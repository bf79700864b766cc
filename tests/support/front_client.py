"""The client's end of a connection, on a transport without a socket."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import Reply
from tests.support.front_bytes import replies

_HIGH_WATER = 65536  # asyncio's own mark
_QUIET_TURNS = 12  # of the event loop; aiohttp needs fewer from a request to its answer
BUFFER = 65536  # bytes that may wait while a request is being answered
SEGMENT = 16384  # bytes


class MockTransport(asyncio.Transport):
    """A transport that keeps what is written, and can be as stuck as a client that never reads."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.stuck = False
        self.reading = True
        self.closed = False  # asked for
        self.ended = False  # done
        self.aborted = False
        self._unsent = 0
        self._paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 50000) if name == "peername" else default

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self._unsent:
                asyncio.get_running_loop().call_soon(self._end)

    def abort(self) -> None:
        self.closed = self.aborted = True
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self.protocol.connection_lost(None)

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        if self.ended or self.aborted:
            return
        self.written += data
        if self.stuck:
            self._unsent += len(data)
            if self._unsent > _HIGH_WATER and not self._paused:
                self._paused = True
                self.protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        return self._unsent

    def catch_up(self) -> None:
        """The client has read everything."""
        self._unsent = 0
        if self._paused:
            self._paused = False
            self.protocol.resume_writing()
        if self.closed:
            self._end()

    def is_reading(self) -> bool:
        return self.reading and not self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@dataclass
class Client:
    """The client's end of a connection."""

    protocol: asyncio.Protocol
    transport: MockTransport = field(init=False)

    def __post_init__(self) -> None:
        """Connect."""
        self.transport = MockTransport(self.protocol)
        self.protocol.connection_made(self.transport)

    async def send(self, *segments: bytes) -> None:
        """Send bytes, each segment in a turn of its own, as long as they are read."""
        for segment in segments:
            if self.transport.closed or not self.transport.reading:
                break
            self.protocol.data_received(segment)
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """Say that nothing more will be sent."""
        if not self.transport.closed and not self.protocol.eof_received():
            self.transport.close()
        await settle(self)

    async def ask(self, *segments: bytes) -> list[Reply]:
        """Send bytes, and give the replies to them."""
        already = len(self.transport.written)
        await self.send(*segments)
        await settle(self)
        return replies(bytes(self.transport.written[already:]))

    @property
    def ended(self) -> bool:
        """Whether the connection has ended."""
        return self.transport.ended

    @property
    def received(self) -> bytes:
        """All that was received."""
        return bytes(self.transport.written)

    @property
    def replies(self) -> list[Reply]:
        """All that was received, which must be replies."""
        return replies(self.received)


async def settle(*clients: Client) -> None:
    """Let the event loop turn until nothing more happens on some connections."""

    def state() -> list[tuple[int, bool, bool]]:
        return [(len(c.received), c.transport.ended, c.transport.reading) for c in clients]

    quiet = 0
    before = state()
    while quiet < _QUIET_TURNS:
        await asyncio.sleep(0)
        now = state()
        quiet = quiet + 1 if now == before else 0
        before = now

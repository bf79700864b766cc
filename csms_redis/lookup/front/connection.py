"""The connection of one client: its state, its place in a queue, its end; not its requests."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from time import monotonic
from typing import Final, cast

from csms_redis.lookup.front.connections import Connections, Queue
from csms_redis.lookup.front.plain_transport import PlainTransport

MAX_BUFFER: Final = 2**16
"""Bytes that may wait while a request is being answered; beyond it nothing more is read."""


class State(Enum):
    """What a connection does at present."""

    READY = "waits for a request, or for the rest of its head"
    LOOKING_UP = "a lookup is under way"
    HANDED_OVER = "aiohttp answers one request, whose end is known"
    LEFT = "aiohttp has the connection for good"
    CLOSING = "nothing more is read; what was written may still leave"


TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.READY: frozenset([State.LOOKING_UP, State.HANDED_OVER, State.LEFT, State.CLOSING]),
    State.LOOKING_UP: frozenset([State.READY, State.CLOSING]),
    State.HANDED_OVER: frozenset([State.READY, State.CLOSING]),
    State.LEFT: frozenset([State.CLOSING]),
    State.CLOSING: frozenset([State.CLOSING]),
}
"""Which state may follow which.

A request leads away from READY, unless memory answers it: a lookup to LOOKING_UP, another request
to HANDED_OVER, one of odd form to LEFT. The answer leads back, but from LEFT. To CLOSING leads an
answer that closes, the end of the client's stream, a time-out, a connection too many, a drain, and
a lost connection. From CLOSING no way leads back.
"""

# Names in the module, for a member is slow to reach through its class.
READY: Final = State.READY
LOOKING_UP: Final = State.LOOKING_UP
HANDED_OVER: Final = State.HANDED_OVER
LEFT: Final = State.LEFT
CLOSING: Final = State.CLOSING


class ClientConnection(asyncio.Protocol, ABC):
    """The connection without its requests: its transport, state and queue, and bytes that wait.

    `LookupProtocol` knows what the bytes mean, and what the end of a time-out, or a drain, means
    while a request is being answered.
    """

    __slots__ = (
        "_buffer",
        "_connections",
        "_half_closed",
        "_handshake",
        "_paused",
        "_queue",
        "_reading_paused",
        "_state",
        "_transport",
        "_waiting_since",
    )

    def __init__(self, connections: Connections) -> None:
        """Prepare.

        Args:
            connections: the registry of all connections, which has the queues.
        """
        self._connections = connections
        self._transport: asyncio.Transport | None = None  # None before it is open and after
        self._handshake: asyncio.Transport | None = None  # TLS', while that is under way
        self._state = READY
        self._queue: Queue | None = None  # the one of `Connections` in which it stands
        self._waiting_since = 0.0  # when it came into that queue (monotonic seconds)
        self._buffer = b""  # what has arrived and was neither answered nor handed over
        self._half_closed = False  # the client sends nothing more
        self._paused = False  # the client does not take what was written
        self._reading_paused = False  # the buffer is full

    def shakes_hands(self, transport: asyncio.Transport) -> None:
        """Wait for the end of TLS' handshake."""
        self._handshake = transport
        self._connections.opened(self)
        if self._state is READY:
            self._wait_in(self._connections.reading, monotonic())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request; or go on, where a plain socket has become a transport."""
        former, self._transport = self._transport, cast("asyncio.Transport", transport)
        if isinstance(former, PlainTransport):
            self._paused = False
            former.moved_to(self._transport)
            if (
                not self._paused
            ):  # else it was given more than it likes to keep, and says when to go on
                self.resume_writing()
            return
        if self._handshake is None:
            self._connections.opened(self)
        self._handshake = None
        if self._state is READY:
            self._wait_in(self._connections.idle, monotonic())
        else:  # it was closed during the handshake
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave nothing behind."""
        del exc
        self._state = CLOSING
        self._transport = None
        self._handshake = None
        self._buffer = b""
        self._leave_queue()
        self._connections.closed(self)

    @abstractmethod
    def timed_out(self) -> None:
        """End a connection that has waited too long."""

    @abstractmethod
    def drain(self, since: float) -> None:
        """Close when idle since then (monotonic seconds), else with the next answer."""

    def give_way(self) -> None:
        """End a connection that waits, for there are too many."""
        if self._paused:  # what was written may never leave
            self.abort()
        else:
            self.close()

    def close(self) -> None:
        """Close when what was written has left."""
        if self._transport is None:
            self.abort()
            return
        self._state = CLOSING
        self._transport.close()
        if self._transport is not None:  # mostly a plain socket, which is closed by now
            self._wait_in(self._connections.closing, monotonic())

    def abort(self) -> None:
        """Close at once."""
        self._state = CLOSING
        self._leave_queue()
        if self._transport is not None:
            self._transport.abort()
        elif self._handshake is not None:
            self._handshake.abort()

    def _wait_in(self, queue: Queue, now: float) -> None:
        if self._queue is not None:
            self._leave_queue()
        queue[self] = now
        self._queue = queue
        self._waiting_since = now

    def _leave_queue(self) -> None:
        if self._queue is not None:
            self._queue.pop(self, None)
            self._queue = None

    def _limit_buffer(self) -> None:
        """Read nothing more while too much waits."""
        if len(self._buffer) > MAX_BUFFER and self._transport is not None:
            # again and again, for aiohttp resumes what it paused itself
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        transport = self._transport
        if self._reading_paused and len(self._buffer) <= MAX_BUFFER and transport is not None:
            self._reading_paused = False
            transport.resume_reading()

"""A connection on its plain socket, as its protocol sees it, until it needs the event loop's own.

To make the event loop's transport of a connection costs more than a lookup. So the protocol reads
and answers on the plain socket, for as long as it asks for lookups. For whatever else (aiohttp's
requests, an answer that the kernel does not take whole) the event loop makes a transport of it.

The states of a `PlainTransport`:

| state | its socket | what leads away |
|---|---|---|
| `NEW` | is not read; what was read before is given to the protocol | it is still open then: `READING`; `pause_reading`, or the client's end of stream while an answer is under way: `PAUSED`; `move`, or a write that is not taken whole: `MOVING`; `close`, `abort` or an error: `CLOSED` |
| `READING` | is read as soon as something arrives | as above |
| `PAUSED` | is not looked at | `resume_reading`: `READING`; and as above |
| `MOVING` | becomes the event loop's transport; what is written meanwhile is kept for it | the transport is there: `MOVED`; it cannot be made, for the client has left: `CLOSED` |
| `MOVED` | is the event loop's | nothing: the protocol has the other transport |
| `CLOSED` | is closed; the protocol was told, or is in a moment | nothing |
"""  # noqa: E501 a row of a table is one line

import asyncio
import socket
from contextlib import suppress
from enum import Enum
from typing import Any, Final

from csms_redis.lookup.front.socket_set import SocketSet

AT_ONCE: Final = 65536
"""Bytes that are read at once."""

DO_NOT_WAIT: Final = socket.MSG_DONTWAIT
"""An accepted socket may be a blocking one: to make it non-blocking is a system call."""


class State(Enum):
    """What a plain socket does now; see the table above."""

    NEW = "is given what was read before"
    READING = "is read"
    PAUSED = "is not read"
    MOVING = "becomes the event loop's"
    MOVED = "is the event loop's"
    CLOSED = "is closed"


NEW: Final = State.NEW
READING: Final = State.READING
PAUSED: Final = State.PAUSED
MOVING: Final = State.MOVING
MOVED: Final = State.MOVED
CLOSED: Final = State.CLOSED
_OURS: Final = (NEW, READING, PAUSED)  # a tuple, for an enumeration's members hash slowly


def request_fails(error: Exception, owner: object) -> None:
    """Have the event loop log an error that should not be."""
    context = {"message": "a request fails", "exception": error, "protocol": owner}
    asyncio.get_running_loop().call_exception_handler(context)


class OnPlainSocket(asyncio.BaseTransport):
    """What stands for a connection on its plain socket, and knows the address at the other end.

    Its kinds set `_socket` themselves: one is made for each lookup, and a call takes time.
    """

    __slots__ = ("_peername", "_socket")
    _peername: Any
    _socket: socket.SocketType

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The address at the other end, `peername`; nothing else is known."""
        if name != "peername":
            return default
        found = getattr(self, "_peername", None)  # hardly any is asked for it
        if found is None:
            with suppress(OSError):
                found = self._peername = self._socket.getpeername()
        return default if found is None else found


class PlainTransport(OnPlainSocket, asyncio.Transport):
    """One connection on its plain socket, as its protocol sees it."""

    __slots__ = (
        "_asked",
        "_descriptor",
        "_protocol",
        "_state",
        "_unsent",
        "_watched",
    )

    def __init__(
        self, watched: SocketSet, accepted: socket.SocketType, protocol: asyncio.Protocol
    ) -> None:
        """Own an accepted socket, which need not be non-blocking."""
        # without the base's, which makes a dictionary for each
        self._watched = watched
        self._socket = accepted
        self._descriptor = accepted.fileno()
        self._protocol = protocol
        self._state = NEW
        self._unsent = b""  # what the event loop's transport has to write first
        self._asked = ""  # what that has to do then: "close" or "abort"

    def begin(self, received: bytes) -> None:
        """Give the protocol what has arrived, and wait for more.

        Args:
            received: that; perhaps nothing.
        """
        try:
            self._protocol.connection_made(self)
        except Exception as error:  # noqa: BLE001 the other connections go on
            self._fail(error)
        if received and self._state is NEW:
            self._give(received)
        if self._state is NEW:
            self._watch()

    def read(self) -> None:
        """Give the protocol what has arrived."""
        try:
            data = self._socket.recv(AT_ONCE, DO_NOT_WAIT)
        except BlockingIOError:
            return
        except OSError as error:
            self._break(error)
            return
        self._give(data)

    def _give(self, data: bytes) -> None:
        try:
            if data:
                self._protocol.data_received(data)
            elif self._protocol.eof_received():
                self.pause_reading()
            else:
                self.close()
        except Exception as error:  # noqa: BLE001 the other connections go on, as with a transport
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        request_fails(error, self._protocol)
        self.abort()

    def write(self, data: bytes) -> None:  # type: ignore[override] # nothing else is written here
        """Send an answer."""
        if self._state is MOVING:
            self._unsent += data
            return
        if self._state is CLOSED:
            return
        try:
            sent = self._socket.send(data, DO_NOT_WAIT)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._break(error)
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._protocol.pause_writing()
            self.move()

    def move(self) -> bool:
        """Let the event loop make its transport, which the protocol is then given.

        Returns:
            True: that is still to come.
        """
        if self._state in _OURS:
            self._unwatch()
            self._state = MOVING
            whole = socket.socket(fileno=self._socket.detach())
            whole.settimeout(0)
            self._watched.move(self._move(whole))
        return True

    async def _move(self, whole: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: self._protocol, whole)
        except OSError as error:  # the client has left
            whole.close()
            self._break(error)

    def moved_to(self, transport: asyncio.Transport) -> None:
        """Leave to the event loop's transport what is still to be done."""
        self._state = MOVED
        if self._unsent:
            transport.write(self._unsent)
        if self._asked == "close":
            transport.close()
        elif self._asked:
            transport.abort()

    def close(self) -> None:
        """Close; all that was written has been sent."""
        if self._state is MOVING:
            self._asked = self._asked or "close"
        elif self._state in _OURS:
            self._close()
            self._protocol.connection_lost(None)

    def abort(self) -> None:
        """Close at once."""
        if self._state is MOVING:
            self._asked = "abort"
        else:
            self.close()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._state is CLOSED or bool(self._asked)

    def pause_reading(self) -> None:
        """Read nothing."""
        if self._state is NEW or self._state is READING:
            self._unwatch()
            self._state = PAUSED

    def resume_reading(self) -> None:
        """Read again."""
        if self._state is PAUSED:
            self._watch()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Its `socket`, while it is read here, too."""
        if name == "socket":
            return self._socket if self._state is READING else default
        return super().get_extra_info(name, default)

    def _close(self) -> None:
        if self._state is READING:
            self._watched.closes(self._descriptor)
        self._state = CLOSED
        self._socket.close()

    def _watch(self) -> None:
        try:
            self._watched.watch(self._descriptor, self)
        except OSError as error:  # no more can be watched (epoll_ctl(2))
            self._break(error)
        else:
            self._state = READING

    def _unwatch(self) -> None:
        if self._state is READING:
            self._watched.unwatch(self._descriptor)

    def _break(self, error: Exception) -> None:
        """End a connection that is broken; not at once, for the protocol may be writing to it."""
        if self._state is not CLOSED:
            self._close()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)

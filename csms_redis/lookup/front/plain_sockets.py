"""New connections on their plain socket, until they need a transport of the event loop.

A gateway opens a connection for nearly every lookup, and to make a transport of it costs more than
the lookup. So a connection is read and answered on its plain socket, by the same protocol and with
the same bytes, for as long as it asks for lookups. For whatever else (aiohttp's requests, an answer
that the kernel does not take whole) the event loop makes a transport of it.

The states of a `PlainTransport`:

| state | its socket | what leads away |
|---|---|---|
| `NEW` | is read once | it is still open then: `READING`; `pause_reading`, or the client's end of stream while an answer is under way: `PAUSED`; `move`, or a write that is not taken whole: `MOVING`; `close`, `abort` or an error: `CLOSED` |
| `READING` | is read as soon as something arrives | as above |
| `PAUSED` | is not looked at | `resume_reading`: `READING`; and as above |
| `MOVING` | becomes the event loop's transport; what is written meanwhile is kept for it | the transport is there: `MOVED` |
| `MOVED` | is the event loop's | nothing: the protocol has the other transport |
| `CLOSED` | is closed; the protocol was told, or is in a moment | nothing |
"""  # noqa: E501 a row of a table is one line

import asyncio
import select
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import Enum
from typing import Any, Final

_AT_ONCE: Final = 65536  # bytes
_IN_ONE_TURN: Final = 100  # sockets that are read in one turn of the event loop
_DO_NOT_WAIT: Final = socket.MSG_DONTWAIT


class State(Enum):
    """What a plain socket does now; see the table above."""

    NEW = "is read for the first time"
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


class PlainSockets:
    """Takes the accepted connections of a listener, and waits until something arrives on them.

    They are in one epoll set, at which the event loop looks as at one file. A reader of the event
    loop for each would take eight system calls of its own; this takes one.
    """

    def __init__(self, new_protocol: Callable[[], asyncio.Protocol]) -> None:
        """Take none yet.

        Args:
            new_protocol: makes the protocol of a connection.
        """
        self._new_protocol = new_protocol
        self._watched: dict[int, PlainTransport] = {}
        self._poll = select.epoll()  # from the start: later there may be no descriptor left for it
        self._is_read = False
        self._moves: set[asyncio.Task[None]] = set()

    def begin(self, accepted: socket.SocketType) -> None:
        """Serve an accepted connection; mostly its first request is there already."""
        PlainTransport(self, accepted, self._new_protocol()).begin()

    def watch(self, descriptor: int, transport: "PlainTransport") -> None:
        """Have the transport read as soon as something arrives."""
        if not self._is_read:
            self._is_read = True
            asyncio.get_running_loop().add_reader(self._poll.fileno(), self._arrived)
        self._poll.register(descriptor, select.EPOLLIN)
        self._watched[descriptor] = transport

    def unwatch(self, descriptor: int) -> None:
        """Let it read no more; its socket stays open."""
        self._poll.unregister(descriptor)
        del self._watched[descriptor]

    def closes(self, descriptor: int) -> None:
        """Let it read no more; its socket closes, which takes it out of the set."""
        del self._watched[descriptor]

    def _arrived(self) -> None:
        for descriptor, _ in self._poll.poll(0, _IN_ONE_TURN):
            transport = self._watched.get(descriptor)
            if transport is not None:  # what another did in this turn may have closed it
                transport.read()

    def move(self, moving: Coroutine[Any, Any, None]) -> None:
        """Run what makes a transport of a plain socket, and keep it until it is done."""
        move = asyncio.create_task(moving)
        self._moves.add(move)
        move.add_done_callback(self._moves.discard)

    def close(self) -> None:
        """Watch no more; there are no connections left."""
        if self._is_read:
            asyncio.get_running_loop().remove_reader(self._poll.fileno())
        self._poll.close()


class PlainTransport(asyncio.Transport):
    """One connection on its plain socket, as its protocol sees it."""

    __slots__ = (
        "_asked",
        "_descriptor",
        "_protocol",
        "_socket",
        "_sockets",
        "_state",
        "_unsent",
    )

    def __init__(
        self, sockets: PlainSockets, accepted: socket.SocketType, protocol: asyncio.Protocol
    ) -> None:
        """Own an accepted socket, which need not be non-blocking."""
        # without the base's, which makes a dictionary for each
        self._sockets = sockets
        self._socket = accepted
        self._descriptor = accepted.fileno()
        self._protocol = protocol
        self._state = NEW
        self._unsent = b""  # what the event loop's transport has to write first
        self._asked = ""  # what that has to do then: "close" or "abort"

    def begin(self) -> None:
        """Read what is there already, and then wait for more."""
        self._protocol.connection_made(self)
        if self._state is NEW:
            self.read()
        if self._state is NEW:
            self._watch()

    def read(self) -> None:
        """Give the protocol what has arrived."""
        try:
            data = self._socket.recv(_AT_ONCE, _DO_NOT_WAIT)
        except BlockingIOError:
            return
        except OSError as error:
            self._break(error)
            return
        try:
            if data:
                self._protocol.data_received(data)
            elif self._protocol.eof_received():
                self.pause_reading()
            else:
                self.close()
        except Exception as error:  # noqa: BLE001 the other connections go on, as with a transport
            context = {"message": "a request fails", "exception": error, "protocol": self._protocol}
            asyncio.get_running_loop().call_exception_handler(context)
            self.abort()

    def write(self, data: bytes) -> None:  # type: ignore[override] # nothing else is written here
        """Send an answer."""
        if self._state is MOVING:
            self._unsent += data
            return
        if self._state is CLOSED:
            return
        try:
            sent = self._socket.send(data, _DO_NOT_WAIT)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._break(error)
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._protocol.pause_writing()
            self.move()

    def move(self) -> None:
        """Let the event loop make its transport, which the protocol is then given."""
        if self._state in _OURS:
            self._unwatch()
            self._state = MOVING
            whole = socket.socket(fileno=self._socket.detach())
            whole.settimeout(0)
            self._sockets.move(self._move(whole))

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
        """The address at the other end, `peername`; nothing else is asked for."""
        if name == "peername" and self._state is not CLOSED:
            with suppress(OSError):
                return self._socket.getpeername()
        return default

    def _close(self) -> None:
        if self._state is READING:
            self._sockets.closes(self._descriptor)
        self._state = CLOSED
        self._socket.close()

    def _watch(self) -> None:
        try:
            self._sockets.watch(self._descriptor, self)
        except OSError as error:  # no more can be watched (epoll_ctl(2))
            self._break(error)
        else:
            self._state = READING

    def _unwatch(self) -> None:
        if self._state is READING:
            self._sockets.unwatch(self._descriptor)

    def _break(self, error: Exception) -> None:
        """End a connection that is broken; not at once, for the protocol may be writing to it."""
        if self._state is not CLOSED:
            self._close()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)

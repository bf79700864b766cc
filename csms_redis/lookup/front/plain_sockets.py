"""New connections, on their plain socket.

A gateway opens a connection for nearly every lookup, and what stands for a connection that can do
everything (a transport and a protocol, each with a dozen attributes) costs more to make than the
lookup. So a connection begins as a `PlainSocket`, which can do one thing: answer a request that
memory can answer at once. Whatever else comes, a `PlainTransport` and a protocol take over.
"""

import socket
from collections.abc import Callable
from time import monotonic

from csms_redis.lookup.front.arrived import has_arrived
from csms_redis.lookup.front.connections import SWEEP, Connections, Queue
from csms_redis.lookup.front.from_memory import FromMemory
from csms_redis.lookup.front.plain_transport import (
    AT_ONCE,
    DO_NOT_WAIT,
    OnPlainSocket,
    PlainTransport,
    request_fails,
)
from csms_redis.lookup.front.protocol import LookupProtocol
from csms_redis.lookup.front.socket_set import SocketSet


class PlainSockets:
    """Takes the accepted connections of a listener.

    Attributes:
        connections: the registry, which counts them.
        memory: answers at once what is in memory.
        new_protocol: makes the protocol of a connection that needs one.
        watched: the sockets of those that stay open.
    """

    def __init__(
        self,
        connections: Connections,
        memory: FromMemory,
        new_protocol: Callable[[], LookupProtocol],
    ) -> None:
        """Take none yet."""
        self.connections = connections
        self.memory = memory
        self.new_protocol = new_protocol
        self.watched = SocketSet()

    def begin(self, accepted: socket.SocketType) -> None:
        """Serve an accepted connection; mostly its first request is there already.

        Args:
            accepted: its socket, which need not be non-blocking.
        """
        self.connections.accepted += 1
        PlainSocket(self, accepted).read()

    def close(self) -> None:
        """Watch no more; there are no connections left."""
        self.watched.close()


class PlainSocket(OnPlainSocket):
    """A connection that has asked for nothing yet but what memory answers at once.

    While its first request is being answered, nobody else knows of it. If it stays open then, it is
    watched and stands in the queue of `Connections` that says how long it may wait. When it closes,
    or another takes it over, nobody knows of it any more.

    It is a transport for one reason: who looks at a refusal asks that for the client's address.
    """

    __slots__ = ("_queue", "_since", "_sockets")

    def __init__(self, sockets: PlainSockets, accepted: socket.SocketType) -> None:
        """Own an accepted socket."""
        # without the base's, which makes a dictionary for each
        self._sockets = sockets
        self._socket = accepted
        self._queue: Queue | None = None  # where it waits for the next request; None if unknown
        self._since = 0.0  # when it came there (monotonic seconds)

    def read(self) -> None:
        """Answer what has arrived."""
        try:
            data = self._socket.recv(AT_ONCE, DO_NOT_WAIT)
        except BlockingIOError:
            if self._queue is None:  # it has said nothing yet, or listening does not wait for it
                self._take_over(b"")
            return
        except OSError:  # the client has left
            self._close()
            return
        if not data:
            self._close()
            return
        try:
            self._answer(data)
        except Exception as error:  # noqa: BLE001 the other connections go on
            request_fails(error, self)
            self._close()

    def _answer(self, request: bytes) -> None:
        now = monotonic()
        answered = self._sockets.memory.answer(request, now, self)
        if answered is None:
            self._take_over(request)
            return
        answer, queue = answered
        try:
            sent = self._socket.send(answer, DO_NOT_WAIT)
        except BlockingIOError:
            sent = 0
        except OSError:  # the client has left
            self._close()
            return
        if sent < len(answer):
            self._take_over(b"").finish_answer(answer[sent:], queue)
        elif queue is None:
            self._close()
        elif self._queue is not queue or now - self._since > SWEEP:
            self._wait_in(queue, now)

    def _wait_in(self, queue: Queue, now: float) -> None:
        """Wait for the next request."""
        if self._queue is not None:
            self._queue.pop(self, None)
            self._queue = queue
        else:
            try:
                self._sockets.watched.watch(self._socket.fileno(), self)
            except OSError:  # no more can be watched
                self._close()
                return
            self._queue = queue
            self._sockets.connections.opened(self)
            if self._queue is None:  # there are too many
                return
        queue[self] = now
        self._since = now

    def _take_over(self, received: bytes) -> LookupProtocol:
        """Let a transport and a protocol go on with it.

        Args:
            received: what is not answered.

        Returns:
            The protocol.
        """
        if self._queue is not None:
            self._sockets.watched.unwatch(self._socket.fileno())
            self._forget()
        protocol = self._sockets.new_protocol()
        PlainTransport(self._sockets.watched, self._socket, protocol).begin(received)
        return protocol

    def _close(self) -> None:
        if self._queue is not None:
            self._sockets.watched.closes(self._socket.fileno())
            self._forget()
        self._socket.close()

    def _forget(self) -> None:
        """Leave the registry."""
        if self._queue is not None:
            self._queue.pop(self, None)
            self._queue = None
        self._sockets.connections.closed(self)

    # What `Connections` does with a connection that waits

    def timed_out(self) -> None:
        """End it."""
        self._close_idle()

    def give_way(self) -> None:
        """End it, for there are too many."""
        self._close()

    def drain(self, since: float) -> None:
        """Close when idle since then (monotonic seconds), else with the next answer."""
        if self._since <= since:
            self._close_idle()

    def _close_idle(self) -> None:
        """Close, unless something has arrived, which is read in a moment."""
        if self._queue is not None and not has_arrived(self._socket):
            self._close()

    def abort(self) -> None:
        """Close at once."""
        self._close()

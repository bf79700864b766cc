"""The open connections of a listener: how many there may be, and how long each may wait.

Each connection waits for one thing at a time. So it stands in one queue of `Connections`, which has
one time-out; the queue's order is the order in which its time-outs end. Only a lookup under way
stands in none, for the lookup ends by a time-out of its own (`lookup.timeout`).
"""

import asyncio
from collections import OrderedDict
from contextlib import suppress
from itertools import islice, takewhile
from operator import itemgetter
from time import monotonic
from typing import Final, Protocol, TypeAlias

KEEPALIVE_AFTER_404: Final = 5.0
"""Seconds until an idle connection is closed whose last answer was a 404 or a refusal.

The gateway of the field does not read the body of such an answer, and so never uses the connection
again, nor closes it.
"""

LINGER: Final = 5.0
"""Seconds in which a client has to take what was written, before its connection is cut.

More than `api.protocol.LINGERING`, the seconds for which aiohttp reads on after an answer that came
before the end of the request's body.
"""

SWEEP: Final = 0.5
"""Seconds between two looks at the time-outs, and so how exact a time-out is."""

_DRAIN_GRACE = 1.0
"""Seconds in which a connection that was just used may send one more request while all are closed.

To close it at once would fail the requests that are on their way.
"""

_MOST_HANDSHAKES = 50
"""TLS handshakes at once while all are closed: each has `LINGER` seconds, also where many come."""


class Connection(Protocol):
    """A connection, as the registry sees it."""

    def timed_out(self) -> None:
        """Its queue's time-out has passed."""

    def give_way(self) -> None:
        """There are too many connections, and this one waits the longest: end it."""

    def drain(self, since: float) -> None:
        """Close it when it is idle since then (monotonic seconds), else with its next answer."""

    def abort(self) -> None:
        """Close it at once."""


Queue: TypeAlias = "OrderedDict[Connection, float]"
"""Connections that wait for the same thing, with the monotonic time since when; longest first."""


class Connections:
    """The registry of a listener's connections.

    It counts them, keeps their number within a limit, tells those that waited too long, and ends
    all at a drain. It neither reads nor writes: what the end of a time-out means for a connection,
    the connection decides.

    Attributes:
        max_connections: how many may be open; beyond it the longest waiting one is closed.
        draining: whether every connection is to end with its next answer.
        accepted: how many connections there have been, counted by who takes them.
        handshakes: the TLS handshakes under way; `Handshakes` keeps them.
        idle: queue of those that wait for a request, after an answer that may have been read.
        idle_after_404: queue of those that wait for a request, after one that nobody may read.
        reading: queue of those that wait for the rest of TLS' handshake or of a request.
        answering: queue of those that wait for aiohttp's answer. aiohttp has time-outs of its own;
            here it is looked after whether it has closed the connection.
        unread: queue of those whose client does not take aiohttp's answer.
        closing: queue of those that wait until what was written has left.
    """

    def __init__(
        self, *, keepalive_timeout: float, request_timeout: float, max_connections: int
    ) -> None:
        """Begin with no connection.

        Args:
            keepalive_timeout: seconds until an idle connection is closed.
            request_timeout: seconds within which a request's head must have arrived.
            max_connections: how many may be open.
        """
        self.max_connections = max_connections
        self.draining = False
        self.accepted = 0
        self.handshakes: set[object] = set()
        self.idle: Queue = OrderedDict()
        self.idle_after_404: Queue = OrderedDict()
        self.reading: Queue = OrderedDict()
        self.answering: Queue = OrderedDict()
        self.unread: Queue = OrderedDict()
        self.closing: Queue = OrderedDict()
        self._timeouts = (
            (self.idle_after_404, KEEPALIVE_AFTER_404),
            (self.reading, request_timeout),
            (self.idle, keepalive_timeout),
            (self.answering, LINGER),
            (self.unread, keepalive_timeout),
            (self.closing, LINGER),
        )
        self._open: set[Connection] = set()
        self._none_is_open = asyncio.Event()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def opened(self, connection: Connection) -> None:
        """Count a connection, and end the longest waiting one when there are too many."""
        self._open.add(connection)
        if len(self._open) > self.max_connections:
            waiting = (self.idle, self.idle_after_404, self.reading, self.unread)
            first = [next(iter(queue.items())) for queue in waiting if queue]
            longest, _ = min(first, key=itemgetter(1), default=(connection, 0.0))
            longest.give_way()

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        if self.draining and not self._open:
            self._none_is_open.set()

    def sweep(self) -> None:
        """Tell the connections whose time-out has passed by now."""
        now = monotonic()
        for queue, timeout in self._timeouts:
            for connection in _waiting_since(queue, now - timeout):
                connection.timed_out()

    def room(self) -> int:
        """How many connections may be accepted without ending one that has just come.

        In a drain, no connection ends for the sake of others: only those end that had their grace
        and sent nothing.
        """
        room = self.max_connections - len(self._open)
        if self.draining:
            room = min(room, _MOST_HANDSHAKES - len(self.handshakes))
        if room > 0:
            return room
        now = monotonic()
        waiting = (self.idle, self.idle_after_404, self.reading)
        if not self.draining:
            longest = [since for queue in waiting for since in islice(queue.values(), 1)]
            return int(min(longest, default=now) <= now - _DRAIN_GRACE)
        for queue in waiting:
            for connection in _waiting_since(queue, now - _DRAIN_GRACE):
                connection.drain(now)
        return 0

    async def drain(self, seconds: float) -> None:
        """Close the idle connections and let the others finish; after `seconds`, cut all."""
        self.draining = True
        try:
            async with asyncio.timeout(seconds):
                since = monotonic() - _DRAIN_GRACE
                while self._open:
                    for connection in list(self._open):
                        connection.drain(since)
                    since = monotonic()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_DRAIN_GRACE):
                            await self._all_closed()
        except TimeoutError:
            self.abort()

    async def _all_closed(self) -> None:
        while self._open:
            self._none_is_open.clear()
            await self._none_is_open.wait()

    def abort(self) -> None:
        """Close every connection at once."""
        for connection in list(self._open):
            connection.abort()


def _waiting_since(queue: Queue, latest: float) -> list[Connection]:
    """Who waits since `latest` or longer; a list, which stays the same when they leave."""
    return [each for each, _ in takewhile(lambda waiting: waiting[1] <= latest, queue.items())]

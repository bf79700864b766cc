"""The protocol on the public port: answers plain lookups itself, hands the rest to aiohttp.

A request in the narrow form of `request_heads` for one of the three routes is answered here. Any
other in that form is handed over framed: aiohttp is fed exactly its bytes, and the connection comes
back with its answer. What is not in the narrow form is left to aiohttp with all that follows, and
the connection closes after the answer, because nobody but aiohttp knows where that request ends.
"""

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from itertools import islice, takewhile
from operator import itemgetter
from time import monotonic
from typing import Final, Protocol, TypeAlias, cast

import structlog

from csms_redis.access.control import AccessControl, Refused
from csms_redis.lookup import targets
from csms_redis.lookup.answers import (
    BODILESS,
    NO_BODY,
    NOT_FOUND,
    OK,
    REQUEST_TIMEOUT,
    UNAVAILABLE,
    Heads,
    Style,
    problem_tail,
    status_tail,
    without_body,
)
from csms_redis.lookup.counts import LETTER
from csms_redis.lookup.front.bodiless import BY_DEFAULT, Bodiless
from csms_redis.lookup.front.request_heads import MAX_HEAD, RequestHead, read_head, without_added
from csms_redis.lookup.lookups import Lookups, Waiter
from csms_redis.registry.tokens import TOKEN
from csms_redis.settings import Role

KEEPALIVE_AFTER_404 = 5.0
"""Seconds. The gateway does not read a 404's body, which leaks the connection on its side.

Nor that of a refusal.
"""

LINGER = 5.0
"""Seconds that a client has to take what was written before its connection is cut.

More than the second for which aiohttp reads on after an answer that came before the body's end.
"""

_DRAIN_GRACE = 1.0
"""Seconds in which a connection that was just used may send one more request when all are closed.

To close it at once would fail the requests that are on their way.
"""

_MOST_HANDSHAKES = 50
"""TLS handshakes at once while all are closed: each has `LINGER` seconds, also where many come."""

_GATEWAY = Role.GATEWAY
_MAX_KNOWN_HEADERS = 1024
_MAX_BUFFER = 2**16  # bytes that may wait while a request is being answered
_SWEEP = 0.5  # seconds
_VERSION = b" HTTP/1."
_BODILESS_STYLES = [Style(style | BODILESS) for style in Style]
_OF_TOKEN = targets.wanted(TOKEN, "")[2][LETTER]  # no gateway looks one up
_TIMED_OUT = status_tail(
    HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time; send it again."
)
_log = structlog.get_logger()


class Fallback(Protocol):
    """aiohttp's protocol, as the front protocol drives it."""

    closes: bool
    """Whether its next answer is the connection's last."""

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""

    @property
    def begun(self) -> bytes:
        """What has arrived since its last answer, or the begin of that."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection has ended."""

    def pause_writing(self) -> None:
        """The client does not keep up."""

    def resume_writing(self) -> None:
        """The client has caught up."""


FallbackFactory: TypeAlias = Callable[[Callable[[bool], None]], Fallback]
"""Makes a fallback; it calls its argument after each answer: whether the connection stays open."""


# A connection's state; plain numbers, for an enumeration's members are slow to reach.
_READY: Final = 0  # for the next request
_ASKED: Final = 1  # a lookup is under way
_HANDED_OVER: Final = 2  # aiohttp answers one request
_LEFT: Final = 3  # aiohttp has the connection for good
_CLOSING: Final = 4


class Front:
    """What the connections of one listener share."""

    def __init__(  # noqa: PLR0913 one keyword for each limit
        self,
        lookups: Lookups,
        fallback: FallbackFactory,
        access_control: AccessControl,
        *,
        keepalive_timeout: float,
        request_timeout: float,
        max_connections: int,
        bodiless: Bodiless = BY_DEFAULT,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        """Serve from `lookups`, and through `fallback` what is no plain lookup.

        Args:
            lookups: the answers.
            fallback: makes the protocol that takes a handed over request.
            access_control: decides who may look up; the fallback has to ask it too.
            keepalive_timeout: seconds until an idle connection is closed.
            request_timeout: seconds within which a request's head must have arrived.
            max_connections: beyond it the longest idle one is closed.
            bodiless: who is refused without a body; the fallback has to do the same.
            tls: what the next connection that shakes hands is protected with.
        """
        self.lookups = lookups
        self.fallback = fallback
        self.heads = Heads()
        self.access_control = access_control
        self.bodiless = bodiless
        # A request's bytes from its minor version to its end, to the style of its answer; also
        # without what proxies added. With these headers anyone may look up, from wherever: what the
        # access control refuses never comes here.
        self.known_headers: dict[bytes, Style] = {}
        access_control.changed = self.known_headers.clear
        self.new_protocol: Callable[[Front], FrontProtocol] = FrontProtocol
        """Makes the protocol of a new connection."""
        self.draining = False
        self.max_connections = max_connections
        self.accepted = 0  # connections
        self._request_timeout = request_timeout
        # Connections by when they came to wait, the longest waiting first. Each open one is in one
        # of these, but for a lookup under way, whose answer has a time-out of its own.
        self.idle: Queue = OrderedDict()
        self.idle_after_404: Queue = OrderedDict()
        self.reading: Queue = OrderedDict()  # TLS' handshake, or a request
        self.answering: Queue = OrderedDict()  # aiohttp; looked after, for it may have closed
        self.unread: Queue = OrderedDict()  # the client does not take aiohttp's answer
        self.closing: Queue = OrderedDict()
        self._timeouts = (
            (self.idle_after_404, KEEPALIVE_AFTER_404),
            (self.reading, request_timeout),
            (self.idle, keepalive_timeout),
            (self.answering, LINGER),
            (self.unread, keepalive_timeout),
            (self.closing, LINGER),
        )
        self._tls = tls
        self._handshakes: set[asyncio.Task[None]] = set()
        self._closed = asyncio.Event()
        self._connections: set[FrontProtocol] = set()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    def protocol(self) -> "FrontProtocol":
        """Make the protocol of a new connection."""
        return self.new_protocol(self)

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP)
            self.sweep()

    def sweep(self) -> None:
        """Close what has waited too long by now, and write the date anew."""
        self.heads.refresh()
        now = monotonic()
        for queue, timeout in self._timeouts:
            for connection in _waiting_since(queue, now - timeout):
                connection.timed_out()

    def begin_drain(self) -> None:
        """Let every connection end with its next answer."""
        self.draining = True
        self.known_headers.clear()

    def room(self) -> int:
        """How many connections may come without closing one that has just come.

        While all are closed, none is closed for the sake of others: only what had its grace and
        sent nothing.
        """
        room = self.max_connections - len(self._connections)
        if self.draining:
            room = min(room, _MOST_HANDSHAKES - len(self._handshakes))
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
        """Close what is idle, let the rest finish, close that too after `seconds`."""
        self.begin_drain()
        try:
            async with asyncio.timeout(seconds):
                since = monotonic() - _DRAIN_GRACE
                while self._connections:
                    self._close_idle(since=since)
                    since = monotonic()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_DRAIN_GRACE):
                            await self._all_closed()
        except TimeoutError:
            self.abort()

    def _close_idle(self, *, since: float) -> None:
        for connection in list(self._connections):
            connection.drain(since)

    async def _all_closed(self) -> None:
        while self._connections:
            self._closed.clear()
            await self._closed.wait()

    def abort(self) -> None:
        """Close every connection at once."""
        for connection in list(self._connections):
            connection.abort()

    def opened(self, connection: "FrontProtocol") -> None:
        """Count a connection; close the longest waiting one when there are too many."""
        self.accepted += 1
        self._connections.add(connection)
        if len(self._connections) > self.max_connections:
            waiting = (self.idle, self.idle_after_404, self.reading, self.unread)
            first = [next(iter(queue.items())) for queue in waiting if queue]
            longest, _ = min(first, key=itemgetter(1), default=(connection, 0.0))
            longest.give_way()

    def closed(self, connection: "FrontProtocol") -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if self.draining and not self._connections:
            self._closed.set()

    def shake_hands(self, accepted: socket.socket) -> None:
        """Take a connection that is to begin with TLS; it counts from now on."""
        connection = self.protocol()
        shaking = asyncio.create_task(self._shake_hands(connection, accepted))
        self._handshakes.add(shaking)

        def shaken(_: object) -> None:  # no part of the task, which may end before it began
            self._handshakes.discard(shaking)
            if not connection.is_open:
                accepted.close()
                connection.connection_lost(None)

        shaking.add_done_callback(shaken)
        connection.shakes_hands(shaking)

    async def _shake_hands(self, connection: "FrontProtocol", accepted: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._tls(),
                ssl_handshake_timeout=self._request_timeout,
                ssl_shutdown_timeout=LINGER,
            )
        except OSError as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            _log.debug("TLS handshake failed", reason=reason)

    def recognise(self, headers: bytes) -> Style | None:
        """Know headers that differ from known ones by what proxies add."""
        style = self.known_headers.get(without_added(headers))
        if style is not None:
            self.remember(headers, style)
        return style

    def remember(self, headers: bytes, style: Style) -> None:
        """Know these headers again; they were read, and access control admitted them."""
        if self.draining:
            return
        if len(self.known_headers) >= _MAX_KNOWN_HEADERS:
            self.known_headers.clear()
        self.known_headers[headers] = style


class FrontProtocol(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_advancing",
        "_buffer",
        "_fallback",
        "_front",
        "_half_closed",
        "_handshake",
        "_hits",
        "_lookups",
        "_owed",
        "_paused",
        "_queue",
        "_reading_paused",
        "_replied",
        "_since",
        "_state",
        "_style",
        "_transport",
        "_waiter",
    )

    def __init__(self, front: Front) -> None:
        """Belong to `front`."""
        self._front = front
        self._lookups = front.lookups
        self._hits = front.lookups.counts.hit
        self._transport: asyncio.Transport | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._fallback: Fallback | None = None
        self._queue: Queue | None = None
        self._waiter: Waiter | None = None
        self._since = 0.0
        self._state = _READY
        self._style = Style.KEEP_11
        self._buffer = b""
        self._owed = 0  # bytes of the handed over request that are still to come
        self._replied = False  # the handed over request was answered
        self._advancing = False
        self._half_closed = False
        self._paused = False
        self._reading_paused = False

    # The transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        self._transport = cast("asyncio.Transport", transport)
        if self._handshake is None:
            self._front.opened(self)
        self._handshake = None
        if self._state == _READY:
            self._wait_in(self._front.idle, monotonic())
        else:  # it was closed meanwhile
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Answer at once what is known; keep the rest in order."""
        if self._state == _READY and not self._buffer and not self._paused:
            line, _, headers = data.partition(_VERSION)
            style = self._front.known_headers.get(headers)
            if style is None:
                style = self._front.recognise(headers)
            if style is not None and line.startswith(b"GET "):
                target = line[4:]
                if self._hit(target, style) or self._ask(target, style):
                    return
            self._buffer = data
            self._advance()
        elif self._state == _HANDED_OVER:
            self._feed(data)
        elif self._state == _LEFT:
            cast("Fallback", self._fallback).data_received(data)
            self._watch()
        elif self._state != _CLOSING:
            self._buffer += data
            if self._state == _READY and not self._paused:
                self._advance()
            else:
                self._limit_buffer()

    def eof_received(self) -> bool:
        """Answer what was asked before the client's end of the connection closed."""
        self._half_closed = True
        if self._transport is None or self._transport.get_extra_info("sslcontext") is not None:
            return False  # over TLS, asyncio and uvloop close whatever is said here
        if self._state == _HANDED_OVER:
            return self._owed == 0
        return self._state == _ASKED or (self._paused and bool(self._buffer))

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave nothing behind."""
        self._state = _CLOSING
        self._transport = None
        self._buffer = b""
        self._leave_queue()
        if self._waiter is not None:
            self._lookups.leave(self._waiter)
            self._waiter = None
        self._front.closed(self)
        if self._fallback is not None:
            self._fallback.connection_lost(exc)
            self._fallback = None

    def pause_writing(self) -> None:
        """Answer no more until the client has read what it got."""
        self._paused = True
        if self._fallback is not None:
            self._fallback.pause_writing()
            self._watch()

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        if self._fallback is not None:
            self._fallback.resume_writing()
            self._watch()
        if self._state == _READY:
            self._resume_reading()
            self._advance()

    # What the front does with a connection

    @property
    def is_open(self) -> bool:
        """Whether there is a transport."""
        return self._transport is not None

    def shakes_hands(self, handshake: "asyncio.Task[None]") -> None:
        """Wait for the end of TLS' handshake."""
        self._handshake = handshake
        self._front.opened(self)
        if self._state == _READY:
            self._wait_in(self._front.reading, monotonic())

    def timed_out(self) -> None:
        """End a connection that waited too long, saying so where a request had begun."""
        if self._paused or self._queue is self._front.closing:
            self.abort()
        elif self._queue is self._front.answering or self._is_answering:
            if cast("asyncio.Transport", self._transport).is_closing():
                self.close()
            else:
                self._leave_queue()
                self._watch()
        else:
            if self._state == _LEFT or self._buffer:
                begun = self._buffer or cast("Fallback", self._fallback).begun
                bodiless = self._front.bodiless.begun(begun)
                self._style = Style.CLOSE_11_BODILESS if bodiless else Style.CLOSE_11
                self._write(REQUEST_TIMEOUT, _TIMED_OUT)
            self.close()

    def give_way(self) -> None:
        """End a connection that waits, for there are too many."""
        if self._paused:  # what was written may never leave
            self.abort()
        else:
            self.close()

    def drain(self, since: float) -> None:
        """Close when idle since then; else with the next answer.

        TLS' handshake cannot be told from idleness. It takes longer where many come at once.
        """
        if self._handshake is not None and self._transport is None:
            if self._since <= monotonic() - LINGER:
                self.close()
        elif self._state == _READY and not self._buffer:
            if self._since <= since:
                self.close()
        elif self._state == _ASKED:
            self._style = Style(self._style | 1)
        elif self._fallback is not None:
            self._fallback.closes = True

    def close(self) -> None:
        """Close when what was written has left."""
        if self._transport is None:
            self.abort()
            return
        self._state = _CLOSING
        self._wait_in(self._front.closing, monotonic())
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._state = _CLOSING
        self._leave_queue()
        if self._transport is not None:
            self._transport.abort()
        elif self._handshake is not None:
            self._handshake.cancel()

    # A hit: nothing but look-ups and one write

    def _hit(self, target: bytes, style: Style) -> bool:
        now = monotonic()
        for source in self._lookups.sources:
            kept = source.fresh.get(target)
            if kept is not None:
                if now >= source.lease_until:
                    return False
                source.fresh.move_to_end(target)
                transport = cast("asyncio.Transport", self._transport)
                transport.write(self._front.heads.ok[style] + kept)
                self._hits[target[LETTER]] += 1
                queue = self._front.idle
                break
            remembered = source.unknown.until.get(target)
            if remembered is not None and now < remembered[0]:
                if now >= source.lease_until:
                    return False
                transport = cast("asyncio.Transport", self._transport)
                tail, letter = remembered[1], target[LETTER]
                if style & BODILESS and letter != _OF_TOKEN:
                    tail = NO_BODY
                transport.write(self._front.heads.of(NOT_FOUND, style) + tail)
                self._lookups.counts.unknown[letter] += 1
                queue = self._front.idle_after_404
                break
        else:
            return False
        if style & 1:  # it closes
            self.close()
        elif self._queue is not queue or now - self._since > _SWEEP:
            self._wait_in(queue, now)
        return True

    # Everything else

    def _advance(self) -> None:
        """Take requests from the buffer until one must be waited for."""
        self._advancing = True
        while self._state == _READY and self._buffer and not self._paused:
            head = read_head(self._buffer)
            if head == "unfinished":
                if self._half_closed:
                    self.close()
                elif self._queue is not self._front.reading:
                    self._wait_in(self._front.reading, monotonic())
                break
            if head == "odd":
                self._leave_to_fallback()
            elif head.is_plain_get and self._ask(head.target, head.style, head):
                pass
            else:
                self._hand_over(head)
        self._advancing = False

    def _ask(self, target: bytes, style: Style, head: RequestHead | None = None) -> bool:
        """Look up what a target names; whether it is a hot route's.

        Args:
            target: of the request.
            style: of the answer.
            head: of the request where that begins the buffer.
        """
        wanted = targets.read(target)
        if wanted is None:
            return False
        refused = None
        if head is not None:
            if self._front.bodiless.agent(head.user_agent):
                style = _BODILESS_STYLES[style]
            refused = self._refusal(head)
            if refused is None:
                start = len(target) + len(b"GET ") + len(_VERSION)
                self._front.remember(without_added(self._buffer[start : head.size]), style)
            self._buffer = self._buffer[head.size :]
        if style & BODILESS and wanted[0] is TOKEN:
            style = Style(style - BODILESS)
        self._style = Style(style | 1) if self._front.draining else style
        self._state = _ASKED
        self._leave_queue()
        if refused is None:
            self._waiter = self._lookups.ask(wanted, self._answered)
        else:
            self._refuse(refused)
        return True

    def _refusal(self, head: RequestHead) -> Refused | None:
        try:
            self._front.access_control.admit(
                _GATEWAY, head.authorization, self._transport, head.forwarding, head.user_agent
            )
        except Refused as refused:
            return refused
        return None

    def _refuse(self, refused: Refused) -> None:
        status, tail = int(refused.problem.status), problem_tail(refused.problem)
        if refused.delay > 0:
            loop = asyncio.get_running_loop()
            loop.call_later(refused.delay, self._answered, status, tail)
        else:
            self._answered(status, tail)

    def _answered(self, status: int, tail: bytes) -> None:
        if self._transport is None or self._state != _ASKED:
            return
        self._waiter = None
        front = self._front
        if status == OK:
            self._transport.write(front.heads.ok[self._style] + tail)
            self._next(front.idle)
        else:
            self._write(status, tail)
            self._next(front.idle if status == UNAVAILABLE else front.idle_after_404)

    def _write(self, status: int, tail: bytes) -> None:
        if self._transport is not None:
            if self._style & BODILESS:
                tail = without_body(tail)
            self._transport.write(self._front.heads.of(status, self._style) + tail)

    def _next(self, queue: "Queue") -> None:
        """Be ready for the next request, or close."""
        if self._style & 1:
            self.close()
            return
        if not self._buffer and (self._half_closed or self._front.draining):
            self.close()
            return
        self._state = _READY
        now = monotonic()
        if self._queue is not queue or now - self._since > _SWEEP:
            self._wait_in(queue, now)
        if self._reading_paused:
            self._resume_reading()
        if self._buffer and not self._advancing:
            self._advance()

    def _limit_buffer(self) -> None:
        if len(self._buffer) > _MAX_BUFFER and self._transport is not None:
            # again and again, for aiohttp resumes what it paused itself
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        transport = self._transport
        if self._reading_paused and len(self._buffer) <= _MAX_BUFFER and transport is not None:
            self._reading_paused = False
            transport.resume_reading()

    def _wait_in(self, queue: "Queue", now: float) -> None:
        self._leave_queue()
        queue[self] = now
        self._queue = queue
        self._since = now

    def _leave_queue(self) -> None:
        if self._queue is not None:
            self._queue.pop(self, None)
            self._queue = None

    # aiohttp's part

    def _hand_over(self, head: RequestHead) -> None:
        """Let aiohttp answer this one request, of which nothing after its end is shown to it."""
        self._owed = head.size + (head.body or 0)
        if self._half_closed and len(self._buffer) < self._owed:
            self.close()
            return
        self._state = _HANDED_OVER
        self._watch()
        self._style = Style.KEEP_11
        self._replied = False
        data, self._buffer = self._buffer, b""
        if self._front.draining:
            self._fallback_protocol().closes = True
        self._feed(data)

    def _leave_to_fallback(self) -> None:
        """Let aiohttp have the connection, and close it when it has answered all it was sent."""
        self._state = _LEFT
        data, self._buffer = self._buffer, b""
        self._resume_reading()
        fallback = self._fallback_protocol()
        fallback.closes = True
        fallback.data_received(data)
        if self._half_closed and not fallback.busy:
            self.close()
        else:
            self._watch()

    @property
    def _is_answering(self) -> bool:
        """Whether aiohttp has a request to answer."""
        if self._state == _LEFT:
            return cast("Fallback", self._fallback).busy
        return self._state == _HANDED_OVER

    def _watch(self) -> None:
        """Wait for what aiohttp's part of the connection needs next."""
        front = self._front
        if self._state not in {_HANDED_OVER, _LEFT} or self._queue is front.closing:
            return
        if self._paused:
            queue = front.unread
        else:
            queue = front.answering if self._is_answering else front.reading
        if self._queue is not queue:
            self._wait_in(queue, monotonic())

    def _fallback_protocol(self) -> Fallback:
        if self._fallback is None:
            self._fallback = self._front.fallback(self._fallback_answered)
            self._fallback.connection_made(cast("asyncio.Transport", self._transport))
        return self._fallback

    def _feed(self, data: bytes) -> None:
        owed = self._owed
        self._owed = max(0, owed - len(data))
        if len(data) > owed:
            self._buffer += data[owed:]
            self._limit_buffer()
            data = data[:owed]
        if data:
            self._fallback_protocol().data_received(data)
        if self._replied and self._owed == 0:
            self._take_back()

    def _fallback_answered(self, stays_open: bool) -> None:  # noqa: FBT001 a callback's only word
        if self._state not in {_HANDED_OVER, _LEFT}:
            return
        if not stays_open:  # aiohttp closes it
            self._wait_in(self._front.closing, monotonic())
        elif self._state == _LEFT:
            self._watch()
        elif self._owed:
            self._replied = True
        else:
            asyncio.get_running_loop().call_soon(self._take_back)

    def _take_back(self) -> None:
        if self._state == _HANDED_OVER and self._transport is not None:
            if self._transport.is_closing():
                self.close()
            else:
                self._next(self._front.idle)


def waits(connection: FrontProtocol) -> bool:
    """Whether a lookup of a connection is under way."""
    return connection._state == _ASKED  # noqa: SLF001 its own module's


Queue: TypeAlias = OrderedDict[FrontProtocol, float]


def _waiting_since(queue: Queue, latest: float) -> list[FrontProtocol]:
    """Who is waiting since then or longer; a list, which stays the same when they leave."""
    return [each for each, _ in takewhile(lambda waiting: waiting[1] <= latest, queue.items())]


assert MAX_HEAD < _MAX_BUFFER  # noqa: S101 else a request could wait for ever

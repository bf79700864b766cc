"""One connection on the public port: answers plain lookups itself, hands the rest to aiohttp.

With TLS it begins here; without, as a `PlainSocket`, which comes here with the first request that
memory cannot answer at once.

A request in the narrow form of `request_heads` for one of the three lookups is answered here. Any
other request in that form is handed over framed: aiohttp is given exactly its bytes, and the
connection comes back with the answer. A request in another form is left to aiohttp with all that
follows, and the connection closes after the answer, because only aiohttp knows where that request
ends.

The methods stand in the order in which a request meets them: the transport's callbacks, the answer
from memory, the lookup, the hand-over; last what `Connections` does with a connection. `State` and
its transitions stand at the top of `connection`. This file is longer than the others, so that the
way of a request is read in one place.
"""

import asyncio
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, cast

from csms_redis.access.control import Refused
from csms_redis.lookup import targets
from csms_redis.lookup.answers import (
    NOT_FOUND,
    OK,
    REQUEST_TIMEOUT,
    UNAVAILABLE,
    problem_tail,
    status_tail,
    without_body,
)
from csms_redis.lookup.front.arrived import has_arrived
from csms_redis.lookup.front.connection import (
    CLOSING,
    HANDED_OVER,
    LEFT,
    LOOKING_UP,
    MAX_BUFFER,
    READY,
    ClientConnection,
)
from csms_redis.lookup.front.connections import LINGER, SWEEP, Queue
from csms_redis.lookup.front.from_memory import GET, TARGET_AT, VERSION, Answer
from csms_redis.lookup.front.handover import Handover
from csms_redis.lookup.front.plain_transport import PlainTransport
from csms_redis.lookup.front.request_heads import MAX_HEAD, RequestHead, read_head, without_added
from csms_redis.lookup.front.response_heads import BODILESS, CLOSES, Style
from csms_redis.lookup.front.tls_transport import TlsTransport
from csms_redis.lookup.front.tracing import LookupSpan
from csms_redis.lookup.reading.flight import Waiter
from csms_redis.lookup.targets import Wanted
from csms_redis.registry.tokens import TOKEN
from csms_redis.settings import Role

if TYPE_CHECKING:
    from csms_redis.lookup.front.server import LookupServer

_GATEWAY = Role.GATEWAY
_TIMED_OUT = status_tail(
    HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time; send it again."
)


class LookupProtocol(ClientConnection):
    """The requests of one connection: reads them in order, answers lookups, hands over the rest.

    `LookupServer` has what the connections of a listener share. `Connections` says when the time of
    a connection is over.
    """

    __slots__ = (
        "_advancing",
        "_handover",
        "_known_headers",
        "_lookups",
        "_memory",
        "_refused",
        "_request",
        "_server",
        "_span",
        "_style",
        "_waiter",
    )

    def __init__(self, server: "LookupServer") -> None:
        """Serve one connection with what `server` has."""
        super().__init__(server.connections)
        self._server = server
        self._lookups = server.lookups
        self._memory = server.memory
        self._known_headers = server.known_headers.styles
        self._style = Style.KEEP_11  # of the answer to the request that is not answered yet
        self._refused = server.refused
        self._request = b""  # the head of the lookup under way
        self._waiter: Waiter | None = None  # of the lookup under way, if that waits for Redis
        self._span: LookupSpan | None = None  # of the lookup under way, if spans are made
        self._handover: Handover | None = None  # made with the first request that is handed over
        self._advancing = False  # requests are being taken from the buffer

    # The transport's callbacks

    def data_received(self, data: bytes) -> None:
        """Answer at once what is in memory; keep all else in order."""
        if self._state is READY and not self._buffer and not self._paused:
            line, _, headers = data.partition(VERSION)
            style = self._known_headers.get(headers)
            if style is None:
                style = self._server.known_headers.recognise(headers)
            if style is not None and line.startswith(GET):
                target, now = line[TARGET_AT:], monotonic()
                answer = self._memory.answer_to(target, style, data, now, self._transport)
                if answer is not None:
                    self._write_at_once(answer, now)
                    return
                wanted = targets.read(target)
                if wanted is not None:
                    # memory was looked through for a target that is canonical
                    looked = wanted[2] is target and wanted[1] is not None
                    self._look_up(wanted, style, data, now if looked else None)
                    return
            self._buffer = data
            self._advance()
        elif self._state is HANDED_OVER:
            self._feed(data)
        elif self._state is LEFT:
            self._handed_over.aiohttp.data_received(data)
            self._wait_for_aiohttp()
        elif self._state is not CLOSING:
            self._buffer += data
            if self._state is READY and not self._paused:
                self._advance()
            else:
                self._limit_buffer()

    def eof_received(self) -> bool:
        """The client sends nothing more: answer what it asked before.

        Returns:
            Whether the connection stays open until then.
        """
        self._half_closed = True
        if self._transport is None or self._transport.get_extra_info("sslcontext") is not None:
            return False  # over TLS, who says no more is answered no more (RFC 5246, 7.2.1)
        if self._state is HANDED_OVER:
            return self._handed_over.to_come == 0
        return self._state is LOOKING_UP or (self._paused and bool(self._buffer))

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave nothing behind."""
        super().connection_lost(exc)
        if self._waiter is not None:
            self._lookups.leave(self._waiter)
            self._waiter = None
        if self._span is not None:
            self._span.abandoned()
            self._span = None
        if self._handover is not None:
            self._handover.aiohttp.connection_lost(exc)
            self._handover = None

    def pause_writing(self) -> None:
        """The client does not take what was written: answer nothing more until it does."""
        self._paused = True
        if self._handover is not None:
            self._handover.aiohttp.pause_writing()
            self._wait_for_aiohttp()

    def resume_writing(self) -> None:
        """The client has taken what was written: go on."""
        self._paused = False
        if self._handover is not None:
            self._handover.aiohttp.resume_writing()
            self._wait_for_aiohttp()
        if self._state is READY:
            self._resume_reading()
            self._advance()

    def _write_at_once(self, answer: Answer, now: float) -> None:
        """Write what memory has."""
        data, queue = answer
        cast("asyncio.Transport", self._transport).write(data)
        if queue is None:
            self.close()
        elif self._queue is not queue or now - self._waiting_since > SWEEP:
            self._wait_in(queue, now)

    def finish_answer(self, unsent: bytes, queue: "Queue | None") -> None:
        """Go on after an answer that was begun when there was no protocol yet.

        Args:
            unsent: what is left of it.
            queue: where to wait for the next request; None where the connection closes.
        """
        if self._state is READY:  # else it had to give way
            self._write_at_once((unsent, queue), monotonic())

    # Every other request

    def _advance(self) -> None:
        """Take requests from the buffer until one has to wait."""
        self._advancing = True
        while self._state is READY and self._buffer and not self._paused:
            head = read_head(self._buffer)
            if head == "unfinished":
                if self._half_closed:
                    self.close()
                elif self._queue is not self._connections.reading:
                    self._wait_in(self._connections.reading, monotonic())
                break
            if head != "odd" and head.is_plain_get and self._look_up_first(head):
                continue
            transport = self._transport
            if isinstance(transport, PlainTransport | TlsTransport) and transport.move():
                break
            if self._transport is None or self._transport.is_closing():
                break  # its end was not told yet, and would be told before aiohttp has begun
            if head == "odd":
                self._leave_to_aiohttp()
            else:
                self._hand_over(head)
        self._advancing = False

    # A lookup

    def _look_up_first(self, head: RequestHead) -> bool:
        """Look up for the request that the buffer begins with, if access control admits it.

        Returns:
            Whether its target is a lookup's.
        """
        wanted = targets.read(head.target)
        if wanted is None:
            return False
        request, self._buffer = self._buffer[: head.size], self._buffer[head.size :]
        style = head.style
        if self._server.bodiless.applies_to(head.user_agent):
            style = Style(style | BODILESS)
        refused = self._refusal(head)
        if refused is None:
            headers = request[TARGET_AT + len(head.target) + len(VERSION) :]
            self._server.known_headers.remember(without_added(headers), style)
        self._look_up(wanted, style, request, refused=refused)
        return True

    def _look_up(
        self,
        wanted: Wanted,
        style: Style,
        request: bytes,
        looked: float | None = None,
        refused: Refused | None = None,
    ) -> None:
        """Ask for the answer to a request, or refuse it; nothing else is answered until then.

        Args:
            wanted: the record.
            style: of the answer.
            request: its head.
            looked: when memory was looked through and has it not (monotonic seconds); None where
                nobody has looked.
            refused: why access control does not admit it.
        """
        if style & BODILESS and wanted[0] is TOKEN:
            style = Style(style & ~BODILESS)
        self._style = Style(style | CLOSES) if self._connections.draining else style
        self._state = LOOKING_UP
        self._request = request
        self._leave_queue()
        if refused is not None:
            self._refuse(refused)
        elif looked is not None:
            self._waiter = self._lookups.read(wanted, self._answered, looked)
        else:
            self._waiter = self._lookups.ask(wanted, self._answered)
        if self._server.spans is not None:
            self._begin_span(wanted, request)

    def _begin_span(self, wanted: Wanted, request: bytes) -> None:
        """Begin a span of a lookup that has to wait; the hook for tracing."""
        spans = self._server.spans
        if spans is not None and self._state is LOOKING_UP:
            self._span = spans.begin(wanted[0], request)

    def _refusal(self, head: RequestHead) -> Refused | None:
        """Why access control does not admit a request; None where it does."""
        try:
            self._server.access_control.admit(
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
        if self._transport is None or self._state is not LOOKING_UP:
            return
        self._waiter = None
        if self._span is not None:
            self._span.answered(status)
            self._span = None
        request, self._request = self._request, b""
        connections = self._connections
        if status == OK:
            self._transport.write(self._server.heads.ok[self._style] + tail)
            self._next(connections.idle)
        else:
            if status == NOT_FOUND and next(self._refused.turns, True):
                self._refused.passed(request, self._transport)
            self._write(status, tail)
            self._next(connections.idle if status == UNAVAILABLE else connections.idle_after_404)

    def _write(self, status: int, tail: bytes) -> None:
        if self._transport is not None:
            if self._style & BODILESS:
                tail = without_body(tail)
            self._transport.write(self._server.heads.of(status, self._style) + tail)

    def _next(self, queue: Queue) -> None:
        """After an answer: wait in `queue` for the next request, or close."""
        if self._style & CLOSES:
            self.close()
            return
        if not self._buffer and (self._half_closed or self._connections.draining):
            self.close()
            return
        self._state = READY
        now = monotonic()
        if self._queue is not queue or now - self._waiting_since > SWEEP:
            self._wait_in(queue, now)
        if self._reading_paused:
            self._resume_reading()
        if self._buffer and not self._advancing:
            self._advance()

    # What aiohttp answers

    def _hand_over(self, head: RequestHead) -> None:
        """Let aiohttp answer this one request."""
        size = head.size + (head.body or 0)
        if self._half_closed and len(self._buffer) < size:
            self.close()
            return
        self._state = HANDED_OVER
        handover = self._handed_over
        handover.begin(size)
        if self._connections.draining:
            handover.aiohttp.closes = True
        self._wait_for_aiohttp()
        self._style = Style.KEEP_11
        data, self._buffer = self._buffer, b""
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        """Give aiohttp what belongs to the request that was handed over, and keep the rest."""
        handover = self._handed_over
        rest = handover.feed(data)
        if rest:
            self._buffer += rest
            self._limit_buffer()
        if handover.is_over:
            self._take_back()

    def _leave_to_aiohttp(self) -> None:
        """Let aiohttp have the connection, and close it when it has answered all it was sent."""
        self._state = LEFT
        data, self._buffer = self._buffer, b""
        self._resume_reading()
        aiohttp = self._handed_over.aiohttp
        aiohttp.closes = True
        aiohttp.data_received(data)
        if self._half_closed and not aiohttp.busy:
            self.close()
        else:
            self._wait_for_aiohttp()

    def _aiohttp_answered(self, stays_open: bool) -> None:  # noqa: FBT001 a callback's only word
        if self._state is not HANDED_OVER and self._state is not LEFT:
            return
        if not stays_open:  # aiohttp closes it
            self._wait_in(self._connections.closing, monotonic())
        elif self._state is LEFT:
            self._wait_for_aiohttp()
        elif self._handed_over.to_come:
            self._handed_over.answered_early = True
        else:
            asyncio.get_running_loop().call_soon(self._take_back)

    def _take_back(self) -> None:
        """Go on after aiohttp's answer to a request that was handed over."""
        if self._state is HANDED_OVER and self._transport is not None:
            if self._transport.is_closing():
                self.close()
            else:
                self._next(self._connections.idle)

    @property
    def _handed_over(self) -> Handover:
        """The hand-over, made when it is needed."""
        if self._handover is None:
            aiohttp = self._server.new_aiohttp_protocol(self._aiohttp_answered)
            self._handover = Handover(aiohttp, cast("asyncio.Transport", self._transport))
        return self._handover

    @property
    def _is_aiohttp_busy(self) -> bool:
        """Whether aiohttp has a request to answer."""
        if self._state is LEFT:
            return self._handed_over.aiohttp.busy
        return self._state is HANDED_OVER

    def _wait_for_aiohttp(self) -> None:
        """Wait for what aiohttp's part of the connection needs next."""
        connections = self._connections
        if self._state is not HANDED_OVER and self._state is not LEFT:
            return
        if self._queue is connections.closing:
            return
        if self._paused:
            queue = connections.unread
        else:
            queue = connections.answering if self._is_aiohttp_busy else connections.reading
        if self._queue is not queue:
            self._wait_in(queue, monotonic())

    # What `Connections` does with a connection

    def timed_out(self) -> None:
        """End a connection that has waited too long; with a 408 where a request had begun."""
        connections = self._connections
        if self._paused or self._queue is connections.closing:
            self.abort()
        elif self._queue is connections.answering or self._is_aiohttp_busy:
            if cast("asyncio.Transport", self._transport).is_closing():
                self.close()
            else:
                self._leave_queue()
                self._wait_for_aiohttp()
        elif self._is_idle:
            self._close_idle()
        else:
            if self._state is LEFT or self._buffer:
                begun = self._buffer or self._handed_over.aiohttp.begun
                bodiless = self._server.bodiless.applies_to_begun(begun)
                self._style = Style.CLOSE_11_BODILESS if bodiless else Style.CLOSE_11
                self._write(REQUEST_TIMEOUT, _TIMED_OUT)
            self.close()

    @property
    def _is_idle(self) -> bool:
        """Whether it waits for a request of which nothing was read yet."""
        return self._state is READY and not self._buffer

    def _close_idle(self) -> None:
        """Close, unless something has arrived, which is read in a moment."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            ours = transport.get_extra_info("socket")
            if ours is not None and has_arrived(ours):
                return
        self.close()

    def drain(self, since: float) -> None:
        """Close when idle since then (monotonic seconds), else with the next answer.

        One in TLS' handshake has `LINGER` seconds: a handshake takes longer where many come at
        once, and cannot be told from idleness.
        """
        if self._handshake is not None and self._transport is None:
            if self._waiting_since <= monotonic() - LINGER:
                self.close()
        elif self._is_idle:
            if self._waiting_since <= since:
                self._close_idle()
        elif self._state is LOOKING_UP:
            self._style = Style(self._style | CLOSES)
        elif self._handover is not None:
            self._handover.aiohttp.closes = True


assert MAX_HEAD < MAX_BUFFER  # noqa: S101 else a request could wait for ever

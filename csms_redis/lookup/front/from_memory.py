"""The answers that memory has: nothing but dictionary look-ups."""

import asyncio
from typing import TypeAlias

from csms_redis.lookup import targets
from csms_redis.lookup.answers import NO_BODY, NOT_FOUND
from csms_redis.lookup.counts import ROUTE_AT
from csms_redis.lookup.front.connections import Connections, Queue
from csms_redis.lookup.front.known_headers import KnownHeaders
from csms_redis.lookup.front.response_heads import BODILESS, CLOSES, ResponseHeads, Style
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.refused import RefusedStations
from csms_redis.registry.tokens import TOKEN

GET = b"GET "
TARGET_AT = len(GET)
VERSION = b" HTTP/1."
_OF_TOKEN = targets.wanted(TOKEN, "")[2][ROUTE_AT]  # no gateway looks one up

Answer: TypeAlias = "tuple[bytes, Queue | None]"
"""What is written, and where the connection waits after it; None where it closes."""


class FromMemory:
    """Answers a request at once, where its headers are known and its record is in memory."""

    def __init__(
        self,
        lookups: Lookups,
        known_headers: KnownHeaders,
        heads: ResponseHeads,
        refused: RefusedStations,
        connections: Connections,
    ) -> None:
        """Answer from what `lookups` know.

        Args:
            lookups: know the records.
            known_headers: how to answer to headers that were read before.
            heads: the response heads of this second.
            refused: is told of the stations that are turned away.
            connections: has the queues in which a connection waits after its answer.
        """
        self._sources = lookups.sources
        self._counts = lookups.counts
        self._known_headers = known_headers
        self._styles = known_headers.styles
        self._heads = heads
        self._refused = refused
        self._idle = connections.idle
        self._idle_after_404 = connections.idle_after_404

    def answer(
        self, request: bytes, now: float, transport: asyncio.BaseTransport | None
    ) -> "Answer | None":
        """The answer to a request, if memory has it.

        Args:
            request: what has arrived.
            now: monotonic seconds.
            transport: the connection over which it came.
        """
        line, _, headers = request.partition(VERSION)
        style = self._styles.get(headers)
        if style is None:
            style = self._known_headers.recognise(headers)
        if style is None or not line.startswith(GET):
            return None
        return self.answer_to(line[TARGET_AT:], style, request, now, transport)

    def answer_to(
        self,
        target: bytes,
        style: Style,
        request: bytes,
        now: float,
        transport: asyncio.BaseTransport | None,
    ) -> "Answer | None":
        """The answer to a request that was taken apart, if memory has it.

        Args:
            target: of the request.
            style: of the answer.
            request: what has arrived.
            now: monotonic seconds.
            transport: the connection over which it came.
        """
        for source in self._sources.all:
            kept = source.fresh.get(target)
            if kept is not None:
                if now >= source.lease_until:
                    continue
                source.fresh.move_to_end(target)
                self._counts.hit[target[ROUTE_AT]] += 1
                return self._heads.ok[style] + kept, None if style & CLOSES else self._idle
            remembered = source.unknown.until.get(target)
            if remembered is not None and now < remembered[0]:
                if now >= source.lease_until:
                    continue
                tail, letter = remembered[1], target[ROUTE_AT]
                if style & BODILESS and letter != _OF_TOKEN:
                    tail = NO_BODY
                self._counts.unknown[letter] += 1
                if next(self._refused.turns, True):
                    self._refused.passed(request, transport)
                head = self._heads.of(NOT_FOUND, style)
                return head + tail, None if style & CLOSES else self._idle_after_404
        return None

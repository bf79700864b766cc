"""The three lookups: near cache, then one read of Redis for all who wait for the same record.

The front protocol and the aiohttp handlers both ask here, so both give the same answer.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from itertools import takewhile
from time import monotonic
from typing import Any, TypeAlias

from csms_redis.contract.errors import NotFound, Unavailable
from csms_redis.lookup import targets
from csms_redis.lookup.answers import (
    NOT_FOUND,
    OK,
    UNAVAILABLE,
    body_of,
    status_tail,
    tail,
)
from csms_redis.lookup.near_cache import NearCache, UnknownCache
from csms_redis.lookup.read_connection import ConnectionBroken, ReadConnection, ReadError, Waiting
from csms_redis.lookup.targets import Wanted
from csms_redis.registry.resource import Resource
from csms_redis.settings import LookupSettings

Answered: TypeAlias = Callable[[int, bytes], None]
"""Takes an answer: its status and its tail."""

LEASE = 3.0
"""Seconds that a probe holds from when it was sent: one is sent each second, and has two."""

_AWAY = "Redis cannot be read. Try again."
_UNAVAILABLE = status_tail(
    HTTPStatus.SERVICE_UNAVAILABLE, _AWAY, f"Retry-After: {Unavailable.retry_after}\r\n"
)
NOT_FOUND_TAILS = {
    route.resource: status_tail(HTTPStatus.NOT_FOUND, route.resource.not_found)
    for route in targets.ROUTES
}
_SWEEP = 0.02  # seconds between looks at the deadlines
_AFTER_READING = 0.001  # seconds; any time but none lets the event loop read first
_GRACE = 1.0  # seconds after a loss in which lookups wait for the next connection

# Replies that say of the server, not of the key, that it is not the one to ask.
_NOT_THE_MASTER = frozenset(["CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOAUTH", "READONLY"])


class _Flight:
    """A read of Redis under way, and those who wait for it."""

    __slots__ = ("_lookups", "attached", "command", "deadline", "resource", "target", "waiters")

    def __init__(
        self,
        lookups: "Lookups",
        resource: Resource,
        target: bytes,
        command: bytes,
        deadline: float,
    ) -> None:
        self._lookups = lookups
        self.resource = resource
        self.target = target
        self.command = command
        self.deadline = deadline
        self.waiters: list[Answered] = []
        self.attached = True  # whether others may join it, and its answer be kept

    def replied(self, reply: Any) -> None:
        self._lookups.landed(self, reply)


class _Read:
    """The HMGET of one kind of record, encoded but for the key."""

    __slots__ = ("_format", "_length")

    def __init__(self, resource: Resource, prefix: bytes) -> None:
        before = resource.key(prefix, "")
        fields = b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in resource.asked)
        self._length = len(before)
        self._format = b"*%d\r\n$5\r\nHMGET\r\n$%%d\r\n%b%%b\r\n%b" % (
            len(resource.asked) + 2,
            before.replace(b"%", b"%%"),
            fields,
        )

    def command(self, record_id: bytes) -> bytes:
        return self._format % (self._length + len(record_id), record_id)


class Lookups:
    """Answers to lookups, and what keeps them true."""

    def __init__(self, settings: LookupSettings, prefix: bytes) -> None:
        """Start with nothing known and no connection.

        Args:
            settings: the sizes and times.
            prefix: of every key.
        """
        self.cache = NearCache(
            max_entries=settings.cache_entries,
            max_bytes=settings.cache_bytes,
            stale_if_error=settings.stale_if_error,
        )
        self.unknown = UnknownCache(
            max_entries=settings.unknown_entries if settings.cache_entries else 0,
            ttl=settings.unknown_ttl,
        )
        self.stale_answers = 0  # lookups answered with what may have changed since
        self.refused = 0  # lookups answered 503
        self.lease_until = 0.0  # what is fresh may be served until then (monotonic seconds)
        self._good = 0.0  # when the probe left that last proved the lease
        self._lost = monotonic()
        self._timeout = settings.timeout
        self._stale_if_error = settings.stale_if_error
        self._max_in_flight = settings.max_in_flight
        self._prefix = prefix
        self._connection: ReadConnection | None = None
        self._tracked = False
        self._flights: dict[bytes, _Flight] = {}
        self._backlog: deque[_Flight] = deque()  # waiting for a connection
        self._landed: list[tuple[list[Answered], int, bytes]] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._reads = {route.resource: _Read(route.resource, prefix) for route in targets.ROUTES}

    # Asked by the front protocol and the handlers

    def ask(self, wanted: Wanted, answered: Answered) -> None:
        """Look a record up; `answered` is called once, now or within `lookup.timeout`."""
        resource, record_id, target = wanted
        if record_id is None:
            answered(NOT_FOUND, NOT_FOUND_TAILS[resource])
            return
        now = monotonic()
        if now < self.lease_until:
            kept = self.cache.fresh.get(target)
            if kept is not None:
                self.cache.fresh.move_to_end(target)
                answered(OK, kept)
                return
            remembered = self.unknown.until.get(target)
            if remembered is not None and now < remembered[0]:
                answered(NOT_FOUND, remembered[1])
                return
        elif self._connection is None:
            stale = self.cache.stale(target)
            if stale is not None:
                self.stale_answers += 1
                answered(OK, stale)
                return
        flight = self._flights.get(target)
        if flight is None:
            self._depart(wanted, answered, now)
        else:
            flight.waiters.append(answered)

    async def find(self, resource: Resource, record_id: str | None) -> bytes:
        """The JSON that answers a lookup.

        Args:
            resource: which kind of record.
            record_id: as `Resource.read_id` gives it; None is never found.

        Raises:
            NotFound: there is no such record, or none to be shown.
            Unavailable: Redis cannot be read.
        """
        if record_id is None:
            raise NotFound(resource.not_found)
        answer: asyncio.Future[tuple[int, bytes]]
        answer = asyncio.get_running_loop().create_future()

        def answered(status: int, answer_tail: bytes) -> None:
            if not answer.done():
                answer.set_result((status, answer_tail))

        self.ask(targets.wanted(resource, record_id), answered)
        status, answer_tail = await answer
        if status == NOT_FOUND:
            raise NotFound(resource.not_found)
        if status != OK:
            raise Unavailable(_AWAY)
        return body_of(answer_tail)

    @contextmanager
    def changing(self, resource: Resource, record_id: str) -> Iterator[None]:
        """Around a write: whatever comes of it, this process forgets what it knew of the record.

        So who wrote through this replica reads the new record from it, before the invalidation
        arrives as well.
        """
        try:
            yield
        finally:
            self._forget(targets.wanted(resource, record_id)[2])

    # Told by the connection's owner

    @property
    def caches(self) -> bool:
        """Whether anything is to be kept, so that the connection must be tracked."""
        return self.cache.max_entries > 0

    def connected(self, connection: ReadConnection, *, tracked: bool) -> None:
        """Read through this connection from now on.

        Args:
            connection: whose handshake and first probe succeeded.
            tracked: it gets an invalidation for each change, so its answers may be kept.
        """
        self._connection = connection
        self._tracked = tracked
        backlog, self._backlog = self._backlog, deque()
        for flight in backlog:
            if flight.waiters:
                connection.send(flight.command, flight)

    def renew(self, sent: float) -> None:
        """A probe that was sent at `sent` (monotonic seconds) succeeded."""
        self._good = sent
        if self._tracked:
            self.lease_until = sent + LEASE

    def lost(self, connection: ReadConnection) -> None:
        """A connection is gone: if it is the one that is read through, what it filled is stale."""
        if connection is not self._connection:
            return
        self._connection = None
        self._lost = monotonic()
        self.lease_until = 0.0
        self.cache.age(self._good)
        self.unknown.clear()
        # soon: the flights of this connection fail first
        asyncio.get_running_loop().call_soon(self._answer_stale)

    def invalidated(self, keys: list[bytes] | None) -> None:
        """Redis says that keys changed; None when all may have."""
        if keys is None:
            self.cache.clear()
            self.unknown.clear()
            for flying in list(self._flights):
                self._detach(flying)
            return
        for key in keys:
            target = targets.of_key(key, self._prefix)
            if target is not None:
                self._forget(target)

    # Flights

    def landed(self, flight: _Flight, reply: Any) -> None:
        """Keep the answer of a flight if it may be kept, and have it delivered."""
        if type(reply) is not list:
            self._failed(flight, reply)
            return
        keep = flight.attached and self.lease_until > 0
        if flight.attached:
            self._detach(flight.target)
        body = flight.resource.answer(reply)
        if body is None:
            status = NOT_FOUND
            answer_tail = NOT_FOUND_TAILS[flight.resource]
            self.cache.drop(flight.target)
            if keep:
                self.unknown.put(flight.target, answer_tail)
        else:
            status = OK
            answer_tail = tail(body)
            if keep:
                self.cache.put(flight.target, answer_tail)
        self._landed.append((flight.waiters, status, answer_tail))
        flight.waiters = []

    def deliver(self) -> None:
        """Answer those whose flights have landed.

        After all replies that came together, not after each: the client that is written to often
        shares a core with others and sleeps, and to wake it once costs less than many times.
        """
        landed, self._landed = self._landed, []
        for waiters, status, answer_tail in landed:
            for answered in waiters:
                answered(status, answer_tail)

    def _depart(self, wanted: Wanted, answered: Answered, now: float) -> None:
        resource, record_id, target = wanted
        connection = self._connection
        in_grace = connection is not None or now - self._lost <= _GRACE
        under_way = self._backlog if connection is None else connection.pending
        if not in_grace or len(under_way) >= self._max_in_flight:
            self._fall_back(target, answered)
            return
        command = self._reads[resource].command(record_id or b"")
        flight = _Flight(self, resource, target, command, now + self._timeout)
        flight.waiters.append(answered)
        self._flights[target] = flight
        if connection is None:
            self._backlog.append(flight)
        else:
            connection.send(command, flight)
        if self._sweeper is None:
            self._sweep_later()

    def _failed(self, flight: _Flight, reply: Any) -> None:
        if isinstance(reply, ConnectionBroken):
            if flight.waiters and len(self._backlog) < self._max_in_flight:
                self._backlog.append(flight)
                return
        elif not isinstance(reply, ReadError) or reply.code in _NOT_THE_MASTER:
            assert self._connection is not None  # noqa: S101 it gave the reply
            self._connection.abort()
        elif reply.code == "WRONGTYPE":
            self.cache.drop(flight.target)  # Redis can be read, and there the record is no more
        self._give_up(flight)

    def _give_up(self, flight: _Flight) -> None:
        if flight.attached:
            self._detach(flight.target)
        self._wait_no_more(flight)

    def _wait_no_more(self, flight: _Flight) -> None:
        """Answer those who wait for a flight without it; its reply may still be kept."""
        waiters, flight.waiters = flight.waiters, []
        for answered in waiters:
            self._fall_back(flight.target, answered)

    def _answer_stale(self) -> None:
        for flight in list(self._backlog):
            if flight.waiters and self.cache.stale(flight.target) is not None:
                self._give_up(flight)

    def _fall_back(self, target: bytes, answered: Answered) -> None:
        kept = self.cache.stale(target)
        if kept is None and monotonic() - self._good <= self._stale_if_error:
            kept = self.cache.fresh.get(target)
        if kept is None:
            self.refused += 1
            answered(UNAVAILABLE, _UNAVAILABLE)
        else:
            self.stale_answers += 1
            answered(OK, kept)

    def _forget(self, target: bytes) -> None:
        self.cache.drop(target)
        self.unknown.drop(target)
        self._detach(target)

    def _detach(self, target: bytes) -> None:
        flight = self._flights.pop(target, None)
        if flight is not None:
            flight.attached = False

    def _sweep_later(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP, self._sweep_soon)

    def _sweep_soon(self) -> None:
        # uvloop runs timers before it reads: after a stall the replies are there, but not read
        self._sweeper = asyncio.get_running_loop().call_later(_AFTER_READING, self._sweep)

    def _sweep(self) -> None:
        """Answer those whose time is over; the oldest flights are first, for replies keep order.

        A flight that is late stays attached: who asks again joins it, and its reply is kept, so
        that a Redis slower than `lookup.timeout` still fills the cache.
        """
        now = monotonic()
        backlog = self._backlog
        while backlog and backlog[0].deadline <= now:
            self._give_up(backlog.popleft())
        pending: Collection[Waiting] = self._connection.pending if self._connection else ()
        for waiting in list(takewhile(lambda sent: sent.deadline <= now, pending)):
            if isinstance(waiting, _Flight) and waiting.waiters:
                self._wait_no_more(waiting)
        self._sweeper = None
        if pending or self._backlog:
            self._sweep_later()

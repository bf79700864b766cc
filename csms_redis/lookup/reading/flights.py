"""Begins reads of Redis, and ends them: keeps the answers, and gives them to those who wait."""

from collections.abc import Iterable
from http import HTTPStatus
from math import inf
from time import monotonic
from typing import Any, Final

from csms_redis.contract.errors import Unavailable
from csms_redis.lookup import targets
from csms_redis.lookup.answers import NOT_FOUND, OK, UNAVAILABLE, status_tail, tail
from csms_redis.lookup.counts import ROUTE_AT, LookupCounts
from csms_redis.lookup.known.end_timer import EndTimer
from csms_redis.lookup.known.near_cache import NearCache
from csms_redis.lookup.reading.dispatch import Dispatch
from csms_redis.lookup.reading.flight import Answered, Attached, Flight, Joiners
from csms_redis.lookup.reading.read_connection import ReadError
from csms_redis.lookup.reading.record_read import NoRecord, RecordRead, body_in
from csms_redis.lookup.reading.sources import Source, Sources
from csms_redis.redis.outcomes import NOT_THE_MASTER
from csms_redis.redis.topology import Topology
from csms_redis.registry.resource import Resource

AWAY: Final = "Redis cannot be read. Try again."
"""The error of a lookup that Redis does not answer."""

NOT_FOUND_TAILS: Final = {
    route.resource: status_tail(HTTPStatus.NOT_FOUND, route.resource.not_found)
    for route in targets.ROUTES
}
"""The tail of the answer for an id without a record, for each kind of record."""

_UNAVAILABLE = status_tail(
    HTTPStatus.SERVICE_UNAVAILABLE, AWAY, f"Retry-After: {Unavailable.retry_after}\r\n"
)


class Flights:
    """Begins flights and ends them: keeps the answers that may be kept, and answers who waits.

    It does not decide where a flight is sent (`Dispatch` does), when somebody has waited long
    enough (`Deadlines`), nor what is forgotten (`SourceEvents`).
    """

    __slots__ = (
        "_attached",
        "_cache",
        "_counts",
        "_dispatch",
        "_end_timer",
        "_landed",
        "_max_in_flight",
        "_prefix",
        "_reads",
        "_sources",
        "_topology",
    )

    def __init__(  # noqa: PLR0913 each is a part that a flight meets
        self,
        *,
        sources: Sources,
        dispatch: Dispatch,
        attached: Attached,
        cache: NearCache,
        end_timer: EndTimer,
        counts: LookupCounts,
        topology: Topology,
        prefix: bytes,
        max_in_flight: int,
    ) -> None:
        """Begin with none.

        Args:
            sources: the connections to the masters.
            dispatch: sends flights, or keeps them until they can be sent.
            attached: the flights that others may join.
            cache: keeps the answers.
            end_timer: drops answers that end by themselves.
            counts: counts how lookups end.
            topology: says which master has a key.
            prefix: what every key begins with.
            max_in_flight: how many flights may be under way to one master, and how many may wait.
        """
        self._sources = sources
        self._dispatch = dispatch
        self._attached = attached
        self._cache = cache
        self._counts = counts
        self._topology = topology
        self._prefix = prefix
        self._max_in_flight = max_in_flight
        self._end_timer = end_timer
        self._reads = {route.resource: RecordRead(route.resource) for route in targets.ROUTES}
        # each with who waited, the status, the tail, and when it was asked
        self._landed: list[tuple[Answered | None, Joiners, int, bytes, float]] = []

    # The begin

    def depart(
        self, resource: Resource, target: bytes, key: bytes, source: Source | None, now: float
    ) -> Flight | None:
        """Begin a flight.

        Returns:
            The flight; None if too many are under way.

        Args:
            resource: the kind of the record.
            target: the record's canonical target.
            key: the record's key.
            source: the connection to the key's master; None if there is none, so that the flight
                has to wait for one.
            now: monotonic seconds.
        """
        if source is None:
            if len(self._dispatch.backlog) >= self._max_in_flight:
                return None
        elif (
            under_way := len(source.connection.pending) - source.unasked
        ) >= self._max_in_flight and under_way >= self._max_in_flight * source.commands:
            return None
        flight = Flight(self, resource, target, key, self._reads[resource].command(key), now)
        self._attached.by_target[target] = flight
        if source is None:
            self._dispatch.backlog[flight] = None
        else:
            self._dispatch.send(flight, source)
        return flight

    def reread(self, some: Iterable[bytes]) -> None:
        """Begin reads of records, as far as these can be read and kept.

        Args:
            some: the targets of the records.
        """
        now = monotonic()
        for target in some:
            key = targets.key_of(target, self._prefix)
            source = self._sources.of_key(key)
            if source is None or source.lease_until <= 0:
                continue
            if target not in self._attached.by_target:
                resource = targets.resource_of(target)
                command = self._reads[resource].command(key)
                flight = Flight(self, resource, target, key, command, now)
                self._attached.by_target[target] = flight
                self._dispatch.send(flight, source)

    # The end

    def landed(self, flight: Flight, reply: Any) -> None:
        """Keep the answer of a flight if it may be kept, and have it delivered."""
        resource = flight.resource
        try:
            body = body_in(resource, reply)
        except NoRecord:
            self._failed(flight, reply)
            return
        target = flight.target
        source = flight.source
        keeper = None
        if flight.attached:
            flight.attached = False
            del self._attached.by_target[target]
            if source is not None and source.lease_until > 0:
                owner = self._topology.owner(flight.key)
                keeper = source if owner is source.master or owner == source.master else None
        if body is None:
            status = NOT_FOUND
            counted = self._counts.unknown
            answer_tail = self._found_none(flight, keeper)
        else:
            status = OK
            counted = self._counts.read
            if source is not None and source.confirmed_until <= flight.asked:
                counted = self._counts.stale
            answer_tail = tail(body)
            if keeper is not None:
                whole = keeper.wholes[target[ROUTE_AT]]
                if self._cache.put(keeper.generation, target, answer_tail, flight.end):
                    whole.closed(target)
                else:
                    whole.changed(target)
                if flight.end < inf:
                    self._end_timer.reset()
        first, joined = flight.end_waiting()
        counted[target[ROUTE_AT]] += (first is not None) + len(joined)
        self._landed.append((first, joined, status, answer_tail, flight.asked))

    def _found_none(self, flight: Flight, keeper: Source | None) -> bytes:
        answer_tail = NOT_FOUND_TAILS[flight.resource]
        self._cache.drop(flight.target)
        if keeper is None:
            self._sources.open(flight.target, flight.key)
        else:
            keeper.unknown.put(flight.target, answer_tail)
            keeper.wholes[flight.target[ROUTE_AT]].closed(flight.target)
        return answer_tail

    def deliver(self) -> None:
        """Answer those whose flights have landed.

        After all replies that came together, not after each: the client that is written to often
        shares a core with others and sleeps, and to wake it once costs less than many times.
        """
        landed, self._landed = self._landed, []
        if not landed:
            return
        now = monotonic()
        observe = self._counts.read_seconds.observe
        for first, joined, status, answer_tail, asked in landed:
            observe(now - asked)
            if first is not None:
                first(status, answer_tail)
            for waiter in joined:
                waiter.answered(status, answer_tail)

    def _failed(self, flight: Flight, reply: Any) -> None:
        # one that nobody waits for is sent on where that tells of a slot's new master
        wanted = flight.waits or (isinstance(reply, ReadError) and reply.code == "MOVED")
        if wanted and self._dispatch.send_elsewhere(flight, reply):
            return
        if not isinstance(reply, ReadError) or reply.code in NOT_THE_MASTER:
            assert flight.source is not None  # noqa: S101 it gave the reply
            flight.source.connection.abort()
        elif reply.code == "WRONGTYPE":
            # Redis can be read, and there the record is no more
            self._cache.drop(flight.target)
            self._sources.open(flight.target, flight.key)
        self.give_up(flight)

    def give_up(self, flight: Flight) -> None:
        """Answer those who wait for a flight that will not land."""
        if flight.attached:
            self._attached.detach(flight.target)
        self._dispatch.drop(flight)
        first, joined = flight.end_waiting()
        if first is not None:
            self.fall_back(flight.target, first)
        for waiter in joined:
            self.fall_back(flight.target, waiter.answered)

    def deserted(self, flight: Flight) -> None:
        """Nobody waits for a flight any more; what was sent stays attached.

        Who asks again joins it, and its reply is kept, so that a Redis slower than `lookup.timeout`
        still fills the cache.
        """
        if flight.source is None:
            self.give_up(flight)

    def answer_stale(self) -> None:
        """End the flights that wait to be sent, where something is known to answer with."""
        for flight in self._dispatch:
            if flight.waits and self._cache.stale(flight.target) is not None:
                self.give_up(flight)

    def fall_back(self, target: bytes, answered: Answered) -> None:
        """Answer with what was known last of a record, or with 503."""
        kept = self._sources.last_known(target, monotonic())
        if kept is None:
            self._counts.error[target[ROUTE_AT]] += 1
            answered(UNAVAILABLE, _UNAVAILABLE)
        else:
            self._counts.stale[target[ROUTE_AT]] += 1
            answered(OK, kept)

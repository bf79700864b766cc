"""The three lookups: near cache, then one read of Redis for all who wait for the same record.

The front protocol and the aiohttp handlers both ask here, so both give the same answer.

A lookup that misses goes this way:

1. `Lookups.ask` finds nothing fresh, and `Lookups.read` no flight for the record:
   `reading.flights.Flights.depart` looks whether there is room for one, and sends it with
   `ReadConnection.send`, which writes what one turn of the event loop has brought at its end.
2. The reply arrives (`ReadConnection.data_received`), and is handed to its `Flight.replied`, which
   hands it to `Flights.landed`: the answer is kept, if it may be.
3. When all replies that came together have landed, `ReadConnection` calls `Flights.deliver`, which
   calls `answered` of all who wait: for the front protocol, that writes the answer.

`reading.flight` tells what else can happen to a flight, `reading.source_events` what to what is
known.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic

from csms_redis.contract.errors import BadRequest, NotFound, OutcomeUnknown, Unavailable
from csms_redis.lookup import targets
from csms_redis.lookup.answers import NOT_FOUND, OK, body_of
from csms_redis.lookup.counts import ROUTE_AT, LookupCounts
from csms_redis.lookup.known.end_timer import EndTimer
from csms_redis.lookup.known.near_cache import NearCache
from csms_redis.lookup.reading.deadlines import Deadlines
from csms_redis.lookup.reading.dispatch import Dispatch
from csms_redis.lookup.reading.flight import (
    Answered,
    Attached,
    Flight,
    Waiter,
    leave_queue,
    take_place,
)
from csms_redis.lookup.reading.flights import AWAY, NOT_FOUND_TAILS, Flights
from csms_redis.lookup.reading.preload import Preload
from csms_redis.lookup.reading.record_scan import RecordScan
from csms_redis.lookup.reading.source_events import SourceEvents
from csms_redis.lookup.reading.sources import Source, Sources
from csms_redis.lookup.targets import Wanted
from csms_redis.redis.topology import Topology
from csms_redis.registry.resource import Resource
from csms_redis.settings import LookupSettings

_PATIENCE = 0.25  # seconds that who could be told what was known before waits for the truth


class Lookups:
    """Answers lookups from what is known, and has the others wait while Redis is read.

    It does not connect to Redis: a `Link` does, and tells `events` what Redis says. The flights
    that are waited for, `flights` begins and ends.
    """

    def __init__(self, settings: LookupSettings, prefix: bytes, topology: Topology) -> None:
        """Start with nothing known and no connection.

        Args:
            settings: the sizes and times.
            prefix: what every key begins with.
            topology: says which master has a key.
        """
        self.cache = NearCache(
            max_entries=settings.cache_entries,
            max_bytes=settings.cache_bytes,
            stale_if_error=settings.stale_if_error,
        )
        self.counts = LookupCounts()
        self.sources = Sources(topology, self.cache, settings.stale_if_error)
        self.topology = topology
        self.stale_if_error = settings.stale_if_error
        self._timeout = settings.timeout
        self._patience = min(_PATIENCE, settings.timeout)
        self._attached = Attached()
        self._deadlines = Deadlines(self._time_is_over)
        self._prefix = prefix
        self._settings = settings
        self._end_timer = EndTimer(self.cache, self._record_ended)
        self._before = {route.resource: route.resource.key(prefix, "") for route in targets.ROUTES}
        self._dispatch = Dispatch(self.sources, topology, self._attached, settings.max_in_flight)
        self.flights = Flights(
            sources=self.sources,
            dispatch=self._dispatch,
            attached=self._attached,
            cache=self.cache,
            end_timer=self._end_timer,
            counts=self.counts,
            topology=topology,
            prefix=prefix,
            max_in_flight=settings.max_in_flight,
        )
        self.events = SourceEvents(
            settings,
            sources=self.sources,
            dispatch=self._dispatch,
            attached=self._attached,
            flights=self.flights,
            cache=self.cache,
            counts=self.counts,
            topology=topology,
            prefix=prefix,
        )

    # Asked by the front protocol and the handlers

    def ask(self, wanted: Wanted, answered: Answered) -> Waiter | None:
        """Look a record up; `answered` is called once, now or within `lookup.timeout`.

        Returns:
            None when it was called; else who waits, for `leave`.
        """
        resource, record_id, target = wanted
        if record_id is None:
            self.counts.unknown[target[ROUTE_AT]] += 1
            answered(NOT_FOUND, NOT_FOUND_TAILS[resource])
            return None
        now = monotonic()
        for source in self.sources.all:
            if now < source.lease_until:
                kept = source.fresh.get(target)
                if kept is not None:
                    source.fresh.move_to_end(target)
                    self.counts.hit[target[ROUTE_AT]] += 1
                    answered(OK, kept)
                    return None
                remembered = source.unknown.until.get(target)
                if remembered is not None and now < remembered[0]:
                    self.counts.unknown[target[ROUTE_AT]] += 1
                    answered(NOT_FOUND, remembered[1])
                    return None
        return self.read(wanted, answered, now)

    def read(self, wanted: Wanted, answered: Answered, now: float) -> Waiter | None:
        """Look a record up as `ask` does, but without the look for a fresh answer, which is made.

        Args:
            wanted: the record, with an id.
            answered: called once, now or within `lookup.timeout`.
            now: monotonic seconds.
        """
        resource, record_id, target = wanted
        key = self._before[resource] + (record_id or b"")
        master = self.sources.of_key(key)
        if (
            master is not None
            and now < master.lease_until
            and master.wholes[target[ROUTE_AT]].lacks(target)
        ):
            self._answer_without_record(wanted, answered, master)
            return None
        may_know = len(self.cache.old) > 0  # whether anything is known that is not fresh any more
        for source in self.sources.all:
            if now >= source.lease_until and source.fresh:
                may_know = True
        deadlines = self._deadlines
        if may_know and self.sources.last_known(target, now) is not None:
            knows, deadline, queue = True, now + self._patience, deadlines.impatient
        else:
            knows, deadline, queue = False, now + self._timeout, deadlines.patient
        flight = self._attached.by_target.get(target)
        if flight is not None:
            if knows and (flight.source is None or now - flight.asked >= self._patience):
                # Redis is away, or slow: others waited in vain for this one
                self.flights.fall_back(target, answered)
                return None
            waiter: Waiter = flight.join(answered, deadline, queue)
        else:
            if master is not None or not knows:
                flight = self.flights.depart(resource, target, key, master, now)
            if flight is None:
                self.flights.fall_back(target, answered)
                return None
            flight.answered = answered
            flight.deadline = deadline
            flight.queue = queue
            queue[flight] = None
            waiter = flight
        if deadlines.timer is None:
            deadlines.watch()
        return waiter

    def _record_ended(self, target: bytes) -> None:
        self.events.ended(target)

    def _answer_without_record(self, wanted: Wanted, answered: Answered, source: Source) -> None:
        """Answer that there is no such record, because a source knows all records of the kind."""
        resource, _, target = wanted
        answer_tail = NOT_FOUND_TAILS[resource]
        source.unknown.put(target, answer_tail)  # the front finds it there
        self.counts.unknown[target[ROUTE_AT]] += 1
        answered(NOT_FOUND, answer_tail)

    def leave(self, waiter: Waiter) -> None:
        """Take one who waits out: nobody is there any more who would take the answer."""
        if leave_queue(waiter):
            flight = take_place(waiter)
            if not flight.waits:
                self.flights.deserted(flight)

    def _time_is_over(self, waiter: Waiter, now: float) -> None:
        """Answer one who has waited long enough, and has left its queue."""
        flight = waiter if isinstance(waiter, Flight) else waiter.flight
        deadlines = self._deadlines
        if (
            waiter.queue is deadlines.impatient
            and self.sources.last_known(flight.target, now) is None
        ):
            # what was known has ended
            waiter.deadline, waiter.queue = now + self._timeout, deadlines.patient
            deadlines.patient[waiter] = None
            return
        answered = waiter.answered
        take_place(waiter)
        if not flight.waits:
            self.flights.deserted(flight)
        if answered is not None:
            self.flights.fall_back(flight.target, answered)

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

        waiter = self.ask(targets.wanted(resource, record_id), answered)
        try:
            status, answer_tail = await answer
        finally:
            if waiter is not None:
                self.leave(waiter)
        if status == NOT_FOUND:
            raise NotFound(resource.not_found)
        if status != OK:
            raise Unavailable(AWAY)
        return body_of(answer_tail)

    @contextmanager
    def changing(self, resource: Resource, record_id: str) -> Iterator[None]:
        """Surround a write, so that this process forgets what it knew of the record.

        So who wrote through this replica reads the new record from it, before the invalidation
        arrives as well. Only what certainly changed nothing forgets nothing: else who registers a
        fleet while Redis is away would take away what each of its stations could still be told.
        """
        unchanged = False
        try:
            yield
        except (BadRequest, Unavailable) as problem:
            unchanged = not isinstance(problem, OutcomeUnknown)
            raise
        finally:
            if not unchanged:
                target = targets.wanted(resource, record_id)[2]
                self.events.forget(target, resource.key(self._prefix, record_id))

    @contextmanager
    def changing_all(self, keys: Iterable[bytes]) -> Iterator[set[bytes]]:
        """Around a write of many records: as `changing`, of each.

        Args:
            keys: of the records, each as `Resource.key` makes it.

        Yields:
            A set for the keys at which certainly nothing was changed.
        """
        unchanged: set[bytes] = set()
        written = [*keys]
        try:
            yield unchanged
        finally:
            for key in written:
                target = targets.of_key(key, self._prefix)
                if target is not None and key not in unchanged:
                    self.events.forget(target, key)

    def preload(self, has_started: Callable[[], bool]) -> Preload | None:
        """Make what reads all records and follows them; None if that is switched off.

        Args:
            has_started: whether the process would be ready without it.
        """
        if not (self._settings.preload and self.caches):
            return None
        return Preload(
            wait=self._settings.preload_wait,
            sources=self.sources,
            counts=self.counts,
            following=self.events.following,
            make_scan=partial(
                RecordScan,
                prefix=self._prefix,
                topology=self.topology,
                cache=self.cache,
                end_timer=self._end_timer,
            ),
            reread_stale=self.events.reread_stale,
            has_started=has_started,
        )

    # Told to operators

    @property
    def stale_answers(self) -> int:
        """How many lookups were answered with what may have changed since."""
        return sum(self.counts.stale)

    @property
    def refused(self) -> int:
        """How many lookups were answered 503."""
        return sum(self.counts.error)

    @property
    def in_flight(self) -> int:
        """How many records are being read from Redis, or wait for a connection to it."""
        sent = sum(len(each.connection.pending) - each.unasked for each in self.sources.all)
        return len(self._dispatch) + sent

    @property
    def caches(self) -> bool:
        """Whether any answer is kept, so that Redis must tell of changes (CLIENT TRACKING)."""
        return self.cache.max_entries > 0

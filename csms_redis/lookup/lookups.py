"""The three lookups: near cache, then one read of Redis for all who wait for the same record.

The front protocol and the aiohttp handlers both ask here, so both give the same answer.

A lookup that misses goes this way:

1. `Lookups.ask` finds nothing fresh, and `_wait` no flight for the record: `_depart` looks whether
   there is room for one, and `_fly` sends it, with `ReadConnection.send`, which writes what one
   turn of the event loop has brought at its end.
2. The reply arrives (`ReadConnection.data_received`), and is handed to its `Flight.replied`, which
   hands it to `Lookups.landed`: the answer is kept, if it may be.
3. When all replies that came together have landed, `ReadConnection` calls `Lookups.deliver`, which
   calls `answered` of all who wait: for the front protocol, that writes the answer.

`reading.flights` tells what else can happen to a flight. `reading.link.Link` calls `connected`,
`renew` and, through `ReadConnection`, `lost` and `invalidated`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from itertools import islice
from math import inf
from time import monotonic
from typing import Any

from csms_redis.contract.errors import BadRequest, NotFound, OutcomeUnknown, Unavailable
from csms_redis.lookup import targets
from csms_redis.lookup.answers import (
    NOT_FOUND,
    OK,
    UNAVAILABLE,
    body_of,
    status_tail,
    tail,
)
from csms_redis.lookup.counts import ROUTE_AT, LookupCounts
from csms_redis.lookup.known.end_timer import EndTimer
from csms_redis.lookup.known.near_cache import NearCache
from csms_redis.lookup.known.unknown_cache import UnknownCache
from csms_redis.lookup.reading.flights import (
    Answered,
    Flight,
    Ignored,
    Joiners,
    Queue,
    TimeLeft,
    Waiter,
    take_place,
)
from csms_redis.lookup.reading.lifetimes import Lifetimes
from csms_redis.lookup.reading.read_connection import (
    ConnectionBroken,
    ReadConnection,
    ReadError,
    encode,
)
from csms_redis.lookup.reading.record_read import RecordRead
from csms_redis.lookup.reading.sources import Source
from csms_redis.lookup.targets import Wanted
from csms_redis.redis.address import Address
from csms_redis.redis.outcomes import NOT_THE_MASTER
from csms_redis.redis.topology import Topology
from csms_redis.registry.resource import Resource
from csms_redis.settings import LookupSettings

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
_PATIENCE = 0.25  # seconds that who could be told what was known before waits for the truth
_SOME = 500  # of those whose time is over, answered in one go
_VALUES = frozenset([bytes, type(None)])  # what an HMGET gives

_ELSEWHERE = frozenset(["ASK", "MOVED", "TRYAGAIN"])  # codes of replies of a cluster's node
_MOST_REDIRECTIONS = 5
_CHUNK, _PAUSE = 500, 0.005  # records looked at in one go, and seconds between two
_REREAD = 100  # records read again in one go
_ASKING = encode("ASKING")
_ABSENT = object()


class Lookups:
    """Answers lookups from what is known, begins reads for what is not, and keeps both true.

    It does not connect to Redis: a `Link` gives it connections, and tells it what Redis says.
    """

    def __init__(self, settings: LookupSettings, prefix: bytes, topology: Topology) -> None:
        """Start with nothing known and no connection.

        Args:
            settings: the sizes and times.
            prefix: of every key.
            topology: which master has a key.
        """
        self.cache = NearCache(
            max_entries=settings.cache_entries,
            max_bytes=settings.cache_bytes,
            stale_if_error=settings.stale_if_error,
        )
        self.sources: tuple[Source, ...] = ()  # one for each master that can be read
        self.reconnected = asyncio.Event()  # set with each of them
        self.counts = LookupCounts()
        self._settings = settings
        self._timeout = settings.timeout
        self._patience = min(_PATIENCE, settings.timeout)
        self.stale_if_error = settings.stale_if_error
        self._max_in_flight = settings.max_in_flight
        self._prefix = prefix
        self._topology = topology
        self._source_of: dict[Address, Source] = {}
        self._flights: dict[bytes, Flight] = {}
        self._backlog: dict[Flight, None] = {}  # waiting for a connection
        self._again: list[Flight] = []  # to be sent again soon, for their keys were elsewhere
        self._impatient: Queue = {}  # who could be told what was known before
        self._patient: Queue = {}
        # each with who waited, the status, the tail, and when it was asked
        self._landed: list[tuple[Answered | None, Joiners, int, bytes, float]] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._end_timer = EndTimer(self.cache)
        self._reads = {
            route.resource: RecordRead(route.resource, prefix) for route in targets.ROUTES
        }

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
        known_before = bool(self.cache.old)  # whether anything is that is not fresh any more
        for source in self.sources:
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
            elif source.fresh:
                known_before = True
        return self._wait(wanted, answered, now, known_before=known_before)

    def _wait(
        self, wanted: Wanted, answered: Answered, now: float, *, known_before: bool
    ) -> Waiter | None:
        target = wanted[2]
        under_way = self._flights.get(target)
        flight = self._depart(wanted, now) if under_way is None else under_way
        if flight is None:
            self._fall_back(target, answered)
            return None
        if self._sweeper is None:
            self._sweep_later()
        deadline, queue = now + self._timeout, self._patient
        if known_before and self._kept(target, now) is not None:
            if flight.source is None or now - flight.asked >= self._patience:
                # Redis is away, or slow: others waited in vain for this one
                self._fall_back(target, answered)
                return None
            deadline, queue = now + self._patience, self._impatient
        if under_way is not None:
            return flight.join(answered, deadline, queue)
        flight.answered = answered
        flight.deadline = deadline
        flight.queue = queue
        queue[flight] = None
        return flight

    def leave(self, waiter: Waiter) -> None:
        """Wait no more: nobody is there who would take the answer."""
        if waiter.queue.pop(waiter, _ABSENT) is None:
            flight = take_place(waiter)
            if not flight.waits:
                self._deserted(flight)

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
            raise Unavailable(_AWAY)
        return body_of(answer_tail)

    @contextmanager
    def changing(self, resource: Resource, record_id: str) -> Iterator[None]:
        """Around a write: this process forgets what it knew of the record, if that may be past.

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
                self._forget(targets.wanted(resource, record_id)[2])

    # Told by the connections' owner

    @property
    def stale_answers(self) -> int:
        """Lookups answered with what may have changed since."""
        return sum(self.counts.stale)

    @property
    def refused(self) -> int:
        """Lookups answered 503."""
        return sum(self.counts.error)

    @property
    def flights(self) -> int:
        """Records that are being read from Redis, or wait for a connection to it."""
        return (
            len(self._backlog)
            + len(self._again)
            + sum(len(each.connection.pending) for each in self.sources)
        )

    @property
    def unknown_entries(self) -> int:
        """Ids that are known not to exist."""
        return sum(len(source.unknown.until) for source in self.sources)

    @property
    def serves_stale(self) -> bool:
        """Whether something is known that may be served while Redis cannot be read."""
        oldest = monotonic() - self.stale_if_error
        return self.cache.has_stale() or any(
            source.fresh and source.proved_at >= oldest for source in self.sources
        )

    @property
    def caches(self) -> bool:
        """Whether anything is to be kept, so that connections must be tracked."""
        return self.cache.max_entries > 0

    def connected(
        self, master: Address, connection: ReadConnection, lifetimes: Lifetimes | None = None
    ) -> None:
        """Read what belongs to a master through this connection from now on.

        Args:
            master: of the topology.
            connection: whose handshake and first probe succeeded.
            lifetimes: which of its records may end by themselves; None where none is kept.
        """
        settings = self._settings
        unknown = UnknownCache(
            max_entries=settings.unknown_entries if self.caches else 0, ttl=settings.unknown_ttl
        )
        source = Source(master, connection, self.cache, unknown, lifetimes)
        self._source_of[master] = source
        self.sources = tuple(self._source_of.values())
        self.counts.connected += 1
        self.reconnected.set()
        self.send_backlog()

    def renew(
        self, connection: ReadConnection, *, sent: float, until: float, confirmed_until: float = inf
    ) -> None:
        """A probe of a connection succeeded.

        Args:
            connection: probed.
            sent: when the probe left (monotonic seconds).
            until: when what was read through the connection is to be believed no more; 0 where
                Redis does not tell of changes, so that nothing is to be kept.
            confirmed_until: when what is read through it from then on counts as stale, because
                nobody else has said for long that this is a master.
        """
        source = self._source_through(connection)
        if source is not None:
            source.proved_at = sent
            source.lease_until = until
            source.confirmed_until = confirmed_until

    def lost(self, connection: ReadConnection) -> None:
        """A connection is gone: what it filled is stale."""
        source = self._source_through(connection)
        if source is None:
            return
        del self._source_of[source.master]
        self.sources = tuple(self._source_of.values())
        self.counts.lost += 1
        source.lease_until = 0.0
        self.cache.age(source.generation, source.proved_at)
        # soon: the flights of this connection fail first
        asyncio.get_running_loop().call_soon(self._answer_stale)

    def invalidated(self, connection: ReadConnection, keys: list[bytes] | None) -> None:
        """Redis says that keys changed; None when all of this master's may have."""
        if keys is None:
            self.counts.flushes += 1
            source = self._source_through(connection)
            if source is not None:
                source.generation.clear()
                source.unknown.clear()
            self.cache.clear_old()  # some may have been this master's
            for flying, flight in list(self._flights.items()):
                if flight.source is source:
                    self._detach(flying)
            return
        self.counts.invalidations += len(keys)
        for key in keys:
            target = targets.of_key(key, self._prefix)
            if target is not None:
                self._forget(target)

    async def drop_disowned(self) -> None:
        """Forget what was read from masters that it does not belong to any more.

        Redis tells of a key's move as of any other change, so this is a second look, and takes its
        time. Where the new master cannot be read yet, as in a failover, it becomes stale instead.
        """
        for source in self.sources:
            source.unknown.clear()
            kept = list(source.fresh)
            for start in range(0, len(kept), _CHUNK):
                if source not in self.sources or source.master not in self._topology.masters:
                    break  # it is stale now, and wanted until the next master can be read
                stale = []
                for target in kept[start : start + _CHUNK]:
                    owner = self._topology.owner(targets.key_of(target, self._prefix))
                    if owner == source.master:
                        continue
                    if owner in self._source_of:
                        source.generation.drop(target)
                    else:
                        stale.append(target)
                self.cache.retire(source.generation, stale, source.proved_at)
                await asyncio.sleep(_PAUSE)

    async def reread_stale(self) -> None:
        """Read what is stale again where it can be read.

        Nobody told of what was changed or deleted between two connections. Without this it would be
        served once more, when Redis is away or slow the next time.
        """
        stale = self.cache.stale_targets()
        for start in range(0, len(stale), _REREAD):
            now = monotonic()
            for target in stale[start : start + _REREAD]:
                key = targets.key_of(target, self._prefix)
                source = self._source_for(key)
                if source is not None and source.lease_until > 0 and target not in self._flights:
                    self._fly(targets.resource_of(target), target, key, source, now)
            await asyncio.sleep(_PAUSE)

    def send_backlog(self) -> None:
        """Send what waits for a connection that is there now."""
        backlog, self._backlog = self._backlog, {}
        again, self._again = self._again, []
        for flight in (*backlog, *again):
            if flight.waits and not self._send(flight):
                self._backlog[flight] = None

    def _source_through(self, connection: ReadConnection) -> Source | None:
        for source in self.sources:
            if source.connection is connection:
                return source
        return None

    # Flights

    def landed(self, flight: Flight, reply: Any) -> None:
        """Keep the answer of a flight if it may be kept, and have it delivered."""
        resource = flight.resource
        if type(reply) is not list or len(reply) != len(resource.asked):
            self._failed(flight, reply)
            return
        try:
            body = resource.answer(reply)
        except TypeError:
            body = None  # a value is no bytes, and could not be joined
        # Each value is to be bytes or None. Of most replies that is known by now: all but the last
        # were joined.
        if (body is None or type(reply[-1]) is not bytes) and not _VALUES.issuperset(
            map(type, reply)
        ):
            self._failed(flight, reply)
            return
        target = flight.target
        source = flight.source
        keeper = None
        if flight.attached:
            flight.attached = False
            del self._flights[target]
            if source is not None and source.lease_until > 0:
                owner = self._topology.owner(flight.key)
                keeper = source if owner is source.master or owner == source.master else None
        if body is None:
            status = NOT_FOUND
            counted = self.counts.unknown
            answer_tail = self._found_none(flight, keeper)
        else:
            status = OK
            counted = self.counts.read
            if source is not None and source.confirmed_until <= flight.asked:
                counted = self.counts.stale
            answer_tail = tail(body)
            if keeper is not None:
                self.cache.put(keeper.generation, target, answer_tail, flight.end)
                if flight.end < inf:
                    self._end_timer.reset()
        first, joined = flight.end_waiting()
        counted[target[ROUTE_AT]] += (first is not None) + len(joined)
        self._landed.append((first, joined, status, answer_tail, flight.asked))

    def _found_none(self, flight: Flight, keeper: Source | None) -> bytes:
        answer_tail = NOT_FOUND_TAILS[flight.resource]
        self.cache.drop(flight.target)
        if keeper is not None:
            keeper.unknown.put(flight.target, answer_tail)
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
        for first, joined, status, answer_tail, asked in landed:
            self.counts.read_seconds.observe(now - asked)
            if first is not None:
                first(status, answer_tail)
            for waiter in joined:
                waiter.answered(status, answer_tail)

    def _depart(self, wanted: Wanted, now: float) -> Flight | None:
        """Begin a read; None where too many are under way, or what is known is to do."""
        resource, record_id, target = wanted
        key = self._reads[resource].before + (record_id or b"")
        source = self._source_for(key)
        if source is None:
            if len(self._backlog) >= self._max_in_flight or self._kept(target, now) is not None:
                return None
        elif (under_way := len(source.connection.pending)) >= self._max_in_flight and (
            under_way >= self._max_in_flight * source.commands
        ):
            return None
        return self._fly(resource, target, key, source, now)

    def _fly(
        self, resource: Resource, target: bytes, key: bytes, source: Source | None, now: float
    ) -> Flight:
        """Begin a read; without a source it waits for one."""
        command = self._reads[resource].command(key)
        flight = Flight(self, resource, target, key, command, now)
        self._flights[target] = flight
        if source is None:
            self._backlog[flight] = None
        elif (lifetimes := source.lifetimes) is None or not (
            lifetimes.volatile or lifetimes.changed_keys
        ):
            flight.source = source
            source.connection.send(command, flight)
        else:
            self._send_through(source, flight)
        return flight

    def _source_for(self, key: bytes) -> Source | None:
        master = self._topology.owner(key)
        for source in self.sources:
            # to hash an address takes longer than all else here; it nearly always is the very one
            if source.master is master:
                return source
        return None if master is None else self._source_of.get(master)

    def _send(self, flight: Flight, to: Address | None = None) -> bool:
        """Send a flight to its key's master, or to a server that was named; whether that is up."""
        source = self._source_for(flight.key) if to is None else self._source_of.get(to)
        if source is None:
            return False
        if to is not None:
            source.connection.send(_ASKING, Ignored())
        self._send_through(source, flight)
        return True

    def _send_through(self, source: Source, flight: Flight) -> None:
        flight.source = source
        lifetimes = source.lifetimes
        # a detached flight's answer is not kept, and of what ASKING allows there may be one
        if lifetimes is not None and lifetimes.asked(flight.key) and flight.attached:
            flight.end = inf
            for question in lifetimes.questions(flight.key, flight.resource.asked):
                source.connection.send(question, TimeLeft(flight, lifetimes))
        source.connection.send(flight.command, flight)

    def _failed(self, flight: Flight, reply: Any) -> None:
        if isinstance(reply, ConnectionBroken) or (
            isinstance(reply, ReadError) and reply.code in _ELSEWHERE
        ):
            if flight.waits and self._try_elsewhere(flight, reply):
                return
        elif not isinstance(reply, ReadError) or reply.code in NOT_THE_MASTER:
            assert flight.source is not None  # noqa: S101 it gave the reply
            flight.source.connection.abort()
        elif reply.code == "WRONGTYPE":
            self.cache.drop(flight.target)  # Redis can be read, and there the record is no more
        self._give_up(flight)

    def _try_elsewhere(self, flight: Flight, error: ReadError) -> bool:
        """Send a flight where its key is now, or let it wait; whether one was possible."""
        source = flight.source
        flight.source = None
        if isinstance(error, ConnectionBroken):
            return self._send_again(flight)  # as often as there is a connection, in its time
        flight.redirections += 1
        if flight.redirections > _MOST_REDIRECTIONS:
            return False
        to = None if source is None else error.points_to(source.master)
        if to is not None and error.code == "ASK":
            self._detach(flight.target)  # it is not the one that tells of changes until it owns it
            if self._send(flight, self._topology.canonical(to)):
                return True
        elif to is not None:
            self._topology.moved(flight.key, to)
            if self._send(flight):
                return True
        return self._send_again(flight)

    def _send_again(self, flight: Flight) -> bool:
        if len(self._backlog) + len(self._again) >= self._max_in_flight:
            return False
        if self._source_for(flight.key) is None:
            self._backlog[flight] = None
        else:
            self._again.append(flight)
        return True

    def _give_up(self, flight: Flight) -> None:
        """Answer those who wait for a flight that will not land."""
        if flight.attached:
            self._detach(flight.target)
        self._backlog.pop(flight, None)
        first, joined = flight.end_waiting()
        if first is not None:
            self._fall_back(flight.target, first)
        for waiter in joined:
            self._fall_back(flight.target, waiter.answered)

    def _deserted(self, flight: Flight) -> None:
        """Nobody waits for a flight any more; what was sent stays attached.

        Who asks again joins it, and its reply is kept, so that a Redis slower than `lookup.timeout`
        still fills the cache.
        """
        if flight.source is None:
            self._give_up(flight)

    def _answer_stale(self) -> None:
        for flight in [*self._backlog, *self._again]:
            if flight.waits and self.cache.stale(flight.target) is not None:
                self._give_up(flight)

    def _kept(self, target: bytes, now: float) -> bytes | None:
        """What is known of a record and may be served while Redis cannot be read."""
        kept = self.cache.stale(target) if self.cache.old else None
        for source in self.sources:
            if kept is None and now - source.proved_at <= self.stale_if_error:
                kept = source.fresh.get(target)
        return kept

    def _fall_back(self, target: bytes, answered: Answered) -> None:
        kept = self._kept(target, monotonic())
        if kept is None:
            self.counts.error[target[ROUTE_AT]] += 1
            answered(UNAVAILABLE, _UNAVAILABLE)
        else:
            self.counts.stale[target[ROUTE_AT]] += 1
            answered(OK, kept)

    def _forget(self, target: bytes) -> None:
        self.cache.drop(target)
        for source in self.sources:
            source.unknown.drop(target)
        self._detach(target)

    def _detach(self, target: bytes) -> None:
        flight = self._flights.pop(target, None)
        if flight is not None:
            flight.attached = False

    def _sweep_later(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP, self._sweep_soon)

    def _sweep_again(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweeper = asyncio.get_running_loop().call_later(_AFTER_READING, self._sweep)

    def _sweep_soon(self) -> None:
        # uvloop runs timers before it reads: after a stall the replies are there, but not read
        self._sweeper = asyncio.get_running_loop().call_later(_AFTER_READING, self._sweep)

    def _sweep(self) -> None:
        """Answer those whose time is over, wherever their flights stand.

        Only the first of each queue are looked at: of many who wait this costs nothing.
        """
        self._sweep_later()  # first: should one of those who wait fail, the others are not lost
        more = False
        again, self._again = self._again, []
        for flight in again:
            if flight.waits and not self._send(flight):
                self._backlog[flight] = None
        now = monotonic()
        for queue in (self._impatient, self._patient):
            for waiter in list(islice(queue, _SOME)):
                if waiter.deadline > now:
                    break
                self._time_is_over(waiter, now)
            else:
                more = more or len(queue) > 0
        if more:  # but let others have their turn
            self._sweep_again()
        if self._sweeper and not (self._impatient or self._patient or self._again):
            self._sweeper.cancel()
            self._sweeper = None

    def _time_is_over(self, waiter: Waiter, now: float) -> None:
        if waiter.queue.pop(waiter, _ABSENT) is not None:
            return  # answered meanwhile
        flight = waiter if isinstance(waiter, Flight) else waiter.flight
        if waiter.queue is self._impatient and self._kept(flight.target, now) is None:
            # what was known has ended
            waiter.deadline, waiter.queue = now + self._timeout, self._patient
            self._patient[waiter] = None
            return
        answered = waiter.answered
        take_place(waiter)
        if not flight.waits:
            self._deserted(flight)
        if answered is not None:
            self._fall_back(flight.target, answered)

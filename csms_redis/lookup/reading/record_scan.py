"""One scan: reads all records of one kind of a master over its read connection.

1. `Whole.begin`: from here on, what Redis tells of is open until it was read.
2. SCAN names the keys. It names each that is there from the scan's first call to its last
   (https://valkey.io/commands/scan/); of one that came or changed meanwhile, Redis tells.
3. Each that is not held by now is read. A reply does not count where its id has become open since:
   that is read once more.
4. One more command is sent and its reply waited for: Redis tells of a change after the replies of
   the same turn of its loop, so now it has told of all that SCAN could miss.
5. `Whole.complete`, if nothing has ended it meanwhile; on a cluster only if the master has had the
   same slots all the time, those of the map, and none of them was moving.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from math import inf
from time import monotonic
from typing import Any, Final, NamedTuple, TypeAlias

from csms_redis.lookup import targets
from csms_redis.lookup.answers import tail
from csms_redis.lookup.counts import LETTER_OF
from csms_redis.lookup.known.end_timer import EndTimer
from csms_redis.lookup.known.near_cache import NearCache
from csms_redis.lookup.known.whole import MOVING, Whole
from csms_redis.lookup.reading.flight import TimeLeft
from csms_redis.lookup.reading.read_connection import ConnectionBroken, ReadError
from csms_redis.lookup.reading.record_read import NoRecord, RecordRead, body_in
from csms_redis.lookup.reading.sources import Source
from csms_redis.redis.outcomes import NOT_THE_MASTER
from csms_redis.redis.own_slots import OwnSlots, read_own_slots
from csms_redis.redis.scan import pattern_of
from csms_redis.redis.topology import Topology
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.resource import Resource

FULL: Final = "lookup.cache_entries or lookup.cache_bytes is too small for all records"
"""The problem of a kind for whose records the near cache has no room."""

_LARGEST = 2**20  # bytes of an answer that a scan keeps; it is held by every replica, asked or not


class Left(Exception):
    """The kind cannot be made whole for now; the text says why, for the operator."""


class Pace(NamedTuple):
    """How fast a scan goes.

    Attributes:
        named: keys that one SCAN looks at.
        read: records that are read together.
        large: certificates that are, of which each is as large as many stations.
        rest: seconds of rest for each second of work.
    """

    named: int
    read: int
    large: int
    rest: float


IN_HASTE: Final = Pace(named=1000, read=1000, large=100, rest=0)
"""While nobody is served."""

IN_PASSING: Final = Pace(named=200, read=50, large=10, rest=4)
"""While lookups are answered, which must not wait for it."""

_LEAST_REST = 0.002  # seconds

_Read: TypeAlias = tuple[bytes, bytes]  # a record's key and its target


class RecordScan:
    """Reads all records of one kind of a master, and keeps them, until the near cache is full."""

    def __init__(  # noqa: PLR0913 each is a part of what is known, or of where it is read
        self,
        source: Source,
        resource: Resource,
        *,
        prefix: bytes,
        topology: Topology,
        cache: NearCache,
        end_timer: EndTimer,
        pace: Callable[[], Pace],
    ) -> None:
        """Read the records of `resource`.

        Args:
            source: through which they are read.
            resource: the kind of record.
            prefix: what every key begins with.
            topology: says which master has a key.
            cache: keeps the answers.
            end_timer: drops them at their end.
            pace: how fast to go, asked again and again.
        """
        self.asked = False
        """Whether SCAN was sent."""
        self.answered = False
        """Whether it was answered."""
        self._left: str | None = None  # why no more is to be read, as a reply told
        self._source = source
        self._resource = resource
        self._pattern = pattern_of(resource.key(prefix, ""))
        self._prefix = prefix
        self._topology = topology
        self._cache = cache
        self._end_timer = end_timer
        self._pace = pace
        self._command = RecordRead(resource).command
        self._whole = source.wholes[LETTER_OF[resource]]

    async def run(self) -> None:
        """Make it whole; where something ends that meanwhile, `Whole.problem` tells what.

        Raises:
            ConnectionBroken: the connection has ended.
            Left: it cannot be made whole now.
        """
        whole = self._whole
        if self._cache.is_filled and not self._cache.old:
            raise Left(FULL)
        whole.begin()
        own = await self._own_slots()
        cursor = b"0"
        ahead: asyncio.Future[Any] | None = None  # the reply to a SCAN that was sent ahead
        try:
            while whole.reading:
                pace = self._pace()
                began = monotonic()
                cursor, keys = await self._named(ahead or self._scan(cursor, pace))
                # before the reads, so that Redis looks for keys while their replies are read here
                ahead = self._scan(cursor, pace) if cursor != b"0" and not pace.rest else None
                await self._read(self._to_be_read(keys), pace)
                if cursor == b"0":
                    break
                await _rest(pace, began)
        finally:
            if ahead is not None:
                ahead.cancel()
        if whole.reading:
            own_now = await self._own_slots()
            if own_now != own or own_now.moving or not self._is_of_the_map(own_now):
                raise Left(MOVING)
        if self._left is not None:
            raise Left(self._left)
        if whole.reading:
            if whole.doubt is not None:
                raise Left(whole.doubt)
            whole.complete()

    def _scan(self, cursor: bytes, pace: Pace) -> "asyncio.Future[Any]":
        self.asked = True
        return self._source.connection.ask(
            "SCAN", cursor, "MATCH", self._pattern, "COUNT", pace.named
        )

    async def _named(self, scanned: "asyncio.Future[Any]") -> tuple[bytes, list[bytes]]:
        try:
            reply = await scanned
        except ConnectionBroken:
            raise
        except ReadError as error:
            if error.code in NOT_THE_MASTER:
                self._source.connection.abort()
            raise Left(f"Redis refuses SCAN ({error.code})") from None
        match reply:
            case [bytes(cursor), [*keys]] if all(type(key) is bytes for key in keys):
                self.answered = True
                return cursor, keys
        raise Left("Redis answers SCAN with something else than keys")

    def _to_be_read(self, keys: Sequence[bytes]) -> list[_Read]:
        """Those of a scan's keys that a lookup may read here, and that are not held by now."""
        fresh, is_open = self._source.fresh, self._whole.open
        clustered = self._topology.clustered
        found = []
        of_keys = targets.of_keys(keys, self._resource, self._prefix)
        for key, target in zip(keys, of_keys, strict=True):
            if target is None or target in is_open or (clustered and not self._is_here(key)):
                continue
            if target in fresh:
                self._whole.records += 1
            else:
                found.append((key, target))
        return found

    def _is_here(self, key: bytes) -> bool:
        owner = self._topology.owner(key)
        return owner is self._source.master or owner == self._source.master

    async def _read(self, wanted: list[_Read], pace: Pace) -> None:
        together = pace.large if self._resource is CERTIFICATE else pace.read
        for start in range(0, len(wanted), together):
            began = monotonic()
            some = wanted[start : start + together]
            batch = _Batch(self, some, self._source, self._whole)
            self._send(some, batch)
            if pace.rest or start + together < len(wanted):
                await batch.over
            if self._left is not None:
                raise Left(self._left)
            if start + together < len(wanted):
                await _rest(pace, began)

    def _send(self, some: list[_Read], batch: "_Batch") -> None:
        send, command = self._source.connection.send, self._command
        lifetimes = self._source.lifetimes
        if lifetimes is None or not (lifetimes.volatile or lifetimes.changed_keys):
            self._source.connection.send_all([command(key) for key, _ in some], batch)
            return
        for key, _ in some:
            if not lifetimes.must_ask(key):
                send(command(key), batch)
                continue
            one = _Timed(batch)
            for question in lifetimes.questions(key, self._resource.asked):
                send(question, TimeLeft(one, lifetimes))
            send(command(key), one)

    def take(self, key: bytes, target: bytes, reply: Any, end: float) -> None:
        """Keep what a reply has, if its id is not open since it was asked for."""
        whole, source = self._whole, self._source
        if target in whole.open:
            return
        try:
            body = body_in(self._resource, reply)
        except NoRecord:
            self._failed(key, target, reply)
            return
        if body is None:
            self._cache.drop(target)
        elif len(body) > _LARGEST or (self._topology.clustered and not self._is_here(key)):
            whole.changed(target)
        elif end < inf and source.lifetimes is not None and not source.lifetimes.told:
            self._left = "Redis does not tell when records end (no right to PTTL)"
        elif self._cache.fill(source.generation, target, tail(body), end):
            whole.records += 1
            if end < inf:
                self._end_timer.reset()
        else:
            self._left = FULL

    def _failed(self, key: bytes, target: bytes, reply: Any) -> None:
        if isinstance(reply, ConnectionBroken):
            return
        if not isinstance(reply, ReadError) or reply.code in NOT_THE_MASTER:
            self._source.connection.abort()
            return
        if reply.code == "NOPERM":
            self._left = f"Redis refuses to read a {self._resource.called} (NOPERM)"
        elif reply.code == "WRONGTYPE":
            self._cache.drop(target)
        elif reply.code == "MOVED":
            to = reply.points_to(self._source.master)
            if to is not None:
                self._topology.moved(key, to)
        self._whole.changed(target)

    async def _own_slots(self) -> OwnSlots:
        """The master's own slots; of one that is no cluster's, none, but by a reply of its own."""
        connection = self._source.connection
        try:
            if self._topology.clustered:
                own = read_own_slots(await connection.call("CLUSTER", "NODES"))
            else:
                await connection.call("HELLO", 3)
                own = OwnSlots()
        except ConnectionBroken:
            raise
        except ReadError as error:
            raise Left(f"Redis does not tell which slots it has ({error.code})") from None
        except (ValueError, AttributeError):
            own = None
        if own is None:
            raise Left("Redis does not tell which slots it has")
        return own

    def _is_of_the_map(self, own: OwnSlots) -> bool:
        return not self._topology.clustered or self._topology.slots_of(self._source.master) == {
            slot for slots in own.ranges for slot in slots
        }


async def _rest(pace: Pace, began: float) -> None:
    if pace.rest:
        await asyncio.sleep(max(_LEAST_REST, pace.rest * (monotonic() - began)))


class _Batch:
    """Takes the replies to reads that were sent together, in their order."""

    __slots__ = ("_number", "_scan", "_serial", "_some", "_source", "_to_come", "_whole", "over")

    def __init__(
        self, scan: RecordScan, some: Sequence[_Read], source: Source, whole: Whole
    ) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._scan = scan
        self._some: Iterator[_Read] = iter(some)
        self._source = source
        self._whole = whole
        self._serial = whole.serial
        self._number = self._to_come = len(some)
        source.unasked += self._number

    def replied(self, reply: Any, end: float = inf) -> None:
        key, target = next(self._some)
        self._to_come -= 1
        # what an ended scan had open is not known any more
        if self._whole.serial == self._serial:
            self._scan.take(key, target, reply, end)
        if self._to_come == 0:
            self._source.unasked -= self._number
            if not self.over.done():
                self.over.set_result(None)


class _Timed:
    """Takes the reply to a read whose record may end; the replies that tell when come before it."""

    __slots__ = ("_batch", "end")

    def __init__(self, batch: _Batch) -> None:
        self._batch = batch
        self.end = inf

    def replied(self, reply: Any) -> None:
        self._batch.replied(reply, self.end)

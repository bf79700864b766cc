"""Pages of records, by SCAN: no index is kept, that a crash could leave wrong.

Each record that is there from the first page to the last is on one of them at least. A page is
bounded in what it has and in what Redis does for it: it has as many records as were asked for,
unless Redis would take longer than `_BUDGET` to find them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import TypeAlias

from csms_redis.contract.errors import BadRequest, Gone, Unavailable
from csms_redis.contract.queries import MAX_OFFSET, Query
from csms_redis.redis.client import RedisClient
from csms_redis.redis.scan import MastersChanged, Scan
from csms_redis.registry.cursor import Cursor, key_name, listing_name
from csms_redis.registry.resource import Resource, if_json

Values: TypeAlias = Sequence[bytes | None]
"""The values of a record's fields, as they were asked for."""

Show: TypeAlias = Callable[[str, Values], bytes | None]
"""Gives a record with this id as JSON; None where the record is not to be listed.

A record that is not JSON is not listed either: this service has not written it.
"""

ReadValues: TypeAlias = Callable[[Scan, int, list[bytes]], Awaitable[Sequence[Values]]]
"""Reads what is shown of the records at some keys of a master, by its number in the scan."""

MOST_AT_ONCE = 1000
"""The most keys that one SCAN looks at; Redis does nothing else for 0.3 ms."""

_READ_AT_ONCE = 100  # records, so that lookups are answered between two reads
_BUDGET = 50_000  # microseconds of Redis' time for one page
_SCANNED = 0.35  # of them for a key that SCAN looks at
_READ = 1.5  # and for a record that is read
_LEFT_OUT = 2  # and for a record that an offset leaves out
_LONGEST = 3.0  # seconds after which a page ends anyway, where Redis or this process has much to do
_PAUSE = 0.001  # seconds after a step that found nothing, for the lookups
_STEP = 300  # keys that one SCAN of a page looks at: lookups wait for 0.1 ms, and not for 0.4
_STEP_OF_A_SEARCH = MOST_AT_ONCE  # where ids are to start with something: a person waits for it
_FEW = 40  # records, of which a page may look for all at once: a cursor names those beyond
_MOST_SEEN = 200  # keys that a cursor names, 8 bytes each

_CHANGED = (
    "Redis's masters are not what they were when this listing began: one was restarted or "
    "replaced, or slots were moved, and records could be missed. Start again without a cursor."
)


@dataclass(frozen=True, slots=True)
class Page:
    """Some records of a listing, each as JSON, and the cursor of the next page, if there is one."""

    records: list[bytes]
    next: str | None


class Listing:
    """The records of one kind."""

    def __init__(
        self, redis: RedisClient, prefix: bytes, resource: Resource, read: ReadValues
    ) -> None:
        """List what is in Redis.

        Args:
            redis: where.
            prefix: what every key begins with.
            resource: the kind.
            read: reads what `page` is to show.
        """
        self._redis = redis
        self._prefix = prefix
        self._resource = resource
        self._read = read

    async def page(self, query: Query, show: Show, *, start: str = "", offset: int = 0) -> Page:
        """Read one page.

        Args:
            query: the limit, the cursor and the filters.
            show: makes JSON of a record that is to be listed.
            start: what the ids of all listed records start with.
            offset: how many records are left out at the beginning of the listing.

        Raises:
            BadRequest: the cursor does not belong to this listing.
            Gone: the masters that the cursor refers to have changed.
            Unavailable: Redis cannot be read.
        """
        name = listing_name(self._resource.name, query.filters)
        given = Cursor.decode(query.cursor, name) if query.cursor is not None else None
        scan = await Scan.begin(self._redis)
        at = given or Cursor(listing=name, masters=scan.digest, skip=offset)
        if at.masters != scan.digest:
            raise Gone(_CHANGED)
        if at.master >= len(scan) or at.skip > MAX_OFFSET:  # someone made it
            raise BadRequest("This is no cursor. Take it from Link as it is.")
        try:
            return await self._fill(scan, at, query.limit, start, show)
        except MastersChanged:
            if given:
                raise Gone(_CHANGED) from None
            raise Unavailable("Redis's masters have just changed. Try again.") from None

    async def _fill(self, scan: Scan, at: Cursor, limit: int, start: str, show: Show) -> Page:
        first = self._resource.key(self._prefix, start)
        records: dict[bytes, bytes] = {}
        after: Cursor | None = at
        masters = {at.master}
        count = _count(limit, at.skip)
        left = _BUDGET + (_READ + _LEFT_OUT) * at.skip
        end = monotonic() + _LONGEST
        while after and left > 0 and len(records) < limit and monotonic() < end:
            at = after
            masters.add(at.master)
            scanned, keys = await scan.unproved_keys(
                at.master, at.scanned, start=first, count=count
            )
            names = {key: key_name(key) for key in keys} if at.seen else {}
            new = [key for key in keys if names.get(key) not in at.seen]
            found = await self._found(scan, at.master, new, show)
            left -= _SCANNED * count + _READ * len(new)
            room = limit - len(records)
            taken = found[: at.skip + room]
            if len(taken) < len(found):
                if len(taken) + len(at.seen) > _MOST_SEEN and count > 1:
                    count = max(1, count // 4)
                    continue
                # the others are on the next page: SCAN gives all of them again there
                after = replace(at, skip=0, seen=at.seen | {key_name(key) for key, _ in taken})
                records.update(taken[at.skip :])
                break
            records.update(found[at.skip :])
            skip = max(0, at.skip - len(found))
            # a smaller step has not met all of them yet; one that is gone will never be met
            seen = at.seen.difference(names.values())
            if len(seen) > _MOST_SEEN:
                seen = frozenset()
            if scanned:
                after = replace(at, scanned=scanned, skip=skip, seen=seen)
            elif at.master + 1 < len(scan):
                after = replace(at, master=at.master + 1, scanned=0, skip=skip, seen=frozenset())
            else:
                after = None
            # as many keys as there were for each record until now
            count = _count(limit - len(records), skip) * count // max(1, len(found))
            count = min(max(1, count), _STEP_OF_A_SEARCH if start else _STEP)
            if not keys:
                await asyncio.sleep(_PAUSE)
        for number in masters:
            await scan.prove(number)
        return Page([*records.values()], after.encode() if after else None)

    async def _found(
        self, scan: Scan, number: int, keys: list[bytes], show: Show
    ) -> list[tuple[bytes, bytes]]:
        """Of the records at some keys, those that are to be listed: key and JSON of each."""
        found = []
        for start in range(0, len(keys), _READ_AT_ONCE):
            some = keys[start : start + _READ_AT_ONCE]
            ids = [self._resource.id_of(self._prefix, key) for key in some]
            ours = [(key, id_) for key, id_ in zip(some, ids, strict=True) if id_ is not None]
            read = await self._read(scan, number, [key for key, _ in ours])
            for (key, id_), values in zip(ours, read, strict=True):
                record = if_json(show(id_, values))
                if record is not None:
                    found.append((key, record))
        return found


def _count(room: int, skip: int) -> int:
    """How many records to look for: not quite as many as there is room for, SCAN gives more."""
    return min(skip or max(1, room if room <= _FEW else 2 * room // 3), _STEP)

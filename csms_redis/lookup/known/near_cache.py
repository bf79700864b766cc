"""Answers kept in this process, by their canonical target."""

from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from itertools import pairwise
from math import inf
from operator import attrgetter
from sys import getsizeof
from time import monotonic
from typing import TypeAlias

# An OrderedDict's share of one entry, in bytes, measured on CPython 3.11: a list node, and slots of
# the two tables at their average load.
_ENTRY = 144
_SMALL = 512  # bytes; up to this CPython packs objects without gaps
_BYTES = getsizeof(b"")  # what a bytes object takes beside its bytes
_END = 264  # bytes of an end: its time, and its places in a dictionary and in a heap
_MAX_OLD = 8
FILLED = 0.9
"""Which part of its room `NearCache.fill` takes: the rest is for what is looked up."""

_SOME_ENDED = 500  # dropped in one go


Evicted: TypeAlias = Callable[[bytes], None]
"""Called with the target of an answer that was dropped to make room."""


class Generation:
    """The answers that were read through one connection.

    It has no bounds of its own: the `NearCache` bounds all generations together.
    """

    __slots__ = ("entries", "evicted", "proved_at", "size")

    def __init__(self, evicted: Evicted | None = None) -> None:
        """Begin with nothing.

        Args:
            evicted: called for each answer that is dropped to make room.
        """
        self.evicted = evicted
        self.entries: OrderedDict[bytes, bytes] = OrderedDict()
        self.size = 0  # bytes
        self.proved_at = 0.0  # when the connection proved its lease last (monotonic seconds)

    def drop(self, target: bytes) -> None:
        """Forget an answer."""
        tail = self.entries.pop(target, None)
        if tail is not None:
            self.size -= _size(target, tail)

    def evict(self) -> bytes:
        """Forget the answer that was not used for the longest time, and return its target."""
        target, tail = self.entries.popitem(last=False)
        self.size -= _size(target, tail)
        if self.evicted is not None:
            self.evicted(target)
        return target

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()
        self.size = 0

    def absorb(self, newer: "Generation") -> None:
        """Take over the answers of a newer generation, which then count as old as this one's."""
        self.entries.update(newer.entries)
        self.size += newer.size


class NearCache:
    """Positive answers, least recently used out first, bounded by entries and bytes.

    Each connection to a master fills a generation of its own, which holds as long as the connection
    has its lease. When the connection is lost they become stale: kept for `stale_if_error` seconds
    from the last probe that proved the lease, and served only while Redis cannot be read
    (RFC 5861, 4).

    An answer may have an end, fresh or stale. A hit does not look at it: whoever has the loop's
    timers calls `drop_ended` in time.
    """

    __slots__ = (
        "_end_of",
        "_ends",
        "_filled_bytes",
        "_filled_entries",
        "_filling",
        "_stale_if_error",
        "evictions",
        "max_bytes",
        "max_entries",
        "old",
    )

    def __init__(self, *, max_entries: int, max_bytes: int, stale_if_error: float) -> None:
        """Keep at most `max_entries` and `max_bytes`; 0 entries keeps nothing.

        Args:
            max_entries: how many answers, fresh and stale together.
            max_bytes: their memory, with what the tables need.
            stale_if_error: seconds.
        """
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self._filled_entries = int(max_entries * FILLED)
        self._filled_bytes = int(max_bytes * FILLED)
        self._stale_if_error = stale_if_error
        self.evictions = 0
        self.old: list[Generation] = []  # the one that was proved longest ago first
        self._filling: list[Generation] = []
        self._end_of: dict[bytes, float] = {}  # monotonic seconds
        self._ends: list[tuple[float, bytes]] = []  # a heap of these, and of some that are past

    def __len__(self) -> int:
        """How many answers are kept, the stale ones included."""
        return sum(len(each.entries) for each in (*self._filling, *self.old))

    @property
    def size(self) -> int:
        """How many bytes of memory the answers take."""
        entries = sum(each.size for each in (*self._filling, *self.old))
        return entries + len(self._end_of) * _END

    @property
    def next_end(self) -> float:
        """When `drop_ended` is due (monotonic seconds)."""
        return self._ends[0][0] if self._ends else inf

    def begin(self, evicted: Evicted | None = None) -> Generation:
        """Make a generation for a new connection to fill.

        Args:
            evicted: told of what is dropped from it to make room.
        """
        generation = Generation(evicted)
        self._filling.append(generation)
        return generation

    def put(self, generation: Generation, target: bytes, tail: bytes, end: float = inf) -> bool:
        """Keep a fresh answer; older ones of the same target go.

        Args:
            generation: of the connection that it was read through.
            target: canonical.
            tail: the answer.
            end: when there will be no such record any more, or another (monotonic seconds).

        Returns:
            Whether it is kept: not what is larger than all the room.
        """
        self.drop(target)
        size = _size(target, tail)
        if self.max_entries == 0 or size > self.max_bytes:
            return False
        generation.entries[target] = tail
        generation.size += size
        if end < inf:
            self._keep_end(target, end)
        while self._is_over():
            self._evict()
        return True

    def fill(self, generation: Generation, target: bytes, tail: bytes, end: float = inf) -> bool:
        """Keep a fresh answer that nobody asked for, if no other has to go for it.

        Args:
            generation: of the connection that it was read through.
            target: canonical.
            tail: the answer.
            end: when there will be no such record any more, or another (monotonic seconds).

        Returns:
            Whether it is kept: it is not where less than a tenth of the room would be left, unless
            one that was kept before is replaced.
        """
        entries = generation.entries
        most_entries, most_bytes = self._filled_entries, self._filled_bytes
        if self.old or len(self._filling) > 1 or target in entries:
            if any(target in each.entries for each in self.old):
                most_entries, most_bytes = self.max_entries, self.max_bytes
            self.drop(target)
            number, used = self._taken()
        else:
            number, used = len(entries), generation.size + len(self._end_of) * _END
        size = _size(target, tail)
        if number >= most_entries or used + size > most_bytes:
            return False
        entries[target] = tail
        generation.size += size
        if end < inf:
            self._keep_end(target, end)
        return True

    @property
    def is_filled(self) -> bool:
        """Whether `fill` would hardly keep anything."""
        entries, used = self._taken()
        return entries >= self._filled_entries or used >= self._filled_bytes

    def drop(self, target: bytes) -> None:
        """Forget an answer, fresh and stale."""
        for generation in self._filling:
            if target in generation.entries:
                generation.drop(target)
        for generation in self.old:
            generation.drop(target)
        if self._end_of:
            self._end_of.pop(target, None)

    def drop_ended(self) -> list[bytes]:
        """Forget what has ended, in portions: more may be due at once.

        Returns:
            The targets of what was forgotten.
        """
        ended = []
        now = monotonic()
        for _ in range(_SOME_ENDED):
            if self.next_end > now:
                break
            end, target = heappop(self._ends)
            if self._end_of.get(target) == end:
                self.drop(target)
                ended.append(target)
        return ended

    def clear_old(self) -> None:
        """Forget everything that is stale."""
        self.old.clear()

    def age(self, generation: Generation, proved_at: float) -> None:
        """Make stale what a connection filled.

        Args:
            generation: of the connection.
            proved_at: when the connection proved its lease last (monotonic seconds).
        """
        self._filling.remove(generation)
        generation.evicted = None
        self._keep_old(generation, proved_at)

    def retire(self, generation: Generation, targets: Iterable[bytes], proved_at: float) -> None:
        """Make stale some of what a connection filled that is still there."""
        retired = Generation()
        for target in targets:
            tail = generation.entries.pop(target, None)
            if tail is not None:
                retired.entries[target] = tail
                retired.size += _size(target, tail)
        generation.size -= retired.size
        self._keep_old(retired, proved_at)

    def _keep_old(self, generation: Generation, proved_at: float) -> None:
        if generation.entries:
            generation.proved_at = proved_at
            insort(self.old, generation, key=attrgetter("proved_at"))
        if len(self.old) > _MAX_OLD:
            # A connection that comes and goes must not cost what was kept before: join the two
            # whose time differs least.
            gaps = [newer.proved_at - older.proved_at for older, newer in pairwise(self.old)]
            joined = gaps.index(min(gaps))
            self.old[joined].absorb(self.old.pop(joined + 1))

    def stale(self, target: bytes) -> bytes | None:
        """An answer that was true when Redis was last seen, if that is not too long ago."""
        oldest = monotonic() - self._stale_if_error
        while self.old and self.old[0].proved_at < oldest:
            self.old.pop(0)
        for old in reversed(self.old):
            tail = old.entries.get(target)
            if tail is not None:
                return tail
        return None

    def has_stale(self) -> bool:
        """Whether there is anything that `stale` may give."""
        oldest = monotonic() - self._stale_if_error
        return any(old.entries for old in self.old if old.proved_at >= oldest)

    def stale_targets(self) -> list[bytes]:
        """The targets of everything that is stale."""
        return [target for old in self.old for target in old.entries]

    def _is_over(self) -> bool:
        entries, size = self._taken()
        return size > self.max_bytes or entries > self.max_entries

    def _taken(self) -> tuple[int, int]:
        """How many answers are kept, and their bytes; asked with each that is kept."""
        entries = 0
        size = len(self._end_of) * _END
        for generation in self._filling:
            entries += len(generation.entries)
            size += generation.size
        for generation in self.old:
            entries += len(generation.entries)
            size += generation.size
        return entries, size

    def _evict(self) -> None:
        self.evictions += 1
        while self.old and not self.old[0].entries:
            self.old.pop(0)
        fullest = self.old[0] if self.old else max(self._filling, key=attrgetter("size"))
        self._end_of.pop(fullest.evict(), None)

    def _keep_end(self, target: bytes, end: float) -> None:
        self._end_of[target] = end
        heappush(self._ends, (end, target))
        if len(self._ends) > 2 * len(self) + _SOME_ENDED:
            # what was dropped since is not waited for; what was cleared together may be in both
            kept = [each.entries for each in (*self._filling, *self.old)]
            self._end_of = {
                each: its_end
                for each, its_end in self._end_of.items()
                if any(each in entries for entries in kept)
            }
            self._ends = [(its_end, each) for each, its_end in self._end_of.items()]
            heapify(self._ends)


def _size(target: bytes, tail: bytes) -> int:
    size = _BYTES + len(tail)
    if size > _SMALL:
        # from the C library's heap, where freed blocks leave gaps that the next do not quite fill
        size += size >> 3
    return _BYTES + len(target) + size + _ENTRY

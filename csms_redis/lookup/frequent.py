"""The ids that come most often, and those that came last, of any number in bounded memory.

Filtered space-saving (Homem and Carvalho, "Finding top-k elements in data streams", 2010): a table
of ids that are counted one by one, and beside it cells that count all other ids, each the ids of
one hash. An id comes into the table when its cell counts more than the least in the table has. So
a flood of ids that come once each only raises the cells, and an id that comes often stays.

No library is used: `datasketches` needs numpy and `pyprobables` takes 10 microseconds for an id in
Python, and neither keeps when an id came and from whom, so that half of this would stand beside it.
"""

from array import array
from collections import OrderedDict
from collections.abc import Iterable
from heapq import heapify, heappush, heapreplace


class Seen:
    """What is known of an id.

    Attributes:
        count: how often it came, at most.
        error: by how much that may be too high.
        first: when it came first, or was first noted (Unix seconds).
        last: when it came last.
        client: who brought it last.
    """

    __slots__ = ("client", "count", "error", "first", "last")

    def __init__(self, count: int, error: int, first: float, client: str) -> None:
        """Note the first time that the id came."""
        self.count = count
        self.error = error
        self.first = self.last = first
        self.client = client

    @property
    def least(self) -> int:
        """How often it came, at least."""
        return self.count - self.error


class Frequent:
    """Counts ids, of which it keeps the most frequent and the latest."""

    def __init__(self, *, most: int = 1000, latest: int = 50, cells: int = 2**16) -> None:
        """Count nothing yet.

        Args:
            most: how many of the most frequent are counted one by one.
            latest: how many of the latest others are kept.
            cells: a power of two.
        """
        self._most = most
        self._most_latest = latest
        self._cells = array("Q", bytes(8 * cells))
        self._mask = cells - 1
        self._table: dict[str, Seen] = {}
        self._latest: OrderedDict[str, Seen] = OrderedDict()
        # those in the table, each once, as they were when they came here: the first may have been
        # counted since, so that it belongs further behind
        self._by_count: list[tuple[int, float, str]] = []

    def add(self, id_: str, client: str, now: float, weight: int = 1) -> None:
        """Count an id.

        Args:
            id_: the id.
            client: who brought it.
            now: Unix seconds.
            weight: for how many this one stands.
        """
        seen = self._table.get(id_)
        if seen is not None:
            seen.count += weight
            seen.last = now
            seen.client = client
            return
        cell = hash(id_) & self._mask
        before = self._cells[cell]
        if len(self._table) < self._most:
            self._table[id_] = self._entry(id_, before, weight, now, client)
            heappush(self._by_count, (before + weight, now, id_))
        elif before + weight > self._least_count():
            _, _, leaver = heapreplace(self._by_count, (before + weight, now, id_))
            self._leave(leaver)
            self._table[id_] = self._entry(id_, before, weight, now, client)
        else:
            self._cells[cell] = before + weight
            late = self._latest.get(id_)
            if late is None:
                late = self._latest[id_] = Seen(0, 0, now, client)
                if len(self._latest) > self._most_latest:
                    self._latest.popitem(last=False)
            else:
                self._latest.move_to_end(id_)
            late.count += weight
            late.last = now
            late.client = client

    def forget(self, before: float) -> None:
        """Forget the ids that came last before a moment (Unix seconds), and what the cells have."""
        for kept in (self._table, self._latest):
            for id_ in [id_ for id_, seen in kept.items() if seen.last < before]:
                del kept[id_]
        self._cells = array("Q", bytes(8 * len(self._cells)))
        self._by_count = [(seen.count, seen.last, id_) for id_, seen in self._table.items()]
        heapify(self._by_count)

    def items(self) -> Iterable[tuple[str, Seen]]:
        """The ids that are kept, in no order."""
        return [*self._table.items(), *self._latest.items()]

    def _entry(self, id_: str, before: int, weight: int, now: float, client: str) -> Seen:
        """What is to be in the table of an id that was not there."""
        late = self._latest.pop(id_, None)
        known = 0 if late is None else min(late.count, before)
        seen = Seen(before + weight, before - known, now if late is None else late.first, client)
        seen.last = now
        return seen

    def _least_count(self) -> int:
        """The least count in the table; the first of `_by_count` has it then, who came first."""
        while True:
            count, _, id_ = self._by_count[0]
            seen = self._table[id_]
            if seen.count == count:
                return count
            heapreplace(self._by_count, (seen.count, seen.last, id_))

    def _leave(self, id_: str) -> None:
        """Take an id out of the table, and count it among the others."""
        cell = hash(id_) & self._mask
        self._cells[cell] = max(self._cells[cell], self._table.pop(id_).count)

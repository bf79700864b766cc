"""Ids that have no record, remembered for a few seconds, by their canonical target."""

from collections import OrderedDict
from time import monotonic


class UnknownCache:
    """Targets for which there is no record, remembered for a few seconds, the oldest out first."""

    __slots__ = ("_max_entries", "_ttl", "until")

    def __init__(self, *, max_entries: int, ttl: float) -> None:
        """Keep at most `max_entries`, each `ttl` seconds."""
        self._max_entries = max_entries
        self._ttl = ttl
        self.until: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()

    def put(self, target: bytes, tail: bytes) -> None:
        """Remember that there is no such record, and the answer that says so."""
        if self._max_entries == 0 or self._ttl == 0:
            return
        self.until[target] = (monotonic() + self._ttl, tail)
        self.until.move_to_end(target)
        if len(self.until) > self._max_entries:
            self.until.popitem(last=False)

    def drop(self, target: bytes) -> None:
        """Forget that there was no such record."""
        self.until.pop(target, None)

    def clear(self) -> None:
        """Forget everything."""
        self.until.clear()

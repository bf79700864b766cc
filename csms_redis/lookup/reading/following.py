"""Reads records again that have changed, also when nobody asks for them."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeAlias

from csms_redis.lookup.reading.watches import LOOK_AFTER

Reread: TypeAlias = Callable[[Iterable[bytes]], None]
"""Called with the targets of records, to read those again that are still open."""

# seconds: what changed together is read together, and after that look, so that none of it is asked
# for its own time to live
_SOON = LOOK_AFTER + 0.005
_SOME, _PAUSE = 20, 0.01  # records read in one go, and seconds between two: 2,000 a second


class Following:
    """Reads a record as soon as it has changed, but not more than some thousand in a second.

    Another process may import a million records. If each replica read each of them at once, that
    would be many times the load of the import. `Whole` bounds how many records wait here.
    """

    __slots__ = ("_reread", "_timer", "waiting")

    def __init__(self, reread: Reread) -> None:
        """Begin with nothing to read.

        Args:
            reread: reads some records.
        """
        self._reread = reread
        self._timer: asyncio.TimerHandle | None = None
        self.waiting: dict[bytes, None] = {}
        """The targets of the records that are to be read, in the order in which they changed."""

    def add(self, target: bytes) -> None:
        """Read a record soon."""
        self.waiting[target] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SOON, self._read_some)

    def _read_some(self) -> None:
        some = list(islice(self.waiting, _SOME))
        for target in some:
            del self.waiting[target]
        self._timer = None
        if self.waiting:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self._read_some)
        self._reread(some)

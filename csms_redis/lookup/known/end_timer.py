"""Drops answers from the near cache when they end, with a timer of the event loop."""

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic

from csms_redis.lookup.known.near_cache import NearCache

_SHORTEST = 0.001  # seconds; any time but none lets the event loop read in between


class EndTimer:
    """Waits for the next end in a `NearCache`, which has no timers of its own."""

    __slots__ = ("_cache", "_due", "_ended", "_timer")

    def __init__(self, cache: NearCache, ended: Callable[[bytes], None]) -> None:
        """Wait for nothing yet; `reset` begins.

        Args:
            cache: whose answers are dropped at their end.
            ended: takes the target of each of them: there may be another record in its place, as
                where only a field has ended.
        """
        self._cache = cache
        self._ended = ended
        self._timer: asyncio.TimerHandle | None = None
        self._due = inf  # when the timer rings (monotonic seconds)

    def reset(self) -> None:
        """Wait for the next end: an answer that ends earlier than all others may have come."""
        due = self._cache.next_end
        if due < self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._due = due
            delay = max(due - monotonic(), _SHORTEST)
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._due = inf
        for target in self._cache.drop_ended():
            self._ended(target)
        self.reset()

"""What is counted while the service works: plain numbers, which a scrape reads.

prometheus-client's own counters take a lock for each increment, and so a tenth of a lookup.
"""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate, product

REDIS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Bounds of a histogram of the time that Redis takes, in seconds."""

LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Bounds of a histogram of the event loop's lag, in seconds."""

OUTCOMES = ("done", "refused", "unavailable", "unknown", "error")
"""What can come of a write, in this order: answered 2xx; 4xx; 503, nothing was changed; 503, it
may have been carried out; 500."""

_INTERVAL = 0.25  # seconds


class Histogram:
    """How many observations were within each of some bounds."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Count by these upper bounds, which ascend."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        """The sum of all observations."""

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self._counts)

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Each bound as text, with how many observations were not above it."""
        bounds = [*map(str, self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))


class LoopLag:
    """How late the event loop comes to what is due: the time for which everything else waits."""

    def __init__(self) -> None:
        """Have no observation yet; `run` measures."""
        self.seconds = Histogram(LAG_SECONDS)

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _INTERVAL
            await asyncio.sleep(_INTERVAL)
            self.seconds.observe(max(0.0, loop.time() - due))


class WriteCounts:
    """How the requests ended that were to change something."""

    def __init__(self, operations: Iterable[str] = ()) -> None:
        """Start with 0 for each operation: a rate would miss a count that begins with 1."""
        self.by_outcome = Counter(dict.fromkeys(product(operations, OUTCOMES), 0))
        """The number of requests, by operation and outcome."""
        self.seconds = Histogram(REDIS_SECONDS)

    def add(self, operation: str, outcome: str, seconds: float) -> None:
        """Count one request.

        Args:
            operation: one of the contract's, or something else of which there are few.
            outcome: one of `OUTCOMES`.
            seconds: from the request's head to its answer.
        """
        self.by_outcome[operation, outcome] += 1
        self.seconds.observe(seconds)

"""Slows failed attempts down, for each address. Right credentials are never slowed."""

from collections import OrderedDict
from heapq import heappop, heappush
from typing import Final

BURST: Final = 10
"""Failures of an address that are answered at once, because anyone makes mistakes."""

INTERVAL: Final = 1.0
"""Seconds between two answers to failures of an address, after the first `BURST`."""

MAX_DELAY: Final = 5.0
"""The most seconds that an answer is held; a failure that would wait longer is refused at once.

Credentials are checked before this, so only the answer that they are wrong waits.
"""

_MAX_ADDRESSES = 10_000  # that are remembered
_MAX_HELD = 1000  # answers that wait at a time


class Throttle:
    """Decides when each failed attempt is answered (generic cell rate algorithm, ITU-T I.371).

    It keeps one number for each address: the time until which its failures have used up its
    answers. When there are too many addresses, the one that failed the longest ago is forgotten.
    """

    def __init__(self) -> None:
        """Know of no failures."""
        self._used_until: OrderedDict[str, float] = OrderedDict()
        self._held: list[float] = []  # when each held answer leaves, the next first

    def delay(self, address: str, now: float) -> float | None:
        """Count a failed attempt.

        Returns:
            Seconds until the answer; None where the attempt is to be refused at once, because too
            many answers wait already.
        """
        until = max(self._used_until.pop(address, 0.0), now) + INTERVAL
        delay = max(0.0, until - now - BURST * INTERVAL)
        while self._held and self._held[0] <= now:
            heappop(self._held)
        too_many = delay > MAX_DELAY or (delay > 0 and len(self._held) >= _MAX_HELD)
        self._used_until[address] = until - INTERVAL if too_many else until
        if len(self._used_until) > _MAX_ADDRESSES:
            self._used_until.popitem(last=False)
        if too_many:
            return None
        if delay > 0:
            heappush(self._held, now + delay)
        return delay

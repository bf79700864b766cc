"""Finds those who have waited as long as a lookup may wait."""

import asyncio
from collections.abc import Callable
from itertools import islice
from time import monotonic
from typing import TypeAlias

from csms_redis.lookup.reading.flight import Queue, Waiter, leave_queue

SWEEP = 0.02
"""Seconds between two looks at the deadlines."""

_AFTER_READING = 0.001  # seconds; any time but none lets the event loop read first
_SOME = 500  # of those whose time is over, told of in one go

TimeIsOver: TypeAlias = Callable[[Waiter, float], None]
"""Called with one whose time is over, who has left its queue, and with the monotonic time."""


class Deadlines:
    """Tells of those who have waited long enough, whatever has become of their flights.

    They wait in one of two queues. Each is in the order of the deadlines, because all in a queue
    may wait equally long. Others put them there, and others answer them.
    """

    __slots__ = ("_over", "impatient", "patient", "timer")

    def __init__(self, over: TimeIsOver) -> None:
        """Begin with nobody.

        Args:
            over: called for each whose time is over.
        """
        self._over = over
        self.impatient: Queue = {}
        """Those who can be given a stale answer, so that they wait only briefly."""
        self.patient: Queue = {}
        """Those who can be given no answer but 503, so that they wait for `lookup.timeout`."""
        self.timer: asyncio.TimerHandle | None = None
        """The timer of the next look; None while nobody waits."""

    def watch(self) -> None:
        """Look at the deadlines from now on, until nobody waits."""
        self.timer = asyncio.get_running_loop().call_later(SWEEP, self._sweep_after_reading)

    def _sweep_after_reading(self) -> None:
        # uvloop runs timers before it reads: after a stall the replies are there, but not read
        self.timer = asyncio.get_running_loop().call_later(_AFTER_READING, self.sweep)

    def sweep(self) -> None:
        """Tell of those whose time is over.

        Only the first of each queue are looked at: of many who wait this costs nothing.
        """
        self.watch()  # first: should one of those who wait fail, the others are not lost
        more = False
        now = monotonic()
        for queue in (self.impatient, self.patient):
            for waiter in list(islice(queue, _SOME)):
                if waiter.deadline > now:
                    break
                if leave_queue(waiter):  # else it was answered meanwhile
                    self._over(waiter, now)
            else:
                more = more or len(queue) > 0
        if more:  # but let others have their turn
            self._stop()
            self._sweep_after_reading()
        elif not (self.impatient or self.patient):
            self._stop()

    def _stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

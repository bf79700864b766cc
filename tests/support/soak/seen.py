"""What a soak has seen: the faults, the load's answers, and what the service held."""

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from tests.support.measure import descriptors, resident
from tests.support.topologies.history import History

WINDOWS = ((1 / 6, 1 / 3), (5 / 6, 1.0))  # shares of a run: of 30 minutes, 5 to 10 and the last 5


class Held(NamedTuple):
    """What the service holds at a moment, and how busy the machine is."""

    at: float
    memory: int
    descriptors: int
    load: float


class Watch:
    """Looks at a process each second, in a thread."""

    def __init__(self, pid: int) -> None:
        """Prepare; the block watches."""
        self.held: list[Held] = []
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with suppress(OSError):  # it has ended
            while not self._over.wait(1):
                memory, count = resident(self._pid), descriptors(self._pid)
                self.held.append(Held(time.monotonic(), memory, count, os.getloadavg()[0]))


class Suffered(NamedTuple):
    """A fault, and when it began, there was a master again, and all was normal again."""

    name: str
    began: float
    master: float
    over: float


@dataclass
class Soak:
    """What a run shows; times are monotonic seconds.

    Attributes:
        topology: of what.
        began: when the load did.
        seconds: how long it was to last.
        suffered: the faults.
        held: what the service held.
        problems: what went wrong that should not.
        history: of the load.
    """

    topology: str
    began: float
    seconds: float
    suffered: list[Suffered] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    history: History = field(default_factory=History)

    def window(self, share: tuple[float, float]) -> list[Held]:
        """What was held in a part of the run."""
        first, last = (self.began + self.seconds * part for part in share)
        return [held for held in self.held if first <= held.at < last]

    @property
    def requests_between(self) -> int:
        """How many requests were made from the middle of one window to that of the other."""
        first, last = (self.began + self.seconds * sum(share) / 2 for share in WINDOWS)
        starts = [one.start for one in self.history.lookups]
        starts += [one.start for one in self.history.writes]
        return sum(first <= start < last for start in starts)

    @property
    def old_in_calm(self) -> int:
        """How many lookups gave what had been replaced or deleted, with no fault to excuse it."""
        ends = [one.began for one in self.suffered[1:]] + [float("inf")]
        calm = [(one.over, end) for one, end in zip(self.suffered, ends, strict=True)]
        return sum(
            any(first <= old.lookup.start < last for first, last in calm)
            for old in self.history._old(self.history.lookups)
        )

"""The verdict on a history: what was lost, what was untrue, and how long anything took."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from tests.support.topologies.seen import (
    ABSENT,
    Lookup,
    Outcome,
    State,
    Version,
    is_absent,
    is_blocked,
    shown_by,
)

_SHOWN = 5  # failures that a verdict names


class Loss(NamedTuple):
    """A key that does not hold what it should.

    Attributes:
        place: where that was found.
        path: of the key.
        found: what is there: all, or what is shown of it.
        possible: what may be there, by all that was acknowledged.
        overtaken: `found` is an earlier write of unknown fate, which was carried out late.
    """

    place: str
    path: str
    found: State | Version
    possible: frozenset[State]
    overtaken: bool = False

    @property
    def lifted(self) -> bool:
        """Whether the station is shown although it can only be blocked."""
        return shown_by(self.found) is not None and is_blocked(self.possible)

    @property
    def resurrected(self) -> bool:
        """Whether there is a record that was deleted."""
        return not is_absent(self.found) and self.possible == {ABSENT}


class Old(NamedTuple):
    """A lookup that gave what had been replaced, deleted or blocked.

    Attributes:
        lookup: which began and ended after that.
        possible: what could be there then, by all that was acknowledged.
        replaced: when what it gave was replaced by an acknowledged write.
    """

    lookup: Lookup
    possible: frozenset[State]
    replaced: float

    @property
    def deleted(self) -> bool:
        """Whether the record was deleted."""
        return self.possible == {ABSENT}

    @property
    def lifted(self) -> bool:
        """Whether the station was blocked."""
        return self.lookup.version is not None and is_blocked(self.possible)

    @property
    def age(self) -> float:
        """How long ago it was replaced when the answer had come, in seconds."""
        return self.lookup.end - self.replaced

    @property
    def late(self) -> float:
        """How long ago it was replaced when the lookup began, in seconds."""
        return self.lookup.start - self.replaced


def back_to_normal(lookups: Iterable[Lookup], moment: float, calm: int) -> float | None:
    """How long after a moment the last error came before `calm` lookups without any.

    Returns:
        seconds, 0 when there was none; None when there was no such calm.
    """
    last, right = moment, 0
    for lookup in lookups:
        if lookup.start < moment:
            continue
        if not lookup.right:
            last, right = max(last, lookup.end), 0
            continue
        right += 1
        if right == calm:
            return last - moment
    return None


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that this share of all does not exceed; 0 when there are none."""
    ordered = sorted(values)
    return ordered[max(ceil(len(ordered) * share) - 1, 0)] if ordered else 0


@dataclass(frozen=True)
class Verdict:
    """What a history shows from the fault on; times in seconds.

    Attributes:
        writes: how many of each outcome.
        acknowledged: how many of each kind were acknowledged.
        written: how many lookups of what was being written.
        lost: the keys that lost an acknowledged write, for each place that shows it.
        wrong: answers that no fault excuses.
        cached: how many lookups of cached stations.
        cached_failures: those that did not get the station as it is.
        cached_p50: how long half of them took at most.
        cached_p99: how long 99 of 100 took at most.
        cached_slowest: how long the slowest took.
        others: statuses of the other lookups; 0 is no answer.
        others_wrong: those with an answer that is not true.
        slowest_503: the slowest of those that were told 503.
        slowest_other: the slowest of them.
        normal_after: from a master's being there until the other lookups' last error; None: never.
        writes_after: from there until a write was acknowledged; None: never.
        old: lookups that gave what was replaced, deleted or blocked, also in the fault.
        old_when_over: those of them that nothing excuses.
        longest_old: for how long anything was served after its replacement was acknowledged.
        longest_deleted: the same of what was deleted.
        lag_p99: by how much the load itself came late, which is in every latency.
    """

    writes: Counter[Outcome]
    acknowledged: Counter[str]
    written: int
    lost: list[Loss]
    wrong: list[str]
    cached: int
    cached_failures: list[Lookup]
    cached_p50: float
    cached_p99: float
    cached_slowest: float
    others: Counter[int]
    others_wrong: list[Lookup]
    slowest_503: float
    slowest_other: float
    normal_after: float | None
    writes_after: float | None
    old: list[Old]
    old_when_over: list[Old]
    longest_old: float
    longest_deleted: float
    lag_p99: float

    @property
    def lost_paths(self) -> set[str]:
        """The keys that lost an acknowledged write."""
        return {loss.path for loss in self.lost}

    @property
    def lifted_paths(self) -> set[str]:
        """The stations whose acknowledged block was lifted, or that were shown in spite of it."""
        return {loss.path for loss in self.lost if loss.lifted} | {
            one.lookup.path for one in self.old_when_over if one.lifted
        }

    @property
    def resurrected_paths(self) -> set[str]:
        """The keys whose acknowledged deletion was undone, or that were shown in spite of it."""
        return {loss.path for loss in self.lost if loss.resurrected} | {
            one.lookup.path for one in self.deleted_served
        }

    @property
    def taken_away_paths(self) -> set[str]:
        """The stations that were known, and then not answered as they are."""
        return {one.path for one in self.cached_failures}

    @property
    def deleted_served(self) -> list[Old]:
        """Lookups that gave what was deleted, when nothing excuses it."""
        return [one for one in self.old_when_over if one.deleted and one.lookup.version is not None]

    def old_after(self, moment: float, seconds: float) -> list[Old]:
        """Lookups that gave what had been replaced so many seconds before, and after a moment."""
        return [one for one in self.old if one.lookup.start > max(one.replaced, moment) + seconds]

    def __str__(self) -> str:
        """One line."""
        overtaken = len({loss.path for loss in self.lost if loss.overtaken})
        writes = ", ".join(f"{self.writes[outcome]} {outcome.value}" for outcome in Outcome)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.acknowledged.items()))
        statuses = ", ".join(
            f"{count} of {status or 'no answer'}" for status, count in sorted(self.others.items())
        )
        failures = "".join(
            f" ({one.status or 'no answer'} for {one.path} after {_ms(one.took)})"
            for one in self.cached_failures[:_SHOWN]
        )
        return (
            f"writes: {writes} (of these acknowledged: {kinds or 'none'}), "
            f"{len(self.lost_paths)} lost ({overtaken} overtaken), "
            f"{len(self.lifted_paths)} lifted, {len(self.resurrected_paths)} resurrected, "
            f"{len(self.taken_away_paths)} taken away; lookups of these: {self.written}; "
            f"cached: {self.cached}, {len(self.cached_failures)} failed{failures}, "
            f"p50 {_ms(self.cached_p50)}, p99 {_ms(self.cached_p99)}, "
            f"slowest {_ms(self.cached_slowest)}; "
            f"others: {statuses or 'none'}, {len(self.others_wrong)} untrue, "
            f"slowest {_ms(self.slowest_other)}, slowest 503 {_ms(self.slowest_503)}; "
            f"with a master: normal after {_s(self.normal_after)}, "
            f"a write after {_s(self.writes_after)}; "
            f"old answers: {len(self.old_when_over)} when over, "
            f"{len(self.deleted_served)} of them deleted, "
            f"the oldest {_s(self.longest_old)}, deleted {_s(self.longest_deleted)}; "
            f"wrong: {len(self.wrong)}; load late by {_ms(self.lag_p99)}"
        )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _s(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f} s"

"""What a service was asked and answered while its Redis failed, and whether that was right.

A key has one writer, which sends one write after the other. So the last acknowledged write of each
is known, and in the end its record is there or that of a later write of unknown fate: anything else
is a lost write.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from math import ceil
from typing import NamedTuple, TypeAlias

Version: TypeAlias = int | None
"""Which write's record it is; None: there is no record."""

FAULT, MASTER, OVER = "fault", "master", "over"
"""Moments: the fault begins; the topology has a master again; nothing is to be excused any more."""

_SHOWN = 5  # failures that a verdict names


class Outcome(Enum):
    """What a writer knows of its write."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"  # it was not carried out
    UNKNOWN = "unknown"


class Group(Enum):
    """Why a path is looked up."""

    CACHED = "cached"  # looked up before the fault, not written since
    OTHER = "other"  # never looked up before
    WRITTEN = "written"  # of a record that is being written


class Write(NamedTuple):
    """A write; `version` is what the key holds after it.

    A deletion that finds nothing is acknowledged and `missing`.
    """

    path: str
    version: Version
    start: float
    end: float
    outcome: Outcome
    missing: bool = False


class Lookup(NamedTuple):
    """A lookup; `status` is 0 when there was no answer, `expected` what a healthy service says.

    Of WRITTEN ones, `status` 404 has the version None and `expected` says nothing.
    """

    path: str
    group: Group
    start: float
    end: float
    status: int
    version: Version
    expected: tuple[int, Version] = (200, None)

    @property
    def took(self) -> float:
        """In seconds."""
        return self.end - self.start

    @property
    def right(self) -> bool:
        """Whether it was answered as a healthy service answers; WRITTEN ones, at all."""
        if self.group is Group.WRITTEN:
            return self.status in {200, 404}
        return (self.status, self.version) == self.expected


class Loss(NamedTuple):
    """A key that does not hold what it should.

    Attributes:
        place: where that was found.
        path: of the key.
        found: the version there.
        acknowledged: the version that it should hold, or one of `later`.
        later: the versions of later writes whose fate is unknown.
        overtaken: `found` is an earlier write of unknown fate, which was carried out late.
    """

    place: str
    path: str
    found: Version
    acknowledged: Version
    later: tuple[Version, ...]
    overtaken: bool


class Old(NamedTuple):
    """A lookup that gave what had been replaced or deleted, `age` seconds ago."""

    lookup: Lookup
    deleted: bool
    age: float


@dataclass
class History:
    """All that was asked and answered.

    Attributes:
        writes: those of a key in their order.
        lookups: in the order of their ends.
        marks: moments, on the clock of the rest.
        found: what each place (Redis, each service) had of each key in the end.
        wrong: answers that are wrong whatever Redis does.
        lags: by how many seconds the load itself came late.
        slack: seconds in which a write may be unseen by a service that did not make it.
    """

    writes: list[Write] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    found: dict[str, dict[str, Version]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    slack: float = 0

    def check(self, *, calm: int = 20) -> "Verdict":
        """Judge it.

        Args:
            calm: how many lookups in a row without an error are back to normal.
        """
        fault = self.marks.get(FAULT, 0)
        lookups = [one for one in self.lookups if one.start >= fault]
        lookups.sort(key=lambda one: one.start)
        cached = [one for one in lookups if one.group is Group.CACHED]
        others = [one for one in lookups if one.group is Group.OTHER]
        old = list(self._old(lookups))
        over = self.marks.get(OVER, float("inf"))
        return Verdict(
            writes=Counter(write.outcome for write in self.writes if write.start >= fault),
            lost=[
                *(loss for place in self.found for loss in self._lost(place)),
                *self._missed(),
            ],
            wrong=self.wrong + list(self._refused_but_done()),
            cached=len(cached),
            cached_failures=[one for one in cached if not one.right],
            cached_p50=percentile([one.took for one in cached], 0.50),
            cached_p99=percentile([one.took for one in cached], 0.99),
            cached_slowest=max((one.took for one in cached), default=0),
            others=Counter(one.status for one in others),
            others_wrong=[one for one in others if not one.right and one.status in {200, 404}],
            slowest_503=max((one.took for one in others if one.status == 503), default=0),
            slowest_other=max((one.took for one in others), default=0),
            normal_after=back_to_normal(others, self.marks.get(MASTER, fault), calm),
            writes_after=self._writes_after(self.marks.get(MASTER, fault)),
            old_when_over=[one for one in old if one.lookup.start >= over],
            longest_old=max((one.age for one in old), default=0),
            longest_deleted=max((one.age for one in old if one.deleted), default=0),
            lag_p99=percentile(self.lags, 0.99),
        )

    def _lost(self, place: str) -> Iterator[Loss]:
        found = self.found[place]
        for path, writes in self._by_path().items():
            if path not in found:
                raise ValueError(f"{place} was not asked for {path}")
            if loss := _loss(place, path, writes, found[path]):
                yield loss

    def _missed(self) -> Iterator[Loss]:
        """Yield what was not there when it was to be deleted; in the end that cannot be seen."""
        for path, writes in self._by_path().items():
            for at, write in enumerate(writes):
                if write.missing and (loss := _loss("DELETE", path, writes[:at], None)):
                    yield loss

    def _by_path(self) -> dict[str, list[Write]]:
        writes: defaultdict[str, list[Write]] = defaultdict(list)
        for write in self.writes:
            writes[write.path].append(write)
        return writes

    def _refused_but_done(self) -> Iterator[str]:
        refused = {
            (write.path, write.version)
            for write in self.writes
            if write.outcome is Outcome.REFUSED and write.version is not None
        }
        for place, found in self.found.items():
            for path, version in found.items():
                if (path, version) in refused:
                    yield f"{place}: {path} has {version}, which was refused"
        for lookup in self.lookups:
            if lookup.status == 200 and (lookup.path, lookup.version) in refused:
                yield f"{lookup.path} gave {lookup.version}, which was refused"

    def _old(self, lookups: Iterable[Lookup]) -> Iterator[Old]:
        """Yield what was looked up after it had been replaced."""
        by_path = self._by_path()
        ends = {path: _acknowledgements(writes) for path, writes in by_path.items()}
        for lookup in lookups:
            if lookup.group is not Group.WRITTEN or lookup.status not in {200, 404}:
                continue
            writes = by_path.get(lookup.path, [])
            acknowledged = ends.get(lookup.path, [])
            seen = bisect_right(acknowledged, (lookup.start - self.slack, len(writes))) - 1
            last = acknowledged[seen][1] if seen >= 0 else -1
            allowed = {
                write.version
                for write in writes[last + 1 :]
                if write.start <= lookup.end and write.outcome is not Outcome.REFUSED
            }
            allowed.add(writes[last].version if last >= 0 else None)
            if lookup.version not in allowed:
                current = writes[last] if last >= 0 else None
                yield Old(
                    lookup,
                    deleted=current is not None and current.version is None,
                    age=lookup.end - _replaced(writes, lookup, last),
                )

    def _writes_after(self, moment: float) -> float | None:
        """How long after a moment the first write that began later was acknowledged."""
        ends = [
            write.end
            for write in self.writes
            if write.start >= moment and write.outcome is Outcome.ACKNOWLEDGED
        ]
        return min(ends) - moment if ends else None


def _loss(place: str, path: str, writes: list[Write], found: Version) -> Loss | None:
    """What a key lost that holds `found` after these writes."""
    last = _last_acknowledged(writes)
    acknowledged = writes[last].version if last >= 0 else None
    unknown = [
        (at, write.version) for at, write in enumerate(writes) if write.outcome is Outcome.UNKNOWN
    ]
    later = tuple(version for at, version in unknown if at > last)
    if found in {acknowledged, *later}:
        return None
    overtaken = found in {version for _, version in unknown}
    return Loss(place, path, found, acknowledged, later, overtaken)


def _last_acknowledged(writes: list[Write]) -> int:
    """The place of the last one, -1 when there is none."""
    return max(
        (at for at, write in enumerate(writes) if write.outcome is Outcome.ACKNOWLEDGED),
        default=-1,
    )


def _acknowledgements(writes: list[Write]) -> list[tuple[float, int]]:
    """When each was acknowledged, and which it was."""
    return [
        (write.end, at) for at, write in enumerate(writes) if write.outcome is Outcome.ACKNOWLEDGED
    ]


def _replaced(writes: list[Write], lookup: Lookup, last: int) -> float:
    """When the version that a lookup gave was replaced by an acknowledged write."""
    held = max(
        (at for at, write in enumerate(writes[:last]) if write.version == lookup.version),
        default=-1,
    )
    ends = (
        write.end for write in writes[held + 1 : last + 1] if write.outcome is Outcome.ACKNOWLEDGED
    )
    return next(ends, lookup.start)


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
        old_when_over: lookups that gave what was replaced or deleted, when nothing excuses it.
        longest_old: for how long anything was served after its replacement was acknowledged.
        longest_deleted: the same of what was deleted.
        lag_p99: by how much the load itself came late, which is in every latency.
    """

    writes: Counter[Outcome]
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
    old_when_over: list[Old]
    longest_old: float
    longest_deleted: float
    lag_p99: float

    @property
    def lost_paths(self) -> set[str]:
        """The keys that lost an acknowledged write."""
        return {loss.path for loss in self.lost}

    @property
    def deleted_served(self) -> list[Old]:
        """Lookups that gave what was deleted, when nothing excuses it."""
        return [one for one in self.old_when_over if one.deleted]

    def __str__(self) -> str:
        """One line."""
        overtaken = len({loss.path for loss in self.lost if loss.overtaken})
        writes = ", ".join(f"{self.writes[outcome]} {outcome.value}" for outcome in Outcome)
        statuses = ", ".join(
            f"{count} of {status or 'no answer'}" for status, count in sorted(self.others.items())
        )
        failures = "".join(
            f" ({one.status or 'no answer'} for {one.path} after {_ms(one.took)})"
            for one in self.cached_failures[:_SHOWN]
        )
        return (
            f"writes: {writes}, {len(self.lost_paths)} lost ({overtaken} overtaken); "
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

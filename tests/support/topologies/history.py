"""What a service was asked and answered while its Redis failed, and whether that was right.

A key has one writer, which sends one write after the other, perhaps through several processes. So
it is known what each acknowledged write left, and in the end that is there, or what later writes of
unknown fate made of it: anything else is a lost write, a lifted block or a deleted record that came
back.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import ceil
from typing import NamedTuple, TypeAlias

Version: TypeAlias = int | None
"""Which write's record it is; None: there is no record, or none to be shown."""

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


class State(NamedTuple):
    """What a key holds; a station that is blocked is not shown."""

    version: Version
    blocked: bool = False

    @property
    def shown(self) -> Version:
        """What a lookup gives."""
        return None if self.blocked else self.version


ABSENT = State(None)


class Write(NamedTuple):
    """A write; `version` is what the key holds after it, of which a block stays.

    One that blocks or allows (`blocks`) leaves the version as it is. A deletion, a block or a
    permission that finds no record is acknowledged and `missing`.
    """

    path: str
    version: Version
    start: float
    end: float
    outcome: Outcome
    missing: bool = False
    blocks: bool | None = None

    @property
    def kind(self) -> str:
        """What it does: `register`, `delete`, `block` or `allow`."""
        if self.blocks is not None:
            return "block" if self.blocks else "allow"
        return "delete" if self.version is None else "register"

    def after(self, before: State) -> State:
        """What the key holds when it was carried out."""
        if self.blocks is None:
            return State(self.version, self.version is not None and before.blocked)
        return before if before.version is None else State(before.version, self.blocks)

    def agrees_with(self, before: State) -> bool:
        """Whether it was answered as one is that finds this."""
        if self.outcome is not Outcome.ACKNOWLEDGED or self.kind == "register":
            return True
        return self.missing == (before.version is None)


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
        return _shown(self.found) is not None and _blocked(self.possible)

    @property
    def resurrected(self) -> bool:
        """Whether there is a record that was deleted."""
        return not _is_absent(self.found) and self.possible == {ABSENT}


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
        return self.lookup.version is not None and _blocked(self.possible)

    @property
    def age(self) -> float:
        """How long ago it was replaced when the answer had come, in seconds."""
        return self.lookup.end - self.replaced

    @property
    def late(self) -> float:
        """How long ago it was replaced when the lookup began, in seconds."""
        return self.lookup.start - self.replaced


@dataclass
class History:
    """All that was asked and answered.

    Attributes:
        writes: those of a key in their order.
        lookups: in the order of their ends.
        marks: moments, on the clock of the rest.
        found: what each place (Redis: all, each service: what it shows) had of each key in the end.
        wrong: answers that are wrong whatever Redis does.
        lags: by how many seconds the load itself came late.
        slack: seconds in which a write may be unseen by a service that did not make it.
    """

    writes: list[Write] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    found: dict[str, Mapping[str, State | Version]] = field(default_factory=dict)
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
            acknowledged=Counter(
                write.kind
                for write in self.writes
                if write.start >= fault and write.outcome is Outcome.ACKNOWLEDGED
            ),
            written=sum(one.group is Group.WRITTEN for one in lookups),
            lost=[
                *(loss for place in self.found for loss in self._lost(place)),
                *self._contradictions(),
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
            old=old,
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

    def _contradictions(self) -> Iterator[Loss]:
        """Yield what was not there when it was deleted or blocked, or was there and must not be.

        In the end that cannot be seen.
        """
        for path, writes in self._by_path().items():
            before = _states(writes)
            for write, possible in zip(writes, before, strict=False):
                if not any(map(write.agrees_with, possible)):
                    found = None if write.missing else State(_ANY)
                    yield Loss(write.kind, path, found, possible)

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
        states = {path: _states(writes) for path, writes in by_path.items()}
        ends = {path: _acknowledgements(writes) for path, writes in by_path.items()}
        for lookup in lookups:
            if lookup.group is not Group.WRITTEN or lookup.status not in {200, 404}:
                continue
            writes = by_path.get(lookup.path, [])
            acknowledged = ends.get(lookup.path, [])
            seen = bisect_right(acknowledged, (lookup.start - self.slack, len(writes))) - 1
            last = acknowledged[seen][1] if seen >= 0 else -1
            possible = states[lookup.path][last + 1] if writes else frozenset({ABSENT})
            later = (write for write in writes[last + 1 :] if write.start <= lookup.end)
            if lookup.version not in _all_shown(possible, later):
                replaced = _replaced(writes, states.get(lookup.path, []), lookup, last)
                yield Old(lookup, possible, replaced)

    def _writes_after(self, moment: float) -> float | None:
        """How long after a moment the first write that began later was acknowledged."""
        ends = [
            write.end
            for write in self.writes
            if write.start >= moment and write.outcome is Outcome.ACKNOWLEDGED
        ]
        return min(ends) - moment if ends else None


_ANY = -1  # the version of a record of which only that it is there is known


def _states(writes: list[Write]) -> list[frozenset[State]]:
    """What a key can hold before each write, and after the last."""
    states = [frozenset({ABSENT})]
    for write in writes:
        before = states[-1]
        match write.outcome:
            case Outcome.REFUSED:
                after = before
            case Outcome.UNKNOWN:
                after = before | {write.after(state) for state in before}
            case Outcome.ACKNOWLEDGED:
                found = {state for state in before if write.agrees_with(state)} or before
                after = frozenset({write.after(state) for state in found})
        states.append(after)
    return states


def _all_shown(possible: frozenset[State], later: Iterable[Write]) -> set[Version]:
    """What may be shown when later writes may have been carried out."""
    states = set(possible)
    for write in later:
        if write.outcome is not Outcome.REFUSED:
            states |= {write.after(state) for state in states}
    return {state.shown for state in states}


def _shown(found: State | Version) -> Version:
    return found.shown if isinstance(found, State) else found


def _is_absent(found: State | Version) -> bool:
    return found is None or found == ABSENT


def _blocked(possible: frozenset[State]) -> bool:
    """Whether a station can only be blocked, if it is there."""
    there = [state for state in possible if state.version is not None]
    return bool(there) and all(state.blocked for state in there)


def _loss(place: str, path: str, writes: list[Write], found: State | Version) -> Loss | None:
    """What a key lost that holds `found` after these writes."""
    possible = _states(writes)[-1]
    if found in (possible if isinstance(found, State) else {state.shown for state in possible}):
        return None
    unknown = {write.version for write in writes if write.outcome is Outcome.UNKNOWN}
    version = found.version if isinstance(found, State) else found
    return Loss(place, path, found, possible, overtaken=version in unknown)


def _acknowledgements(writes: list[Write]) -> list[tuple[float, int]]:
    """When each was acknowledged, and which it was."""
    return [
        (write.end, at) for at, write in enumerate(writes) if write.outcome is Outcome.ACKNOWLEDGED
    ]


def _replaced(
    writes: list[Write], states: list[frozenset[State]], lookup: Lookup, last: int
) -> float:
    """When what a lookup gave was replaced by an acknowledged write."""
    held = max(
        (at for at in range(last + 1) if lookup.version in {one.shown for one in states[at]}),
        default=0,
    )
    ends = (write.end for write in writes[held : last + 1] if write.outcome is Outcome.ACKNOWLEDGED)
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

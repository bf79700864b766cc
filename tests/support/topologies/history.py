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

from tests.support.topologies.seen import (
    ABSENT,
    FAULT,
    MASTER,
    OVER,
    Group,
    Lookup,
    Outcome,
    State,
    Version,
    Write,
)
from tests.support.topologies.verdict import Loss, Old, Verdict, back_to_normal, percentile


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

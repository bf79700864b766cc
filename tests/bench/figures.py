"""The figures that are wanted, held against what was measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from .cache_memory import Memory
from .cases import SERVICE, SERVICE_HIT, STANDALONE
from .preload import SCRIPT
from .sample import CPU, WALL, Cost, Sample, ratios
from .servers import PRELOADS

Measured = Mapping[str, Mapping[str, list[Sample]]]
"""Samples by case and row."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the service takes for one answer, at most this multiple of another row's.

    Attributes:
        case: which is measured.
        base: the other row.
        at_most: the multiple.
        of: what is compared.
    """

    case: str
    base: str
    at_most: float
    of: Cost = CPU


WANTED = (
    Wanted("hit", "nginx", 1.1),
    Wanted("hit", "aiohttp", 0.1),
    Wanted("read-through", "nginx", 1.8),
    Wanted("read-through", "webdis", 0.8),
    Wanted("new-connection", "nginx", 1.2),
    Wanted("new-connection-kept", "nginx", 1.2),
    Wanted("new-tls-connection", "nginx", 1.5),
    Wanted("cold-storm", "nginx", 1.25),
    Wanted("preload", SCRIPT, 2, WALL),
    Wanted("unknown", SERVICE_HIT, 1.0),
    Wanted("write", "aiohttp", 1.0),
    Wanted("cluster", STANDALONE, 1.3),
    Wanted("cluster-read-through", STANDALONE, 1.3),
)
BYTES_PER_STATION = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A wanted figure and the measured one; None when nothing measured it."""

    case: str
    what: str
    at_most: float
    measured: float | None

    @property
    def verdict(self) -> str:
        """PASS, FAIL or why neither."""
        if self.measured is None:
            return "not measured"
        return "PASS" if self.measured <= self.at_most else "FAIL"


def figures(measured: Measured, memory: Memory | None) -> list[Figure]:
    """Every figure of the cases that ran."""
    found = [
        figure
        for case, rows in measured.items()
        for figure in (
            _wrong(case, rows[SERVICE]),
            *_ratios(case, rows),
            *_absolutes(case, rows[SERVICE]),
        )
    ]
    return found + (list(_memory(memory)) if memory else [])


def _wrong(case: str, samples: list[Sample]) -> Figure:
    return Figure(
        case=case,
        what="wrong or missing answers",
        at_most=0,
        measured=sum(sample.wrong for sample in samples),
    )


def _ratios(case: str, rows: Mapping[str, list[Sample]]) -> Iterator[Figure]:
    for wanted in WANTED:
        if wanted.case == case:
            base = rows.get(wanted.base)
            yield Figure(
                case=case,
                what=f"{wanted.of.name} / {wanted.base}",
                at_most=wanted.at_most,
                measured=median(ratios(rows[SERVICE], base, wanted.of)) if base else None,
            )


def _absolutes(case: str, samples: list[Sample]) -> Iterator[Figure]:
    if case == "outage":
        p99 = median(sample.p99_ms for sample in samples)
        yield Figure(case=case, what="p99 in ms", at_most=20, measured=p99)
    if case == "unknown-flood" and PRELOADS:
        commands = median(sample.commands for sample in samples)
        yield Figure(case=case, what="commands of Redis / lookup", at_most=0.01, measured=commands)


def _memory(memory: Memory) -> Iterator[Figure]:
    yield Figure(
        case="memory",
        what=f"bytes per cached station, {memory.stations} cached",
        at_most=BYTES_PER_STATION,
        measured=memory.bytes_per_station,
    )
    yield Figure(
        case="memory",
        what=f"MiB for {memory.certificates} certificates",
        at_most=memory.cache_bytes / 2**20,
        measured=memory.certificate_bytes / 2**20,
    )

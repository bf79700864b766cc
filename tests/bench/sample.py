"""What one run measures, and what several make of it."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

_QUIET = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One server under one load for some seconds.

    Attributes:
        cpu_us: CPU time of the server's processes for one answer, in microseconds.
        per_second: Answers a second.
        p50_ms: Half of the answers took at most this long, in milliseconds.
        p99_ms: As `p50_ms`, for 99 of 100.
        p999_ms: As `p50_ms`, for 999 of 1,000.
        busy: Share of the run in which the server's core worked for it; well below 1 when the
            load could not come faster.
        others: Share of the run that other processes and machines took of the server's core.
        answered: Answers counted.
        wrong: Answers with another status than expected, and connections that broke.
        connections: TCP connections opened for each answer.
        commands: Commands that Redis ran for each answer, its probes included; 0 where nothing
            counted them.
    """

    cpu_us: float
    per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    busy: float
    others: float
    answered: int
    wrong: int
    connections: float
    commands: float = 0

    @property
    def disturbed(self) -> bool:
        """Whether the figures are off because others used the server's core."""
        return self.others > _QUIET


@dataclass(frozen=True, slots=True)
class Cost:
    """What one answer takes."""

    name: str
    of: Callable[[Sample], float]


CPU = Cost("CPU per lookup", lambda sample: sample.cpu_us)
WALL = Cost("wall time", lambda sample: 1 / sample.per_second)


def ratios(measured: list[Sample], base: list[Sample], cost: Cost = CPU) -> list[float]:
    """The cost of one answer as a multiple of the base's, round by round."""
    return [cost.of(one) / cost.of(other) for one, other in zip(measured, base, strict=True)]


def medians(samples: list[Sample]) -> dict[str, float]:
    """Median of each attribute over the rounds."""
    return {
        name: median(getattr(sample, name) for sample in samples)
        for name in Sample.__dataclass_fields__
    }

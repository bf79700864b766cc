"""What it costs lookups that stations which are turned away are listed.

    .venv/bin/python -m tests.bench.refused_cost

A service answers 404 under the load of the benchmark's cases `unknown` and `unknown-flood`; in the
latter no station is asked for twice. For a tenth of a second it is the service as it is, for the
next one that notes no refusal at all, and neither is always the first of a pair
(`peers/refused_in_turns.py`): turns that are so short have the same of whatever else the machine
does. It prints the ratio of their CPU time per lookup: the median of the pairs, and the interval
that has the true median with a probability of at least 95 %, which follows from the order of the
ratios alone. It exits with 1 where the median is above what is wanted and the interval has not 1.

With `--beside DIRECTORY` the service of another checkout of this project is measured in the same
way, after this one.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import click
import orjson

from .cases import FLOOD_STATIONS, UNKNOWN_STATIONS
from .machine import Cores, Store, servers, store, take_cores
from .processes import CannotRun
from .sample import Sample
from .servers import AUTH, Place, Server, csms_redis
from .stations import UNKNOWN_PATTERN
from .wrk import Load, measure

WANTED = 1.03
LOADS = {"unknown": UNKNOWN_STATIONS, "unknown-flood": FLOOD_STATIONS}
_SCRIPT = str(Path(__file__).parent / "peers" / "refused_in_turns.py")
_LEAST_LOOKUPS = 200  # in a turn; with fewer there was no load for a part of it
_RISK = 0.05


class Turn(NamedTuple):
    """A tenth of a second of the service.

    Attributes:
        notes: whether it noted refusals.
        seconds: of CPU time that it took.
        lookups: that it answered.
    """

    notes: bool
    seconds: float
    lookups: int

    @property
    def us(self) -> float:
        """Microseconds of CPU time for a lookup."""
        return self.seconds / self.lookups * 1e6


Pair = tuple[Turn, Turn]
"""A turn that noted, and one beside it that did not."""


def pairs(turns: Sequence[Turn]) -> list[Pair]:
    """The pairs under load."""
    found = []
    for one, other in zip(turns[::2], turns[1::2], strict=False):
        if min(one.lookups, other.lookups) >= _LEAST_LOOKUPS:
            found.append((one, other) if one.notes else (other, one))
    return found


def interval(found: Sequence[float]) -> tuple[float, float]:
    """Between which two of the figures the true median is, with a probability of 95 %.

    Fewer than six cannot tell; of them it is the least and the greatest.
    """
    ordered = sorted(found)
    most_left_out = (len(ordered) - 1) // 2
    left_out = max(
        (number for number in range(most_left_out + 1) if _missed(number, len(ordered)) <= _RISK),
        default=0,
    )
    return ordered[left_out], ordered[-1 - left_out]


def _missed(left_out: int, of: int) -> float:
    """How probable it is that the true median is among so many at either end, or beyond."""
    ways = sum(comb(of, number) for number in range(left_out + 1))
    return ways / 2.0 ** (of - 1)


def _service(turns: Path, beside: Path | None) -> Server:
    service = csms_redis()

    def environment(place: Place) -> Mapping[str, str]:
        more = {} if beside is None else {"PYTHONPATH": str(beside.resolve())}
        return {**service.environment(place), "REFUSED_IN_TURNS": str(turns), **more}

    return replace(
        service, command=lambda _: [sys.executable, _SCRIPT, "serve"], environment=environment
    )


def run(
    case: str, cores: Cores, kept: Store, *, seconds: int, beside: Path | None
) -> tuple[list[Pair], Sample]:
    """Measure a service; the pairs, and what wrk saw."""
    load = Load(pattern=AUTH % UNKNOWN_PATTERN, count=LOADS[case], status=404)
    with TemporaryDirectory(prefix="bench-") as directory:
        turns = Path(directory) / "turns"
        with servers(cores, kept, [_service(turns, beside)]) as (started,):
            sample = measure(load, port=started.port, pid=started.pid, seconds=seconds)
        lines = turns.read_bytes().splitlines()
    return pairs([Turn(*orjson.loads(line)) for line in lines]), sample


def _told(name: str, found: Sequence[Pair], sample: Sample) -> bool:
    """Print what a service costs more; whether that is as wanted."""
    if not found:
        raise CannotRun("there was no load")
    ratios = [notes.us / without.us for notes, without in found]
    low, high = interval(ratios)
    reached = median(ratios) <= WANTED or low <= 1
    noting, without = (median(pair[at].us for pair in found) for at in (0, 1))
    click.echo(
        f"{name}, {len(found)} pairs: {median(ratios):.3f} ({low:.3f} to {high:.3f}); "
        f"{noting:.2f} µs of CPU time per lookup, {without:.2f} µs without; "
        f"{sample.per_second:,.0f} lookups/s; others had {sample.others:.0%} of the core; "
        f"{sample.wrong} wrong; wanted at most {WANTED}, or an interval with 1: "
        f"{'PASS' if reached else 'FAIL'}"
    )
    return reached


@click.command()
@click.option("--case", "cases", multiple=True, type=click.Choice([*LOADS]), default=[*LOADS])
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seconds", type=click.IntRange(1), default=12, show_default=True)
@click.option(
    "--beside",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another checkout of this project.",
)
@click.option(
    "--assert/--no-assert",
    "hold",
    default=True,
    help="Exit with 1 when the wanted figure is not reached.",
)
def main(
    *, cases: tuple[str, ...], rounds: int, seconds: int, beside: Path | None, hold: bool
) -> None:
    """Measure, print the figures, and hold them against what is wanted."""
    cores = take_cores()
    reached = True
    services = [None, beside] if beside else [None]
    with store(cores) as kept:
        for case in cases:
            found: dict[Path | None, list[Pair]] = {each: [] for each in services}
            for _ in range(rounds):
                for each in services:
                    more, sample = run(case, cores, kept, seconds=seconds, beside=each)
                    found[each] += more
            for each in services:
                is_reached = _told(f"{case}, beside" if each else case, found[each], sample)
                reached = reached and (is_reached or each is not None)
    sys.exit(hold and not reached)


if __name__ == "__main__":
    main()

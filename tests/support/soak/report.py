"""The verdict on a soak, and its report."""

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tests.support.judge import CACHED_P99, LATE, UNCACHED_503
from tests.support.measure import say
from tests.support.soak.seen import WINDOWS, Held, Soak
from tests.support.topologies.clients import ANSWER
from tests.support.topologies.seen import Group, Lookup, Outcome, Write
from tests.support.topologies.verdict import Verdict, back_to_normal

NL = "\n"  # which Python 3.11 does not take inside of an f-string
REPORT = Path(__file__).parents[2] / "faults" / "soak-report.md"
WHOLE = 30.0  # minutes of a run whose report is kept
ENOUGH = 20.0  # minutes of a run in which the first window begins when the caches are full
CACHE_ENTRIES, UNKNOWN_ENTRIES = 3000, 200  # few, so that they are full within minutes
MORE_MEMORY = 4 * 2**20
MORE_DESCRIPTORS = 10
CALM = 60  # lookups without an error, in a row: two seconds of them
CACHED_RATE, OTHER_RATE, WRITTEN_RATE, WRITE_RATE = 100.0, 30.0, 30.0, 20.0  # in each second


def _stuck(run: Soak) -> list[Lookup | Write]:
    lookups: list[Lookup | Write] = [one for one in run.history.lookups if one.status == 0]
    return lookups + [one for one in run.history.writes if one.end - one.start >= ANSWER]


def _growth(run: Soak) -> tuple[float, float, float, float]:
    """Median memory and descriptors of the first window and of the last."""
    early, late = (run.window(share) for share in WINDOWS)
    return (
        median(held.memory for held in early),
        median(held.memory for held in late),
        median(held.descriptors for held in early),
        median(held.descriptors for held in late),
    )


def problems_of(run: Soak, verdict: Verdict, faults: Sequence[str]) -> list[str]:
    """What must not be; each with a few examples."""
    found: dict[str, Sequence[object]] = {
        "acknowledged writes lost": verdict.lost,
        "wrong answers": verdict.wrong,
        "other lookups with a wrong answer": verdict.others_wrong,
        "lookups of cached stations failed": verdict.cached_failures,
        "requests without an answer": _stuck(run),
        "stations whose block was lifted": sorted(verdict.lifted_paths),
        "deleted records that came back": sorted(verdict.resurrected_paths),
    }
    problems = [f"{len(what)} {name}: {what[:3]}" for name, what in found.items() if what]
    if old := run.old_in_calm:
        problems.append(f"{old} old answers while there was no fault")
    if missing := {fault for fault in faults if fault not in {one.name for one in run.suffered}}:
        problems.append(f"never happened: {missing}")
    if not verdict.cached:
        problems.append("no cached station was looked up")
    if verdict.cached_p99 > CACHED_P99 + LATE * verdict.lag_p99:
        problems.append(f"lookups of cached stations took {verdict.cached_p99:.3f} s (p99)")
    if verdict.slowest_503 > UNCACHED_503:
        problems.append(f"a 503 took {verdict.slowest_503:.3f} s")
    memory, memory_late, count, count_late = _growth(run)
    if run.seconds >= ENOUGH * 60:
        if memory_late - memory > MORE_MEMORY:
            problems.append(f"memory grew from {_mb(memory)} to {_mb(memory_late)} MiB")
        if count_late - count > MORE_DESCRIPTORS:
            problems.append(f"descriptors grew from {count:.0f} to {count_late:.0f}")
    return problems


def keep(run: Soak, report: str) -> None:
    """Print it, and write that of a whole run to its place in the file."""
    say(report)
    if run.seconds < WHOLE * 60:
        return
    _, *sections = (REPORT.read_text("utf-8") if REPORT.exists() else "").split("\n## ")
    others = [one for one in sections if not one.startswith(run.topology)]
    first = "# Soak\n\nWritten by `tests/faults/test_soak.py`; one section for each topology.\n"
    whole = "\n## ".join([first, *(one.rstrip() + "\n" for one in sorted([*others, report]))])
    REPORT.write_text(whole, "utf-8")


def report_on(run: Soak, verdict: Verdict, busy: float) -> str:
    """A section, from its title on, without the #s."""
    history, minutes = run.history, run.seconds / 60
    memory, memory_late, count, count_late = _growth(run)
    windows = [f"{first * minutes:g} to {last * minutes:g}" for first, last in WINDOWS]
    writes = ", ".join(f"{verdict.writes[outcome]} {outcome.value}" for outcome in Outcome)
    kinds = ", ".join(f"{count} of {kind}" for kind, count in sorted(verdict.acknowledged.items()))
    others = ", ".join(f"{times} of {status}" for status, times in sorted(verdict.others.items()))
    between = max(run.requests_between, 1)
    slowest_write = max((one.end - one.start for one in history.writes), default=0)
    faults = Counter(one.name for one in run.suffered)
    only = run.topology.lower()
    judged = "" if minutes >= ENOUGH else " Not judged: this run is too short for full caches."
    text = f"""\
{run.topology}, {minutes:g} minutes

**{"NOT as it must be." if run.problems else "All holds."}**
{"".join(f"{NL}- Problem: {problem}" for problem in run.problems)}
- Ended {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}:
  `SOAK_MINUTES={minutes:g} .venv/bin/pytest -m slow tests/faults/test_soak.py -k {only}`.
- {_machine()}; load average before it {busy:.1f}. {os.environ.get("SOAK_NOTE", "")}
- Load in each second: {CACHED_RATE:.0f} lookups of 200 cached stations, {OTHER_RATE:.0f} of
  stations that were never asked for (a third of them unknown), {WRITTEN_RATE:.0f} of records that
  are being written; {WRITE_RATE:.0f} writes, acknowledged when all replicas of a master have them.
- Faults: {", ".join(f"{name} ({times})" for name, times in faults.items())}.
- Writes: {writes}; acknowledged ones lost: {len(verdict.lost_paths)}, blocks lifted:
  {len(verdict.lifted_paths)}, deleted records back: {len(verdict.resurrected_paths)}. Acknowledged
  were {kinds}. The slowest took {_ms(slowest_write)} (1 s is allowed for a write, and 1 s for the
  replicas).
- Cached stations: {verdict.cached} lookups, {len(verdict.cached_failures)} failed; p50
  {_ms(verdict.cached_p50)}, p99 {_ms(verdict.cached_p99)}, slowest {_ms(verdict.cached_slowest)};
  in this is by how much the load itself came late, p99 {_ms(verdict.lag_p99)}.
- Stations never asked for: {others}; {len(verdict.others_wrong)} untrue; slowest 503
  {_ms(verdict.slowest_503)}.
- Requests without an answer: {len(_stuck(run))}. Wrong answers: {len(verdict.wrong)}. Old answers
  while there was no fault: {run.old_in_calm}. During a fault the oldest answer had been replaced
  {verdict.longest_old:.1f} s before, or deleted {verdict.longest_deleted:.1f} s before.
- Resident memory, median of minutes {windows[0]}: {_mb(memory)} MiB, of minutes {windows[1]}:
  {_mb(memory_late)} MiB; {(memory_late - memory) / 1024:+.0f} KiB over {between} requests, so
  {(memory_late - memory) / between:+.1f} bytes for each. Allowed: {MORE_MEMORY >> 20} MiB more, for
  what Python's allocator keeps of the largest burst of waiting requests, which may come
  late.{judged}
- Descriptors, likewise: {count:.0f} and {count_late:.0f}, at most
  {max((held.descriptors for held in run.held), default=0)}. Allowed: {MORE_DESCRIPTORS} more, for
  connections that the load keeps open.{judged}
- The near cache was held to {CACHE_ENTRIES} entries, and unknown stations to {UNKNOWN_ENTRIES} for
  each master, which are full before memory is first measured; what is unknown is also forgotten
  with each connection. With the defaults (250,000 and 100,000) each new station adds some 365
  bytes, throughout the run.

Lookups by status and writes by outcome; the slowest answers in milliseconds; *normal*: seconds from
when there was a master again until the last error of a lookup; memory, descriptors and load average
are medians.
"""
    return "\n".join([text, *_table(run)])


_COLUMNS = (
    "min", "fault", "200", "404", "503", "none", "acknowledged", "refused", "unknown",
    "cached", "others", "write", "normal", "MiB", "descriptors", "load",
)  # fmt: skip


def _table(run: Soak) -> Iterator[str]:
    yield f"| {' | '.join(_COLUMNS)} |"
    yield f"|{'---|' * len(_COLUMNS)}"
    lookups: dict[int, list[Lookup]] = {}
    writes: dict[int, list[Write]] = {}
    held: dict[int, list[Held]] = {}
    for lookup in run.history.lookups:
        lookups.setdefault(int((lookup.start - run.began) // 60), []).append(lookup)
    for write in run.history.writes:
        writes.setdefault(int((write.start - run.began) // 60), []).append(write)
    for each in run.held:
        held.setdefault(int((each.at - run.began) // 60), []).append(each)
    for minute in range(int(run.seconds // 60)):
        cells = _row(
            run, minute, lookups.get(minute, []), writes.get(minute, []), held.get(minute, [])
        )
        yield f"| {' | '.join(cells)} |"


def _row(
    run: Soak, minute: int, lookups: list[Lookup], writes: list[Write], held: list[Held]
) -> Iterator[str]:
    here = [one for one in run.suffered if (one.began - run.began) // 60 == minute]
    statuses = Counter(one.status for one in lookups)
    outcomes = Counter(one.outcome for one in writes)
    others = [one for one in run.history.lookups if one.group is Group.OTHER] if here else []
    yield f"{minute}"
    yield ", ".join(one.name for one in here)
    yield from (f"{statuses[status]}" for status in (200, 404, 503, 0))
    yield from (f"{outcomes[outcome]}" for outcome in Outcome)
    yield _slowest([one.took for one in lookups if one.group is Group.CACHED])
    yield _slowest([one.took for one in lookups if one.group is not Group.CACHED])
    yield _slowest([one.end - one.start for one in writes])
    normal = [back_to_normal(_after(others, one.master), one.master, CALM) for one in here]
    yield ", ".join("never" if after is None else f"{after:.1f}" for after in normal)
    yield _mb(median(one.memory for one in held)) if held else "?"
    yield f"{median(one.descriptors for one in held):.0f}" if held else "?"
    yield f"{median(one.load for one in held):.1f}" if held else "?"


def _after(lookups: list[Lookup], moment: float) -> list[Lookup]:
    return sorted((one for one in lookups if one.start >= moment), key=lambda one: one.start)


def _slowest(seconds: list[float]) -> str:
    return f"{max(seconds) * 1000:.0f}" if seconds else ""


def _mb(size: float) -> str:
    return f"{size / 2**20:.1f}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _commit() -> str:
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=REPORT.parent,
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
    return "unknown"


def _machine() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                return f"{os.cpu_count()} cores, {name}, {platform.system()} {platform.release()}"
    return f"{os.cpu_count()} cores, {platform.platform()}"

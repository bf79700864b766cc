"""Mixed load for long, a fault every minute: what was answered, and what the service holds."""

import os
import platform
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Generic, NamedTuple, Self, TypeVar

import hiredis
from redis.crc import key_slot

from tests.conftest import Service, running_service
from tests.support.judge import CACHED_P99, LATE, UNCACHED_503, until_ready
from tests.support.measure import descriptors, resident, say
from tests.support.service import until
from tests.support.topologies.clients import ANSWER
from tests.support.topologies.cluster import SLOTS, ClusterGroup
from tests.support.topologies.history import History
from tests.support.topologies.seen import FAULT, MASTER, Group, Lookup, Outcome, Write
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.topology import Topology, start_together
from tests.support.topologies.verdict import Verdict, back_to_normal
from tests.support.topologies.workload import Workload

T = TypeVar("T", bound=Topology)

NL = "\n"  # which Python 3.11 does not take inside of an f-string
REPORT = Path(__file__).with_name("soak-report.md")
WHOLE = 30.0  # minutes of a run whose report is kept
PERIOD = 60.0  # seconds from one fault to the next
WINDOWS = ((1 / 6, 1 / 3), (5 / 6, 1.0))  # shares of a run: of 30 minutes, 5 to 10 and the last 5
ENOUGH = 20.0  # minutes of a run in which the first window begins when the caches are full
CACHE_ENTRIES, UNKNOWN_ENTRIES = 3000, 200  # few, so that they are full within minutes
MORE_MEMORY = 4 * 2**20
MORE_DESCRIPTORS = 10
CALM = 60  # lookups without an error, in a row: two seconds of them
FROZEN = 4.0  # seconds, at least
MOVED = 12  # slots that are moved key by key
RANGE = 300  # slots that are moved at once
KILLS = 5  # times that all connections of clients are killed, a second apart
CACHED_RATE, OTHER_RATE, WRITTEN_RATE, WRITE_RATE = 100.0, 30.0, 30.0, 20.0  # in each second


@dataclass(frozen=True)
class Fault(Generic[T]):
    """What goes wrong.

    Attributes:
        name: for the report.
        strike: does it; enters when there is a master again, and then takes it back. The number
            says how often it was done before, for another node each time.
    """

    name: str
    strike: Callable[[T, Workload, int], AbstractContextManager[None]]


# Faults of any topology


@contextmanager
def _job_in_an_outage(group: Topology, load: Workload, _: int) -> Iterator[None]:
    """Nobody answers, and a job tries to register, block and delete what is cached."""
    for node in group.nodes:
        node.kill()
    load.wait_for_writes_of(Outcome.REFUSED, 20)
    job = load.have_a_job("register", "block", "delete")
    assert {write.outcome for write in job} == {Outcome.REFUSED}
    start_together(group.nodes)
    group.wait_for_master()
    yield


# Faults of a cluster


def _some_slot(number: int) -> int:
    """One of another master each time, as the slots lie from the start."""
    return (number % 3) * (SLOTS // 3) + SLOTS // 6


@contextmanager
def _cluster_master_killed(group: ClusterGroup, _: Workload, number: int) -> Iterator[None]:
    slot = _some_slot(number)
    old = group.master(slot)
    old.kill()
    group.wait_for_new_master(old, slot)
    yield
    old.start()


@contextmanager
def _cluster_master_frozen(group: ClusterGroup, _: Workload, number: int) -> Iterator[None]:
    slot = _some_slot(number)
    old = group.master(slot)
    old.freeze()
    time.sleep(FROZEN)
    group.wait_for_new_master(old, slot)
    yield
    old.thaw()


@contextmanager
def _clients_killed(group: Topology, _: Workload, __: int) -> Iterator[None]:
    for at in range(KILLS):
        time.sleep(min(at, 1))
        for node in group.everyone:
            node.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    yield


@contextmanager
def _slots_moved(group: ClusterGroup, load: Workload, number: int) -> Iterator[None]:
    """Some key by key, with ASK between, and a range at once; then all of them back."""
    source, target = (group.master(_some_slot(at)) for at in (number, number + 1))
    keys = group.by_master(record.redis_key for record in load.records[::20])[source]
    slots = sorted({key_slot(key.encode()) for key in keys})[:MOVED]
    _, last = max(group.slots(source), key=lambda slots: slots[1] - slots[0])
    first = last - RANGE + 1
    assert slots[-1] < first
    for here, there in ((source, target), (target, source)):
        for slot in slots:
            group.migrate_slot(slot, here, there, batch=1, pace=0.05)
        group.migrate_slots(first, last, here, there)
        load.wait_for_writes(20)
    yield


@contextmanager
def _master_emptied(group: ClusterGroup, load: Workload, number: int) -> Iterator[None]:
    """All its slots are moved at once, then back."""
    source, target = (group.master(_some_slot(at)) for at in (number, number + 1))
    moved = group.slots(source)
    for here, there in ((source, target), (target, source)):
        for first, last in moved:
            group.migrate_slots(first, last, here, there)
        load.wait_for_writes(50)
    yield


@contextmanager
def _cluster_failed_over(group: ClusterGroup, _: Workload, __: int) -> Iterator[None]:
    for number in range(3):
        group.fail_over(_some_slot(number))
        group.wait_until_settled()
    yield


CLUSTER_FAULTS: list[Fault[ClusterGroup]] = [
    Fault("master killed", _cluster_master_killed),
    Fault("master frozen", _cluster_master_frozen),
    Fault("clients killed", _clients_killed),
    Fault("slots moved", _slots_moved),
    Fault("master emptied", _master_emptied),
    Fault("job in an outage", _job_in_an_outage),
    Fault("rolling failover", _cluster_failed_over),
]


# Faults behind Sentinel


@contextmanager
def _master_killed(group: SentinelGroup, _: Workload, __: int) -> Iterator[None]:
    old = group.master()
    old.kill()
    group.wait_for_new_master(old)
    yield
    old.start()


@contextmanager
def _master_frozen(group: SentinelGroup, _: Workload, __: int) -> Iterator[None]:
    old = group.master()
    old.freeze()
    time.sleep(FROZEN)
    group.wait_for_new_master(old)
    yield
    old.thaw()


@contextmanager
def _others_killed(group: SentinelGroup, _: Workload, number: int) -> Iterator[None]:
    """A replica, without which no write is acknowledged, and a sentinel."""
    killed = [group.replicas()[0], group.sentinels[number % len(group.sentinels)]]
    for node in killed:
        node.kill()
    time.sleep(FROZEN)
    for node in killed:
        node.start()
    yield


@contextmanager
def _replicas_lag(group: SentinelGroup, load: Workload, __: int) -> Iterator[None]:
    """They have not read what they were sent when one of them becomes the master."""
    old, replicas = group.master(), group.replicas()
    for node in replicas:
        node.freeze()
    load.wait_for_writes_of(Outcome.UNKNOWN, 20)
    old.kill()
    for node in replicas:
        node.kill()
    start_together(replicas)
    group.wait_for_new_master(old)
    yield
    old.start()


@contextmanager
def _failed_over(group: SentinelGroup, _: Workload, __: int) -> Iterator[None]:
    def done() -> bool:
        try:
            group.fail_over()
        except hiredis.ReplyError:  # NOGOODSLAVE: a sentinel has not asked them lately
            return False
        return True

    for _time in range(2):
        until(done, "the sentinels fail over", seconds=60)
        group.wait_until_settled()
    yield


SENTINEL_FAULTS: list[Fault[SentinelGroup]] = [
    Fault("master killed", _master_killed),
    Fault("master frozen", _master_frozen),
    Fault("clients killed", _clients_killed),
    Fault("replica and sentinel killed", _others_killed),
    Fault("replicas lag", _replicas_lag),
    Fault("job in an outage", _job_in_an_outage),
    Fault("rolling failover", _failed_over),
]


# The run


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


def soak(
    group: T,
    faults: Sequence[Fault[T]],
    *,
    topology: str,
    wait_replicas: int,
    minutes: float,
) -> None:
    """Let a service suffer faults in turn, report, and assert what must hold.

    Args:
        group: the topology, not started.
        faults: in turn, one each minute; all of them at least once.
        topology: its name, for the report.
        wait_replicas: all of a master.
        minutes: how long.
    """
    busy = os.getloadavg()[0]
    seconds = minutes * 60
    with (
        group,
        running_service(
            **group.settings,
            redis__wait_replicas=f"{wait_replicas}",
            redis__wait_timeout="1",
            lookup__cache_entries=f"{CACHE_ENTRIES}",
            lookup__unknown_entries=f"{UNKNOWN_ENTRIES}",
        ) as service,
    ):
        until_ready(service)
        with (
            Workload(
                service.url,
                cold=int(OTHER_RATE * seconds * 2 / 3) + 1000,
                cached_rate=CACHED_RATE,
                other_rate=OTHER_RATE,
                written_rate=WRITTEN_RATE,
                write_rate=WRITE_RATE,
            ) as load,
            Watch(service.process.pid) as watch,
        ):
            load.start()
            load.mark(FAULT)
            run = Soak(topology, time.monotonic(), seconds)
            try:
                _suffer(run, group, load, faults)
                group.wait_until_settled()
                load.wait_for_writes(50)
            except (AssertionError, OSError, hiredis.ReplyError) as error:
                notes = "; ".join(getattr(error, "__notes__", []))
                run.problems.append(f"the run broke off: {error!r} {notes}")
            run.held = watch.held
            run.history = load.stop(group)
        run.problems += _crashes(service)
        assert service.process.poll() is None
    verdict = run.history.check()
    run.problems += _problems(run, verdict, [fault.name for fault in faults])
    _keep(run, _report(run, verdict, busy))
    assert run.problems == []


def _suffer(run: Soak, group: T, load: Workload, faults: Sequence[Fault[T]]) -> None:
    """Have the faults, until the time is over."""
    end = run.began + run.seconds
    period = min(PERIOD, run.seconds / len(faults))
    due = run.began + period / 4
    number = 0
    while due < end:
        time.sleep(max(due - time.monotonic(), 0))
        fault = faults[number % len(faults)]
        began = time.monotonic()
        with fault.strike(group, load, number // len(faults)):
            master = time.monotonic()
            load.mark(MASTER)
            load.wait_until_normal(CALM, seconds=60)
            run.suffered.append(Suffered(fault.name, began, master, time.monotonic()))
        group.wait_until_settled()
        took = time.monotonic() - began
        say(f"{(began - run.began) / 60:.1f} min: {fault.name}, all over after {took:.1f} s")
        number += 1
        due = max(due + period, time.monotonic())
    time.sleep(max(end - time.monotonic(), 0))


def _crashes(service: Service) -> list[str]:
    """What the service logged that no fault excuses."""
    log = service.log
    found = [f"the log has {what!r}" for what in ("unexpected error", "Traceback") if what in log]
    if service.process.poll() is not None:
        found.append(f"the service ended: {log[-2000:]}")
    return found


# The verdict and the report


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


def _problems(run: Soak, verdict: Verdict, faults: Sequence[str]) -> list[str]:
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


def _keep(run: Soak, report: str) -> None:
    """Print it, and write that of a whole run to its place in the file."""
    say(report)
    if run.seconds < WHOLE * 60:
        return
    _, *sections = (REPORT.read_text("utf-8") if REPORT.exists() else "").split("\n## ")
    others = [one for one in sections if not one.startswith(run.topology)]
    first = "# Soak\n\nWritten by `tests/faults/soak.py`; one section for each topology.\n"
    whole = "\n## ".join([first, *(one.rstrip() + "\n" for one in sorted([*others, report]))])
    REPORT.write_text(whole, "utf-8")


def _report(run: Soak, verdict: Verdict, busy: float) -> str:
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

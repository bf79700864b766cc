"""Mixed load for long, a fault every minute: what was answered, and what the service holds."""

import os
import time
from collections.abc import Sequence

import hiredis

from tests.conftest import Service, running_service
from tests.support.judge import until_ready
from tests.support.measure import say
from tests.support.soak.faults import Fault, T
from tests.support.soak.report import (
    CACHE_ENTRIES,
    CACHED_RATE,
    CALM,
    OTHER_RATE,
    UNKNOWN_ENTRIES,
    WRITE_RATE,
    WRITTEN_RATE,
    keep,
    problems_of,
    report_on,
)
from tests.support.soak.seen import Soak, Suffered, Watch
from tests.support.topologies.seen import FAULT, MASTER
from tests.support.topologies.workload import Workload

PERIOD = 60.0  # seconds from one fault to the next


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
    run.problems += problems_of(run, verdict, [fault.name for fault in faults])
    keep(run, report_on(run, verdict, busy))
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

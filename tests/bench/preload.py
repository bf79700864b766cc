"""How long the service takes to read a whole fleet, beside a bare script that reads the same."""

import subprocess
import sys
import time
from statistics import median

from . import bare_scan, stations
from .cases import SERVICE
from .cpu import cpu_ns
from .machine import Cores, Store, pinned, servers, store
from .processes import CannotRun
from .sample import Sample
from .servers import csms_redis

SCRIPT = "bare script"
_EMPTY_STARTS = 3
_PATIENCE = 600  # seconds for all to be read


def run(cores: Cores, *, count: int, rounds: int) -> dict[str, list[Sample]]:
    """Read that many stations, with both in turn.

    The service's time is from its start until it is ready, less what that takes without a station.

    Raises:
        CannotRun: the script does not read them all.
    """
    with store(cores) as kept:
        empty = [_start(cores, kept, count) for _ in range(_EMPTY_STARTS)]
        wall_s, cpu_s = (median(each) for each in zip(*empty, strict=True))
        stations.store(kept.redis, first=0, count=count)
        rows: dict[str, list[Sample]] = {SERVICE: [], SCRIPT: []}
        for _ in range(rounds):
            wall, cpu = _start(cores, kept, count)
            rows[SERVICE].append(_sample(count, wall - wall_s, cpu - cpu_s))
            rows[SCRIPT].append(_sample(count, *_bare(cores, kept, count)))
    return rows


def _start(cores: Cores, kept: Store, count: int) -> tuple[float, float]:
    """Seconds, and seconds of CPU time, until a service is ready."""
    server = csms_redis(preload_wait=_PATIENCE, cache_entries=2 * count, cache_bytes=2**40)
    begun = time.monotonic()
    with servers(cores, kept, [server]) as [started]:
        return time.monotonic() - begun, cpu_ns(started.pid) / 1e9


def _bare(cores: Cores, kept: Store, count: int) -> tuple[float, float]:
    script = [sys.executable, "-m", bare_scan.__name__, str(kept.port)]
    said = subprocess.run(pinned(cores.server, script), capture_output=True, text=True, check=True)
    found, wall, cpu = said.stdout.split()
    if int(found) != count:
        raise CannotRun(f"the bare script found {found} of {count} stations")
    return float(wall), float(cpu)


def _sample(count: int, wall_s: float, cpu_s: float) -> Sample:
    """No request was answered, so nothing but the rate and the CPU time is measured."""
    return Sample(
        cpu_us=cpu_s / count * 1e6,
        per_second=count / wall_s,
        p50_ms=0,
        p99_ms=0,
        p999_ms=0,
        busy=cpu_s / wall_s,
        others=0,
        answered=count,
        wrong=0,
        connections=0,
    )

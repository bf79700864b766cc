"""CPU time and memory of processes, as the kernel accounts for them."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_CPUCLOCK_SCHED = 2


@dataclass(frozen=True, slots=True)
class Reading:
    """What was used until a moment; the difference of two readings is what a run used.

    Attributes:
        elapsed_ns: The monotonic clock.
        server_ns: CPU time of the server.
        core_ns: Time in which the server's core was not idle, also where the hypervisor took it.
        connections: TCP connections that this machine opened.
    """

    elapsed_ns: int
    server_ns: int
    core_ns: int
    connections: int

    def __sub__(self, earlier: Self) -> "Reading":
        return Reading(
            self.elapsed_ns - earlier.elapsed_ns,
            self.server_ns - earlier.server_ns,
            self.core_ns - earlier.core_ns,
            self.connections - earlier.connections,
        )

    @property
    def busy(self) -> float:
        """Share of the time in which the core worked for the server."""
        return self.server_ns / self.elapsed_ns

    @property
    def others(self) -> float:
        """Share of the time in which it worked for something else."""
        return max(0.0, (self.core_ns - self.server_ns) / self.elapsed_ns)


def read(pid: int) -> Reading:
    """Read the accounts of a server that is pinned to one core."""
    (core,) = os.sched_getaffinity(pid)
    return Reading(time.monotonic_ns(), cpu_ns(pid), _core_ns(core), _connections())


def cpu_ns(pid: int) -> int:
    """CPU time of a process, all its threads and its living descendants, in nanoseconds.

    Read from each process's CPU-time clock (`clock_getcpuclockid(3)`), which is exact where the
    ticks of `/proc/PID/stat` count hundredths of a second.
    """
    return sum(time.clock_gettime_ns(~each << 3 | _CPUCLOCK_SCHED) for each in [pid, *_below(pid)])


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM, in bytes."""
    return _status(pid, "VmRSS")


def peak_resident_bytes(pid: int) -> int:
    """The most memory of a process that ever was in RAM, in bytes."""
    return _status(pid, "VmHWM")


def _core_ns(core: int) -> int:
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    fields = next(line.split() for line in lines if line.startswith(f"cpu{core} "))
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[1:9])
    ticks = user + nice + system + irq + softirq + steal
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _connections() -> int:
    lines = Path("/proc/net/snmp").read_text(encoding="ascii").splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(values[names.index("ActiveOpens")])


def _status(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith(name))
    return int(kilobytes) * 1024


def _below(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(
                stat.read_text(encoding="utf-8", errors="replace").rsplit(")")[-1].split()[1]
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    left = [pid]
    while left:
        new = children.get(left.pop(), [])
        found += new
        left += new
    return found

"""What a process holds, what Redis was asked, and how long things took."""

import os
from collections.abc import Sequence
from pathlib import Path

from redis import Redis

_PAGE = os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident(pid: int) -> int:
    """A process's resident memory, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def percentile(seconds: Sequence[float], percent: float) -> float:
    """The value that so many percent of them do not exceed."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def figures(seconds: Sequence[float]) -> str:
    """Count, median, 99th percentile and maximum, in milliseconds."""
    p50, p99, most = (percentile(seconds, percent) * 1000 for percent in (50, 99, 100))
    return f"{len(seconds)}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {most:.1f} ms"


def say(text: str) -> None:
    """Print a figure; `-s` or `-rP` shows it."""
    print(f"\n{text}")  # noqa: T201 the figures are for whoever runs the test


def lookups_read(admin: Redis) -> int:
    """How many lookups Valkey has answered.

    Each probe is one HMGET and one HELLO, and each handshake one HELLO and one CLIENT TRACKING; one
    INFO tells of all three at the same moment.
    """
    stats = admin.info("commandstats")

    def calls(name: str) -> int:
        return int(stats.get(f"cmdstat_{name}", {}).get("calls", 0))

    return calls("hmget") - (calls("hello") - calls("client|tracking"))

"""Valkey's log: how long it is kept, and what it says of the server's end."""

import contextlib
import os
import re
from pathlib import Path

_LIMIT = 1 << 20  # bytes
_READ = 65536  # bytes at the end of the log in which the reason of an end is looked for

_LINE = re.compile(r"\d+:[A-Z] .*?:\d\d\.\d{3} (?P<level>[.*#-]) (?P<text>.*)")
_TELLS_NOTHING = (
    "WARNING",
    "Can't recover from AOF write error",  # the line before it says why
    "Valkey is now ready to exit",
)

BROKEN_FILE = re.compile(
    r"(?P<what>.* the append only file (?P<file>[\w.]+))[:.] "
    r"(?:You can: 1\) M|m)ake a backup of your AOF file, then use .*"
)
"""What Valkey says of a broken file; the rest is advice, which `append_only.repair` replaces."""


def open_log(path: Path) -> int:
    """Open the log for Valkey to write; at 1 MiB a new file is begun, and one old file is kept.

    Returns:
        Its file descriptor.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _LIMIT:
            path.replace(path.with_name(f"{path.name}.1"))
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def last_words(log: Path, offset: int) -> str | None:
    """The last line after `offset` that tells why the server ended; None where no line does."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(offset, end - _READ))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    warnings, others = [], []
    for line in filter(None, map(str.strip, lines)):
        entry = _LINE.fullmatch(line)
        if entry is None:
            others.append(line)
        elif entry["level"] == "#" and not entry["text"].startswith(_TELLS_NOTHING):
            warnings.append(entry["text"])
    # What is not of the log's form was said before the log was open: a bad option, a loader.
    return next(reversed(warnings or others), None)

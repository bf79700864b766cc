"""The file of what was rejected: a JSON object a line."""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from csms_redis.fleet.formats import Source
from csms_redis.fleet.rows import Row, Unreadable

_MOST = 200  # characters of a value
_OTHER = "name another file with --rejects"


class UnusableRejects(Exception):
    """What is rejected cannot go where it would; the message is one line for the operator."""


def check_rejects(sources: Sequence[Source], common: Path | None) -> None:
    """See that the files of rejects, which are replaced, are nothing that anyone needs.

    Args:
        sources: that are to be read.
        common: the one file for all of them, None for one beside each.

    Raises:
        UnusableRejects: one is a source, would be read as one the next time, is used twice, or is
            no regular file.
    """
    seen: set[Path] = set()
    for path in [common] if common else [source.rejects for source in sources]:
        if path.resolve() in seen:
            raise UnusableRejects(f"{path}: the rejects of two sources would go there; {_OTHER}")
        seen.add(path.resolve())
        with suppress(OSError):  # it is not there, which is well
            if not stat.S_ISREG(path.stat().st_mode):
                raise UnusableRejects(f"{path}: is no regular file to write rejects to; {_OTHER}")
        for source in sources:
            if source.reads(path):
                raise UnusableRejects(f"{path}: is read, so rejects cannot go there; {_OTHER}")


class Rejects:
    """Is there only when something was rejected; one of an earlier run goes."""

    def __init__(self, path: Path) -> None:
        """Begin anew.

        Raises:
            OSError: the earlier one cannot be removed.
        """
        self.path = path
        self.count = 0
        self._file: BinaryIO | None = None
        path.unlink(missing_ok=True)

    def add(self, row: Row | Unreadable, reason: str, told: dict[str, Any] | None = None) -> None:
        """Note a row.

        Args:
            row: with its source and line.
            reason: without any of its values.
            told: those of its values that may be repeated.

        Raises:
            OSError: the file cannot be written.
        """
        line: dict[str, Any] = {"source": row.source, "line": row.line, "reason": reason}
        if told is not None:
            line["record"] = {name: _short(value) for name, value in told.items()}
        self.count += 1
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._file = os.fdopen(os.open(self.path, flags, 0o600), "wb")
        # surrogates of what is not UTF-8 are written as question marks
        self._file.write(orjson.dumps(_writable(line), option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Write it all.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is not None:
            self._file.close()


def _short(value: Any) -> Any:
    """A value that takes little room; whatever holds others is left out."""
    if isinstance(value, str):
        return value[:_MOST]
    if value is None or isinstance(value, bool | float):
        return value
    return value if isinstance(value, int) and abs(value) < 2**63 else "…"


def _writable(line: dict[str, Any]) -> dict[str, Any]:
    """What orjson can write."""
    return {
        name: value.encode(errors="replace").decode()
        if isinstance(value, str)
        else _writable(value)
        if isinstance(value, dict)
        else value
        for name, value in line.items()
    }

"""The file of rejected rows: one JSON object in each line."""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from csms_redis.fleet.rows import Row, Unreadable
from csms_redis.fleet.sources import Source

_MAX_SHOWN = 200  # characters of a value
_REMEDY = "name another file with --rejects"


class UnusableRejects(Exception):
    """Rejected rows cannot be written to the file that is meant for them.

    The message is one line for the operator.
    """


def check_rejects(sources: Sequence[Source], common: Path | None) -> None:
    """Check that no file is needed for anything else that is to be replaced by rejected rows.

    Args:
        sources: of the import.
        common: one file for the rejected rows of all sources; None for a file beside each.

    Raises:
        UnusableRejects: a file is a source, or would be read as a source by the next import, or is
            meant for two sources, or is no regular file.
    """
    seen: set[Path] = set()
    for path in [common] if common else [source.rejects for source in sources]:
        if path.resolve() in seen:
            raise UnusableRejects(f"{path}: the rejects of two sources would go there; {_REMEDY}")
        seen.add(path.resolve())
        with suppress(OSError):  # there is no such file yet, as it should be
            if not stat.S_ISREG(path.stat().st_mode):
                raise UnusableRejects(f"{path}: is no regular file to write rejects to; {_REMEDY}")
        for source in sources:
            if source.reads(path):
                raise UnusableRejects(f"{path}: is read, so rejects cannot go there; {_REMEDY}")


class Rejects:
    """Writes rejected rows to a file, which is made when the first row is rejected.

    Attributes:
        path: of the file.
        count: how many rows are written.
    """

    def __init__(self, path: Path) -> None:
        """Remove the file of an earlier import.

        Raises:
            OSError: that file cannot be removed.
        """
        self.path = path
        self.count = 0
        self._file: BinaryIO | None = None
        path.unlink(missing_ok=True)

    def add(
        self,
        row: Row | Unreadable,
        reason: str,
        shown: dict[str, Any] | None = None,
        column: str = "",
    ) -> None:
        """Write a row.

        Args:
            row: names the source and the line.
            reason: why the row is rejected, without its values.
            shown: the values that may be repeated; None if none could be read.
            column: the one that is wrong, if one is.

        Raises:
            OSError: the file cannot be written.
        """
        line: dict[str, Any] = {"source": row.source, "line": row.line}
        if column:
            line["column"] = column
        line["reason"] = reason
        if shown is not None:
            line["record"] = {name: _shortened(value) for name, value in shown.items()}
        self.count += 1
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._file = os.fdopen(os.open(self.path, flags, 0o600), "wb")
        self._file.write(orjson.dumps(_encodable(line), option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: the last rows cannot be written.
        """
        if self._file is not None:
            self._file.close()


def _shortened(value: Any) -> Any:
    """Cut a long text; replace a list, an object or a huge number by an ellipsis."""
    if isinstance(value, str):
        return value[:_MAX_SHOWN]
    if value is None or isinstance(value, bool | float):
        return value
    return value if isinstance(value, int) and abs(value) < 2**63 else "…"


def _encodable(line: dict[str, Any]) -> dict[str, Any]:
    """Put question marks for the surrogates of what is not UTF-8, which orjson refuses."""
    return {
        name: value.encode(errors="replace").decode()
        if isinstance(value, str)
        else _encodable(value)
        if isinstance(value, dict)
        else value
        for name, value in line.items()
    }

"""PEM: one client certificate with its chain in a file, or a directory of such files."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from csms_redis.contract.certificates import MAX_PEM_BYTES
from csms_redis.fleet.rows import NOT_UTF_8, Row, Unreadable


def read(file: BinaryIO, source: str) -> Iterator[Row | Unreadable]:
    """Read the one client certificate of a file."""
    try:
        # one byte more than is allowed, so that a longer file is refused as too long
        text = file.read(MAX_PEM_BYTES + 1).decode()
    except UnicodeDecodeError:
        yield Unreadable(source, 1, f"{NOT_UTF_8}, as PEM is")
    else:
        yield Row(source, 1, {"certificate": text})


def files(directory: Path) -> list[Path]:
    """The files directly in a directory, by name; hidden files and subdirectories are left out."""
    found = (path for path in directory.iterdir() if not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())

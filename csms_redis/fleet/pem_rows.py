"""PEM: one client certificate with its chain in a file, or a directory of such files."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from csms_redis.contract.certificates import MAX_FILE_BYTES, InvalidCertificate, text_of
from csms_redis.fleet.rows import Row, Unreadable


def read(file: BinaryIO, source: str) -> Iterator[Row | Unreadable]:
    """Read the one client certificate of a file."""
    try:
        text = text_of(file.read(MAX_FILE_BYTES))
    except InvalidCertificate as invalid:
        yield Unreadable(source, 1, f"certificate: {invalid}")
    else:
        yield Row(source, 1, {"certificate": text})


def files(directory: Path) -> list[Path]:
    """The files directly in a directory, by name; hidden files and subdirectories are left out."""
    found = (path for path in directory.iterdir() if not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())

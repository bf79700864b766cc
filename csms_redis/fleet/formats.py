"""Which format a file has: by its name, else by how it begins."""

import json
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from enum import StrEnum
from io import BufferedReader
from pathlib import Path

from csms_redis.fleet import csv_rows, json_rows, pem_rows
from csms_redis.fleet.kinds import KINDS, Kind
from csms_redis.fleet.rows import BOM, Row, Unreadable

STDIN = Path("-")


class Format(StrEnum):
    """What `--format` names."""

    CSV = "csv"
    JSONL = "jsonl"
    OCPI = "ocpi"
    PEM = "pem"


class UnusableFormat(Exception):
    """A format that what is asked for cannot have; the message is one line for the operator."""


_SUFFIXES = {
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".pem": Format.PEM,
    ".crt": Format.PEM,
    ".cer": Format.PEM,
}
_TOLD_EVERY = 100  # rows: to ask for each where the file is takes an eighth of an import
_ONLY = {Format.OCPI: "tokens", Format.PEM: "certificates"}


def import_format(path: Path, kind: Kind, said: Format | None) -> Format | None:
    """The format of a source, None where only what is in it can tell.

    Raises:
        UnusableFormat: it cannot be one of such records.
    """
    if path.is_dir():
        if said not in {None, Format.PEM}:
            raise UnusableFormat(f"{path}: a directory must be one of PEM files")
        said = Format.PEM
    return _usable(said or _SUFFIXES.get(path.suffix.lower()), path, kind)


def export_format(path: Path, kind: Kind, said: Format | None) -> Format:
    """The format of an export: JSON Lines where nothing says otherwise.

    Raises:
        UnusableFormat: it cannot be one of such records, or `path` cannot have it.
    """
    if path.is_dir():
        said = said or Format.PEM
    found = _usable(said or _SUFFIXES.get(path.suffix.lower(), Format.JSONL), path, kind)
    if found is Format.PEM:
        if path == STDIN or (path.exists() and not path.is_dir()):
            raise UnusableFormat(f"{path}: PEM files go into a directory")
        if path.is_dir():
            _check_empty(path)
    elif path.is_dir():
        raise UnusableFormat(f"{path}: is a directory")
    return found  # type: ignore[return-value] # what is given is not None


def _check_empty(directory: Path) -> None:
    """See that no file is there: those of certificates deleted since would be imported as well."""
    try:
        if not pem_rows.files(directory):
            return
    except OSError as error:
        raise UnusableFormat(f"{directory}: {error.strerror}") from None
    raise UnusableFormat(f"{directory}: has files already; PEM files go into a new directory")


def _usable(found: Format | None, path: Path, kind: Kind) -> Format | None:
    only = _ONLY.get(found) if found else None
    if only and kind is not KINDS[only]:
        raise UnusableFormat(f"{path}: {found} is a format of {only} only; see --format")
    return found


class Source:
    """A file, a directory of PEM files, or standard input."""

    def __init__(self, path: Path, kind: Kind, format_: Format | None) -> None:
        """Read rows of `kind` from `path`; `import_format` gives the format."""
        self.path = path
        self.name = "stdin" if path == STDIN else str(path)
        self.total: int | None = None  # bytes, or files, as far as they are known
        self.done = 0  # of them
        self._kind = kind
        self._format = format_

    @property
    def rejects(self) -> Path:
        """Where what is rejected goes by default: beside it, or here for what has no place."""
        if self.path.name in {"", ".."}:
            return Path(f"{self.path.resolve()}.rejects")
        placeless = self.path.parent in {Path("/dev"), Path("/dev/fd")}
        return Path(f"{self.path.name if placeless else self.name}.rejects")

    @property
    def can_be_read_again(self) -> bool:
        """Whether it is there a second time, as what comes through a pipe is not."""
        return self.path != STDIN and (self.path.is_file() or self.path.is_dir())

    def reads(self, path: Path) -> bool:
        """Whether a file is what is read here, by whatever name, or is in a directory that is."""
        with suppress(OSError):  # one of the two is not there
            if self.path.is_dir() and path.parent.samefile(self.path):
                return True
            read = os.fstat(0) if self.path == STDIN else self.path.stat()
            return os.path.samestat(read, path.stat())
        return False

    def measure(self) -> None:
        """Find out how much there is to be read.

        Raises:
            OSError: it cannot be read.
        """
        if self.path.is_dir():
            self.total = len(pem_rows.files(self.path))
        elif self.path.is_file():
            self.total = self.path.stat().st_size

    def rows(self) -> Iterator[Row | Unreadable]:
        """Read all from the start.

        Raises:
            OSError: it cannot be read; of a directory, its list of files.
        """
        self.done = 0
        if self.path == STDIN:
            # not Python's own buffer: while a thread waits for that, Python cannot end but by abort
            with closing(open(0, "rb", closefd=False)) as file:
                yield from self._rows(file)
        elif self.path.is_dir():
            for path in pem_rows.files(self.path):
                try:
                    with path.open("rb") as file:
                        yield from pem_rows.read(file, str(path))
                except OSError as error:
                    yield Unreadable(str(path), 1, f"cannot be read: {error.strerror}")
                self.done += 1
        else:
            with closing(self.path.open("rb")) as file:
                yield from self._rows(file)

    def _rows(self, file: BufferedReader) -> Iterator[Row | Unreadable]:
        match self._format or _sniff(file.peek(2**13), self._kind):
            case Format.CSV:
                rows = csv_rows.read(file, self.name, self._kind)
            case Format.JSONL:
                rows = json_rows.read_lines(file, self.name)
            case Format.OCPI:
                rows = json_rows.read_ocpi(file, self.name)
            case Format.PEM:
                rows = pem_rows.read(file, self.name)
        told = self.total is not None
        for number, row in enumerate(rows):
            if told and number % _TOLD_EVERY == 0:
                self.done = file.tell()
            yield row


def _sniff(start: bytes, kind: Kind) -> Format:
    start = start.removeprefix(BOM).lstrip()
    if start.startswith(b"-----BEGIN") and kind is KINDS["certificates"]:
        return Format.PEM
    if not start.startswith((b"{", b"[")):
        return Format.CSV
    if kind is not KINDS["tokens"]:
        return Format.JSONL
    try:
        first = json.loads(start.partition(b"\n")[0])
    except (ValueError, RecursionError):
        return Format.OCPI  # what goes on in the next line
    return Format.JSONL if isinstance(first, dict) and "data" not in first else Format.OCPI

"""What an import reads: a file, a directory of PEM files, or standard input."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from csms_redis.contract.errors import BadRequest
from csms_redis.fleet import csv_rows, json_rows, pem_rows
from csms_redis.fleet.csv_lines import TextLines
from csms_redis.fleet.failure import UnusableSource
from csms_redis.fleet.formats import STDIN, Format, sniff
from csms_redis.fleet.names import Names
from csms_redis.fleet.rows import Row, Unreadable
from csms_redis.rows.kinds import KINDS, Kind
from csms_redis.rows.ocpi import NO_EMSP, Emsp

_LOOK_AHEAD = 2**13  # bytes, from which the format is found
_ROWS_A_POSITION = 100  # to ask after each row where the file is takes an eighth of an import


class Source:
    """One source of rows.

    It reads rows; whether a row makes a record is for `Kind.check` to say.

    Attributes:
        path: as it was given.
        name: for people.
        size: bytes in the file, or files in the directory; None if that cannot be known.
        position: how much of `size` is read.
        names: of its columns or properties.
    """

    def __init__(
        self, path: Path, kind: Kind, format_: Format | None, emsp: Emsp = NO_EMSP
    ) -> None:
        """Read rows of a kind.

        Args:
            path: of the source.
            kind: of the rows.
            format_: from `source_format`.
            emsp: of OCPI tokens that do not name theirs.
        """
        self._emsp = emsp if kind is KINDS["tokens"] else None
        self.path = path
        self.name = "stdin" if path == STDIN else str(path)
        self.size: int | None = None
        self.position = 0
        self.names = Names(kind)
        self._kind = kind
        self._format = format_

    @property
    def rejects(self) -> Path:
        """The default file for rejected rows: beside the source, or here if it has no place."""
        if self.path.name in {"", ".."}:
            return Path(f"{self.path.resolve()}.rejects")
        placeless = self.path.parent in {Path("/dev"), Path("/dev/fd")}
        return Path(f"{self.path.name if placeless else self.name}.rejects")

    @property
    def can_be_read_again(self) -> bool:
        """Whether the source can be read twice; what comes through a pipe cannot."""
        return self.path != STDIN and (self.path.is_file() or self.path.is_dir())

    def reads(self, path: Path) -> bool:
        """Whether a file is this source, under whatever name, or lies in its directory."""
        with suppress(OSError):  # one of the two does not exist
            if self.path.is_dir() and path.parent.samefile(self.path):
                return True
            status = os.fstat(0) if self.path == STDIN else self.path.stat()
            return os.path.samestat(status, path.stat())
        return False

    def measure(self) -> None:
        """Find out the `size`.

        Raises:
            OSError: the source cannot be read.
        """
        if self.path.is_dir():
            self.size = len(pem_rows.files(self.path))
        elif self.path.is_file():
            self.size = self.path.stat().st_size

    def check_header(self) -> None:
        """Read the first lines of a file that can be read again, if they name its columns.

        Raises:
            OSError: the file cannot be read.
            UnusableSource: the header is wrong.
        """
        if self.path.is_file():
            with self.path.open("rb") as file, self._named():
                if self._found_format(file) is Format.CSV:
                    csv_rows.read_header(TextLines(file), self.names)

    def rows(self) -> Iterator[Row | Unreadable]:
        """Read all rows, from the start.

        Raises:
            UnusableSource: nothing of the file can be trusted; what was read of it can.
            OSError: the file cannot be read, or the directory cannot be listed. A file of a
                directory that cannot be read is an `Unreadable` row instead.
        """
        self.position = 0
        if self.path == STDIN:
            # Not through sys.stdin: while a thread waits for its buffer, Python can only abort.
            with closing(open(0, "rb", closefd=False)) as file:
                yield from self._rows(file)
        elif self.path.is_dir():
            for path in pem_rows.files(self.path):
                try:
                    with path.open("rb") as file:
                        yield from pem_rows.read(file, str(path))
                except OSError as error:
                    yield Unreadable(str(path), 1, f"cannot be read: {error.strerror}")
                self.position += 1
        else:
            with closing(self.path.open("rb")) as file:
                yield from self._rows(file)

    def _rows(self, file: BufferedReader) -> Iterator[Row | Unreadable]:
        match self._found_format(file):
            case Format.CSV:
                rows = csv_rows.read(file, self.name, self.names)
            case Format.JSONL:
                rows = map(self._renamed, json_rows.read_lines(file, self.name, emsp=self._emsp))
            case Format.OCPI:
                rows = map(
                    self._renamed,
                    json_rows.read_ocpi(file, self.name, emsp=self._emsp or NO_EMSP),
                )
            case Format.PEM:
                rows = pem_rows.read(file, self.name)
        measured = self.size is not None
        with self._named():
            for number, row in enumerate(rows):
                if measured and number % _ROWS_A_POSITION == 0:
                    self.position = file.tell()
                yield row

    def _found_format(self, file: BufferedReader) -> Format:
        return self._format or sniff(file.peek(_LOOK_AHEAD), self._kind)

    def _renamed(self, row: Row | Unreadable) -> Row | Unreadable:
        """A row of JSON with the properties' own names."""
        if isinstance(row, Unreadable):
            return row
        try:
            data = self.names.of_object(row.data, row.line)
        except BadRequest as bad:
            return Unreadable(row.source, row.line, bad.error)
        return row if data is row.data else row._replace(data=data)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say which source is unusable."""
        try:
            yield
        except UnusableSource as unusable:
            raise UnusableSource(f"{self.name}: {unusable}") from None

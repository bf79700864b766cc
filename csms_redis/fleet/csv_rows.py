"""CSV (RFC 4180): UTF-8 with or without a byte order mark, any line end, `,` `;` or tabs."""

import csv
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from csms_redis.fleet.kinds import PASSWORD, Kind
from csms_redis.fleet.rows import (
    BOM,
    MAX_RECORD,
    NOT_UTF_8,
    TOO_LONG,
    UTF_16,
    UTF_16_BOMS,
    Lines,
    Row,
    Unreadable,
)

_DELIMITERS = ",;\t"
_BOOLEANS = {"true": True, "false": False}
_MARK = "'"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

# A single cell may fill a whole record. The csv module has one limit for the whole process, and
# nothing else here reads CSV.
csv.field_size_limit(MAX_RECORD)


class _BrokenCsv(Exception):
    """These lines cannot be read as a record; the message says why, and quotes none of them."""


class _RecordLines(Iterator[str]):
    """Feeds a file's lines to the csv module, and remembers those of the current record.

    The csv module decides where a record ends; a record with line ends in its cells has several
    lines.

    Attributes:
        line: the number of the current record's first line, from 1.
    """

    def __init__(self, lines: Lines) -> None:
        self.line = 1
        self._lines = lines
        self._taken: list[bytes | None] = []  # the current record's lines, as far as they are read
        self._size = 0  # of these, in bytes

    def __next__(self) -> str:
        line = self._lines.next()
        if line == b"":
            raise StopIteration
        self._taken.append(line)
        if line is None:
            raise _BrokenCsv(TOO_LONG)
        if self._lines.number == 1:
            if line.startswith(UTF_16_BOMS):
                raise _BrokenCsv(UTF_16)
            line = line.removeprefix(BOM)
        self._size += len(line)
        if self._size > MAX_RECORD:
            raise _BrokenCsv(
                f"with the lines below it {TOO_LONG}; is a quote opened that nothing closes?"
            )
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise _BrokenCsv(NOT_UTF_8) from None

    def begin(self) -> None:
        """Begin a record: the next line is its first."""
        self._taken.clear()
        self._size = 0
        self.line = self._lines.number + 1

    def go_on_after_first_line(self) -> None:
        """Read on after the record's first line: a quote that nothing closes spoils no more."""
        self._lines.give_back(self._taken[1:])


def read(file: BinaryIO, source: str, kind: Kind) -> Iterator[Row | Unreadable]:
    """Read a file's rows; the first row names the columns.

    An empty cell means that a property is not set. A cell with an apostrophe alone is an empty text
    (see `write_cell`).
    """
    records = _RecordLines(Lines(file))
    header: list[str] | None = None
    cells: Iterator[list[str]] = iter(())
    while True:
        if header is None:
            cells = csv.reader(records, strict=True)
        records.begin()
        try:
            row = next(cells)
            if header is None and row:
                header, cells = _header(row, records, kind)
            elif row and header:
                yield Row(source, records.line, _data(header, row, kind))
        except StopIteration:
            break
        except (_BrokenCsv, csv.Error) as error:
            reason = str(error) if isinstance(error, _BrokenCsv) else _explain(error)
            yield Unreadable(source, records.line, reason)
            if header is None:
                return
            records.go_on_after_first_line()
    if header is None:
        yield Unreadable(source, 1, "the file is empty; its first line must name the columns")


def _header(
    row: list[str], records: _RecordLines, kind: Kind
) -> tuple[list[str], Iterator[list[str]]]:
    """The names of the columns, and a reader of the rows below them."""
    delimiter = ","
    if len(row) == 1:
        delimiter = max(_DELIMITERS, key=row[0].count)
        row = next(csv.reader(row, delimiter=delimiter, strict=True))
    names = [name.strip() for name in row]
    while names and not names[-1]:
        names.pop()
    for name in kind.required:
        if name not in names:
            raise _BrokenCsv(
                f"the first line must name the columns, and there is none called {name}; "
                f"there may be {', '.join(kind.columns)}"
            )
    if len(set(names)) < len(names):
        raise _BrokenCsv("two columns have the same name")
    return names, csv.reader(records, delimiter=delimiter, strict=True)


def _data(names: Sequence[str], row: list[str], kind: Kind) -> dict[str, Any]:
    if len(row) < len(names):
        raise _BrokenCsv(f"has {len(row)} of {len(names)} columns")
    if len(row) > len(names) and any(row[len(names) :]):
        raise _BrokenCsv(f"has more than {len(names)} columns")
    return {name: _value(name, cell, kind) for name, cell in zip(names, row, strict=False) if cell}


def _value(name: str, cell: str, kind: Kind) -> Any:
    if name in kind.booleans:
        return _BOOLEANS.get(cell.strip().lower(), cell)
    if name in kind.integers:
        digits = cell.strip()
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else cell
    return cell if name == PASSWORD else read_cell(cell)


def _explain(error: csv.Error) -> str:
    """Say in plain words what the csv module's error means."""
    text = str(error)
    if "end of data" in text:
        return "a quote is opened here that nothing closes"
    if "expected after" in text:
        return "a quote within a quoted cell must be doubled"
    return "is not CSV (RFC 4180)"


def write_cell(text: str) -> str:
    """Write a text so that no spreadsheet takes it for a formula; `read_cell` undoes that.

    An apostrophe is put before a text that begins like a formula or with an apostrophe. It also
    stands for the empty text, because an empty cell means that a property is not set.
    """
    return _MARK + text if not text or text.startswith((*_FORMULA_STARTS, _MARK)) else text


def read_cell(cell: str) -> str:
    """Read the text of a cell; an apostrophe that another program put before a word stays."""
    rest = cell[1:]
    marked = cell.startswith(_MARK) and (not rest or rest.startswith((*_FORMULA_STARTS, _MARK)))
    return rest if marked else cell

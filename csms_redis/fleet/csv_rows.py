"""CSV (RFC 4180): UTF-8 with or without a mark, any line end, commas, semicolons or tabs."""

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
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

# A cell may have all that a record may. The csv module has one limit for the whole process; nothing
# else here reads CSV.
csv.field_size_limit(MAX_RECORD)


class _Broken(Exception):
    """A record that is none."""


class _Records(Iterator[str]):
    """Feeds the csv module with one record's lines, and knows them."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._taken: list[bytes | None] = []
        self._size = 0
        self.line = 1

    def __next__(self) -> str:
        line = self._lines.next()
        if line == b"":
            raise StopIteration
        self._taken.append(line)
        if line is None:
            raise _Broken(TOO_LONG)
        if self._lines.number == 1:
            if line.startswith(UTF_16_BOMS):
                raise _Broken(UTF_16)
            line = line.removeprefix(BOM)
        self._size += len(line)
        if self._size > MAX_RECORD:
            raise _Broken(
                f"with the lines below it {TOO_LONG}; is a quote opened that nothing closes?"
            )
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise _Broken(NOT_UTF_8) from None

    def begin(self) -> None:
        """The next line is a record's first."""
        self._taken.clear()
        self._size = 0
        self.line = self._lines.number + 1

    def go_on_after_first_line(self) -> None:
        """Give back all but the first line: a quote that nothing closes must not cost them."""
        self._lines.give_back(self._taken[1:])


def read(file: BinaryIO, source: str, kind: Kind) -> Iterator[Row | Unreadable]:
    """Read a file's rows; the first names the columns.

    An empty cell is a property that is not set, a lone apostrophe one that is an empty text (see
    `write_cell`).
    """
    records = _Records(Lines(file))
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
        except (_Broken, csv.Error) as error:
            reason = str(error) if isinstance(error, _Broken) else _explain(error)
            yield Unreadable(source, records.line, reason)
            if header is None:
                return
            records.go_on_after_first_line()
    if header is None:
        yield Unreadable(source, 1, "the file is empty; its first line must name the columns")


def _header(row: list[str], records: _Records, kind: Kind) -> tuple[list[str], Iterator[list[str]]]:
    """The names of the columns, and a reader of what is below them."""
    delimiter = ","
    if len(row) == 1:
        delimiter = max(_DELIMITERS, key=row[0].count)
        row = next(csv.reader(row, delimiter=delimiter, strict=True))
    names = [name.strip() for name in row]
    while names and not names[-1]:
        names.pop()
    for name in kind.required:
        if name not in names:
            raise _Broken(
                f"the first line must name the columns, and there is none called {name}; "
                f"there may be {', '.join(kind.columns)}"
            )
    if len(set(names)) < len(names):
        raise _Broken("two columns have the same name")
    return names, csv.reader(records, delimiter=delimiter, strict=True)


def _data(names: Sequence[str], row: list[str], kind: Kind) -> dict[str, Any]:
    if len(row) < len(names):
        raise _Broken(f"has {len(row)} of {len(names)} columns")
    if len(row) > len(names) and any(row[len(names) :]):
        raise _Broken(f"has more than {len(names)} columns")
    return {name: _value(name, cell, kind) for name, cell in zip(names, row, strict=False) if cell}


def _value(name: str, cell: str, kind: Kind) -> Any:
    if name in kind.booleans:
        return _BOOLEANS.get(cell.strip().lower(), cell)
    if name in kind.integers:
        digits = cell.strip()
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else cell
    return cell if name == PASSWORD else read_cell(cell)


def _explain(error: csv.Error) -> str:
    """The csv module's error in words for people."""
    text = str(error)
    if "end of data" in text:
        return "a quote is opened here that nothing closes"
    if "expected after" in text:
        return "a quote within a quoted cell must be doubled"
    return "is not CSV (RFC 4180)"


def write_cell(text: str) -> str:
    """A text as a cell that no spreadsheet takes for a formula; `read_cell` undoes it.

    An apostrophe goes before what could be one, before an apostrophe, and stands for the empty
    text, for an empty cell is a property that is not set.
    """
    return _MARK + text if not text or text.startswith((*_FORMULA, _MARK)) else text


def read_cell(cell: str) -> str:
    """The text of a cell; other programs' apostrophes before a word are left alone."""
    rest = cell[1:]
    marked = cell.startswith(_MARK) and (not rest or rest.startswith((*_FORMULA, _MARK)))
    return rest if marked else cell

"""CSV as spreadsheets and databases write it (RFC 4180, and what they make of it)."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, TypeAlias

from csms_redis.contract.blanks import BLANKS
from csms_redis.fleet.cells import TEXTS, UNSET, BadCell, Cell, is_null, read_cell, reader
from csms_redis.fleet.csv_lines import TextLines, is_broken
from csms_redis.fleet.failure import UnusableSource
from csms_redis.fleet.names import Names
from csms_redis.fleet.rows import MAX_RECORD, NOT_UTF_8, TOO_LONG, Row, Unreadable

_DELIMITERS = ",;\t|"
# `sep=;` as spreadsheets write and read it, also quoted, or saved again with cells after it
_SEP = re.compile(r'"?\s*sep\s*=\s*(?:"([^"\r\n])"|(\\t)|([^"\r\n]))"?[\s,;|]*', re.IGNORECASE)
_NULL = re.compile(r"null|\\N", re.IGNORECASE)
_OPEN = "end of data"  # in what the csv module says of a quote that nothing closes
_MOST_LINES = 20  # of a header
_NOTHING = BLANKS + '",;|\x1a'  # what a row without a value is made of

# A single cell may fill a whole record. The csv module has one limit for the whole process, and
# nothing else here reads CSV.
csv.field_size_limit(MAX_RECORD)


class _BrokenCsv(Exception):
    """These lines cannot be read as a record; the message says why, and quotes none of them."""


class _Refused(Exception):
    """A row has something that no row may have."""

    def __init__(self, reason: str, column: str = "", data: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason, self.column, self.data = reason, column, data

    def row(self, source: str, line: int) -> Unreadable:
        """What is told of it."""
        return Unreadable(source, line, self.reason, self.column, self.data)


class Header:
    """What the first lines of a file say of the others."""

    def __init__(self, columns: Sequence[tuple[str, Cell]], delimiter: str) -> None:
        """Keep the columns, each with what reads its cells, and what is between two cells."""
        self.delimiter = delimiter
        self._columns = columns
        self._names = [name for name, _ in columns]
        self._not_texts = [(name, read_) for name, read_ in columns if read_ not in TEXTS]
        self._odd = re.compile(rf"[^!#-&(-\[\]-~\r\n{re.escape(delimiter)}]")
        self._formulas = tuple(f"{before}=" for before in (delimiter, "\n", "\r"))

    def are_simple(self, text: str) -> bool:
        """Whether each cell of these lines that is not empty means just what it has."""
        return not (
            "" in self._names
            or self._odd.search(text)
            or any(formula in text for formula in self._formulas)
            or text.startswith("=")
            or "null" in text.lower()
        )

    def simple_data(self, row: list[str]) -> dict[str, Any]:
        """As `data`, for a row of lines that are simple."""
        if len(row) != len(self._names) or "" in row:
            return self.data(row)
        data: dict[str, Any] = dict(zip(self._names, row, strict=True))
        for name, read_ in self._not_texts:
            try:
                data[name] = read_(data[name])
            except BadCell as bad:
                raise _Refused(f"{name} {bad}", name, data) from None
        return data

    def data(self, row: list[str]) -> dict[str, Any]:
        """The properties that a row speaks of; none for an empty row.

        Raises:
            _Refused: a cell cannot be read, or there are too many.
        """
        data: dict[str, Any] = {}
        refused: _Refused | None = None
        for (name, read_), cell in zip(self._columns, row, strict=False):
            if cell and name:
                try:
                    value = read_(cell)
                except BadCell as bad:
                    value = cell.strip(BLANKS)
                    refused = refused or _Refused(f"{name} {bad}", name, data)
                if value is not UNSET:
                    data[name] = value
        width = len(self._columns)
        if len(row) > width and any(cell.strip(_NOTHING) for cell in row[width:]):
            raise _Refused(f"has {len(row)} cells, and the header names {width} columns")
        if refused:
            raise refused
        if len(data) <= 1 and not any(cell.strip(_NOTHING) for cell in row):
            return {}
        return data


class _RecordLines(Iterator[str]):
    """Feeds a file's lines to the csv module, and remembers those of the current record.

    The csv module decides where a record ends; a record with line ends in its cells has several
    lines.

    Attributes:
        line: the number of the current record's first line, from 1.
    """

    def __init__(self, lines: TextLines) -> None:
        self.line = 1
        self._lines = lines
        self._taken: list[str | None] = []  # the current record's lines, as far as they are read
        self._size = 0  # of these, in characters

    def __next__(self) -> str:
        line = self._lines.next()
        if line == "":
            raise StopIteration
        self._taken.append(line)
        if line is None:
            raise _BrokenCsv(TOO_LONG)
        self._size += len(line)
        if self._size > MAX_RECORD:
            raise _BrokenCsv(
                f"with the lines below it {TOO_LONG}; is a quote opened that nothing closes?"
            )
        if is_broken(line):
            raise _BrokenCsv(NOT_UTF_8)
        return line

    @property
    def text(self) -> str:
        """The current record's lines."""
        return "".join(line for line in self._taken if line)

    def begin(self) -> None:
        """Begin a record: the next line is its first."""
        self._taken.clear()
        self._size = 0
        self.line = self._lines.number + 1

    def go_on_after_first_line(self) -> None:
        """Read on after the record's first line: a quote that nothing closes spoils no more."""
        self._lines.give_back(self._taken[1:])


def read(file: BinaryIO, source: str, names: Names) -> Iterator[Row | Unreadable]:
    """Read a file's rows; the first row names the columns.

    A cell that is empty or missing says nothing; a NULL says that the property is to go.

    Raises:
        UnusableSource: the header is wrong.
    """
    lines = TextLines(file)
    header = read_header(lines, names)
    for records, data_of in _records(lines, header):
        for line, row in records:
            if isinstance(row, str):
                yield Unreadable(source, line, row)
                continue
            try:
                data = data_of(row)
            except _Refused as refused:
                yield refused.row(source, line)
            else:
                if data:
                    yield Row(source, line, data)


_Records: TypeAlias = Iterable[tuple[int, list[str] | str]]


def _records(
    lines: TextLines, header: Header
) -> Iterator[tuple[_Records, Callable[[list[str]], dict[str, Any]]]]:
    """Some records after others, and what reads them.

    A record is the number of its first line, and its cells or why it cannot be read.
    """
    careful = _RecordLines(lines)
    cells = csv.reader(careful, delimiter=header.delimiter, strict=True)
    while True:
        if plain := lines.take_plain():
            rows = csv.reader(plain, delimiter=header.delimiter, strict=True)
            simple = header.are_simple(lines.text)
            first = lines.number - len(plain) + 1
            yield enumerate(rows, first), header.simple_data if simple else header.data
            continue
        careful.begin()
        try:
            row = next(cells)
            text = careful.text
            if ' "' in text:
                row = _blanks_before_quotes_skipped(row, text, header.delimiter)
            if _NULL.search(text):
                row = _quoted_nulls_marked(row, text, header.delimiter)
            yield [(careful.line, row)], header.data
        except StopIteration:
            return
        except (_BrokenCsv, csv.Error) as error:
            reason = str(error) if isinstance(error, _BrokenCsv) else _explain(error)
            yield [(careful.line, reason)], header.data
            careful.go_on_after_first_line()
            cells = csv.reader(careful, delimiter=header.delimiter, strict=True)


def read_header(lines: TextLines, names: Names) -> Header:
    """Read the first lines: which columns there are, and what is between them.

    The delimiter is the one with which most names are known, else with which there are most cells.

    Raises:
        UnusableSource: the header is wrong.
    """
    delimiters = _DELIMITERS
    while not (line := _header_line(lines)).strip(_NOTHING) or (sep := _SEP.fullmatch(line)):
        if line.strip(_NOTHING) and sep:
            delimiters = "\t" if sep[2] else sep[1] or sep[3]
    number = lines.number
    taken = [line]
    best: tuple[int, int] = (-1, 0)
    used, row, delimiter = 1, [""], ","
    problem: csv.Error | None = None
    for candidate in delimiters:
        cells = csv.reader(
            _header_lines(lines, taken), delimiter=candidate, skipinitialspace=True, strict=True
        )
        try:
            found = [_name(cell) for cell in next(cells)]
        except csv.Error as error:
            problem = problem or error
            continue
        if (worth := (names.known_of(found), len(found))) > best:
            best, used, row, delimiter = worth, cells.line_num, found, candidate
    if problem and (best[0] < 0 or (best[0] == 0 and _OPEN in str(problem))):
        raise UnusableSource(f"line {number}: {_explain(problem)}")
    lines.give_back(taken[used:])
    while row and not row[-1]:
        row.pop()
    columns = names.of_header(row, number)
    for index, name in enumerate(row, 1):
        if not name:
            names.left_out(f"column {index} (without a name)", number)
    return Header([(name, reader(name, names.kind)) for name in columns], delimiter)


def _name(cell: str) -> str:
    name = read_cell(cell)
    return name if isinstance(name, str) else ""


def _header_line(lines: TextLines) -> str:
    line = lines.next()
    number = lines.number
    if line == "":
        raise UnusableSource("the file is empty; its first line must name the columns")
    if line is None:
        raise UnusableSource(f"line {number}: {TOO_LONG}")
    if is_broken(line):
        raise UnusableSource(f"line {number}: {NOT_UTF_8}")
    if "\0" in line:
        raise UnusableSource(f"line {number}: has NUL bytes; save the file as UTF-8")
    return line


def _header_lines(lines: TextLines, taken: list[str]) -> Iterator[str]:
    """The lines of the header: those that were taken, and as many more as it goes on for."""
    yield from taken
    while len(taken) < _MOST_LINES and (line := lines.next()):
        taken.append(line)
        yield line


def _blanks_before_quotes_skipped(row: list[str], text: str, delimiter: str) -> list[str]:
    """A row of `1, "two", "3"`: its quotes are quotes, though RFC 4180 has no blank before them."""
    if not re.search(rf'(?:\A|{re.escape(delimiter)}) +"', text):
        return row
    lines = text.splitlines(keepends=True)
    return next(csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True))


def _quoted_nulls_marked(row: list[str], text: str, delimiter: str) -> list[str]:
    """A row whose quoted cells are texts, whatever they look like."""
    cells = re.compile(rf'("(?:[^"]|"")*"|[^{re.escape(delimiter)}]*)(?:{re.escape(delimiter)}|\Z)')
    quoted = [match[1].startswith('"') for match in cells.finditer(text)]
    return [
        f'="{cell}"' if is_null(cell) and is_quoted else cell
        for cell, is_quoted in zip(row, quoted, strict=False)
    ]


def _explain(error: csv.Error) -> str:
    """Say in plain words what the csv module's error means."""
    text = str(error)
    if _OPEN in text:
        return "a quote is opened here that nothing closes"
    if "expected after" in text:
        return "a quote within a quoted cell must be doubled"
    return "is not CSV (RFC 4180)"

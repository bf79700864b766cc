"""JSON: one value after another, each an object, a list of them, or a reply that has them.

So JSON Lines are read, an API's listing, OCPI's list of tokens (2.2.1, 12.3.2), alone or in the
envelope of a reply (4.1.7), and several pages of them in one file.
"""

import codecs
import io
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, NoReturn, TypeAlias

import orjson

from csms_redis.fleet.names import folded
from csms_redis.fleet.rows import (
    BOM,
    MAX_RECORD,
    TOO_LONG,
    TWICE,
    UTF_16,
    UTF_16_BOMS,
    Lines,
    Row,
    Unreadable,
)
from csms_redis.rows.ocpi import NO_EMSP, Emsp, NoParty, SaidTwice, from_ocpi, is_ocpi

_NO_OBJECT = "is not a JSON object"
_NO_DATA = "there is no list called data, as OCPI's replies have it"
_NO_PARTY = (
    "country_code or party_id is missing, as in OCPI 2.1.1: name the eMSP by --country-code and "
    "--party-id"
)
_DATA, _STATUS = "data", "status_code"  # of OCPI's replies
_CHUNK = 2**16
_LOOK_AHEAD = 2**13
_MOST_MEMBERS = 1000  # of one object
_IDS = frozenset({"csid", "uid", "certificate"})  # what a record has, and no reply
_SPACE = " \t\r\n"

_MakeRow: TypeAlias = Callable[[Any, int], Row | Unreadable]


def read_lines(
    file: BinaryIO, source: str, *, emsp: Emsp | None = None
) -> Iterator[Row | Unreadable]:
    """Read JSON Lines, or other JSON with the contract's names.

    Args:
        file: from where it is.
        source: its name.
        emsp: for tokens: an object with OCPI's names is OCPI's, see `read_ocpi`.
    """
    make = partial(_own_row, source) if emsp is None else partial(_any_row, source, emsp)
    return _read(file, source, make)


def read_ocpi(file: BinaryIO, source: str, *, emsp: Emsp = NO_EMSP) -> Iterator[Row | Unreadable]:
    """Read OCPI's Token objects; each is a whole token.

    Args:
        file: from where it is.
        source: its name.
        emsp: of tokens that do not say whose they are.
    """
    return _read(file, source, partial(_ocpi_row, source, emsp), needs_some=True)


def begins_with_lines(start: bytes) -> bool:
    """Whether the first line of a file is an object, and not a reply or the start of something."""
    line, end, _ = start.partition(b"\n")
    text = line.decode(errors="replace").rstrip()
    if not text.startswith("{"):
        return False
    try:
        value, at = json.JSONDecoder().raw_decode(text)
    except RecursionError:
        return False
    except ValueError as error:
        if not end:  # the line is longer
            return '"data"' not in text
        # a value that goes on in the next line is wrong only where the line ends
        return isinstance(error, json.JSONDecodeError) and error.pos < len(text)
    return _DATA not in value and not text[at:].lstrip().startswith(("{", "["))


def _own_row(source: str, value: Any, line: int) -> Row | Unreadable:
    if not isinstance(value, dict):
        return Unreadable(source, line, _NO_OBJECT)
    return Row(source, line, value)


def _any_row(source: str, emsp: Emsp, value: Any, line: int) -> Row | Unreadable:
    if isinstance(value, dict) and (is_ocpi(value) or (_STATUS in value and not _has_id(value))):
        return _ocpi_row(source, emsp, value, line)
    return _own_row(source, value, line)


def _ocpi_row(source: str, emsp: Emsp, value: Any, line: int) -> Row | Unreadable:
    if not isinstance(value, dict):
        return Unreadable(source, line, _NO_OBJECT)
    if not value or ((_STATUS in value or _DATA in value) and not _has_id(value)):
        return Unreadable(source, line, _NO_DATA)
    try:
        data, doubts = from_ocpi(value, emsp)
    except NoParty:
        return Unreadable(source, line, _NO_PARTY)
    except SaidTwice:
        return Unreadable(source, line, TWICE)
    return Row(source, line, data, doubts, whole=True)


def _read(
    file: BinaryIO, source: str, make: _MakeRow, *, needs_some: bool = False
) -> Iterator[Row | Unreadable]:
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(file)  # type: ignore[type-var] # its stub wants more
    start = buffered.peek(_LOOK_AHEAD)
    if start.startswith(UTF_16_BOMS):
        yield Unreadable(source, 1, UTF_16)
        return
    start = start.removeprefix(BOM).lstrip()
    if begins_with_lines(start) or not (needs_some or start.startswith((b"[", b"{"))):
        yield from _lines(buffered, source, make)
    else:
        yield from _values(buffered, source, make)


def _lines(file: BinaryIO, source: str, make: _MakeRow) -> Iterator[Row | Unreadable]:
    """Read a value from each line that is not blank; a line that is broken spoils no other."""
    lines = Lines(file)
    while (line := lines.next()) != b"":
        if line is None:
            yield Unreadable(source, lines.number, TOO_LONG)
            continue
        if lines.number == 1:
            line = line.removeprefix(BOM)
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            yield Unreadable(source, lines.number, "is not JSON (RFC 8259, UTF-8)")
        else:
            yield from _rows(value, lines.number, make)


def _rows(value: Any, line: int, make: _MakeRow) -> Iterator[Row | Unreadable]:
    """The rows of a value that is read: those of a list or a reply, or it is one itself."""
    if isinstance(value, dict) and _is_reply(value):
        value = value[_DATA]
    for one in value if isinstance(value, list) else (value,):
        yield make(one, line)


def _is_reply(value: dict[str, Any]) -> bool:
    return isinstance(value.get(_DATA), list | dict) and not _has_id(value)


def _has_id(members: dict[str, Any]) -> bool:
    """Whether an object is a record, whatever else it has."""
    return any(folded(name) in _IDS for name in members)


class _BrokenJson(Exception):
    """Here the text is not JSON, or not the JSON that is expected; the message says why."""


def _refuse(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python's json module reads though they are not JSON."""
    raise ValueError(constant)


class _JsonReader:
    """Reads one JSON value after another from a file, holding little more than one in memory.

    Attributes:
        line: the number of the line that is read next, from 1.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.line = 1
        self._file = file
        # bytes that are not UTF-8 spoil only the one token that has them
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._json = json.JSONDecoder(parse_constant=_refuse)
        self._text = ""  # what is read of the file and still needed
        self._at = 0  # where the next value begins in it
        self._ended = False  # whether the file is read to its end

    def peek(self) -> str:
        """The next character that is not a space; empty at the end of the file."""
        while True:
            at = self._at
            while at < len(self._text) and self._text[at] in _SPACE:
                at += 1
            self._move_to(at)
            if at < len(self._text):
                return self._text[at]
            if not self._read_more():
                return ""

    def skip(self, expected: str) -> None:
        """Skip the character that must come next."""
        if self.peek() != expected:
            raise _BrokenJson(f"the JSON is broken or cut off here: {expected} is missing")
        self._move_to(self._at + 1)

    def value(self) -> Any:
        """Read the next value."""
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
                if end < len(self._text) or self._ended:  # else a number may go on
                    self._move_to(end)
                    return value
            except (ValueError, RecursionError):
                if self._ended:
                    raise _BrokenJson("the JSON is broken or cut off here") from None
            if len(self._text) - self._at > MAX_RECORD:
                raise _BrokenJson(f"the JSON is broken here, or {TOO_LONG}")
            self._read_more()

    def count_rest(self) -> int:
        """Read to the end of the file; how many bytes there were, and none is kept."""
        number = len(self._text[self._at :].encode(errors="surrogateescape"))
        number += len(self._decoder.getstate()[0])
        while data := self._file.read(_CHUNK):
            number += len(data)
        return number

    def _move_to(self, at: int) -> None:
        self.line += self._text.count("\n", self._at, at)
        self._at = at

    def _read_more(self) -> bool:
        data = self._file.read(_CHUNK)
        self._ended = not data
        self._text = self._text[self._at :] + self._decoder.decode(data, final=self._ended)
        self._at = 0
        return not self._ended


def _values(file: BinaryIO, source: str, make: _MakeRow) -> Iterator[Row | Unreadable]:
    """Read one value after another, the elements of a list one by one."""
    text = _JsonReader(file)
    try:
        if not text.peek():
            raise _BrokenJson("the file is empty")  # noqa: TRY301 all are caught below
        while True:
            match text.peek():
                case "[":
                    yield from _array(text, make)
                case "{":
                    yield from _object(text, make)
                case "":
                    return
                case _:
                    break
        line = text.line
        yield Unreadable(source, line, f"{text.count_rest()} bytes follow that are not read")
    except _BrokenJson as broken:
        yield Unreadable(source, text.line, str(broken))


def _object(text: _JsonReader, make: _MakeRow) -> Iterator[Row | Unreadable]:
    """The rows of a reply, or the one that the object itself is."""
    line = text.line
    members: dict[str, Any] = {}
    is_reply = False
    text.skip("{")
    while text.peek() != "}":
        name = text.value()
        text.skip(":")
        if not isinstance(name, str) or len(members) == _MOST_MEMBERS:
            raise _BrokenJson("the JSON is broken here, or an object has too many properties")
        if name == _DATA and text.peek() in {"[", "{"} and not _has_id(members):
            is_reply = True
            if text.peek() == "[":
                yield from _array(text, make)
            else:
                at = text.line
                yield make(text.value(), at)
        else:
            members[name] = text.value()
        if text.peek() != "}":
            text.skip(",")
    text.skip("}")
    if not is_reply or _has_id(members):
        yield make(members, line)


def _array(text: _JsonReader, make: _MakeRow) -> Iterator[Row | Unreadable]:
    text.skip("[")
    while text.peek() != "]":
        line = text.line
        value = text.value()
        if isinstance(value, dict):
            yield from _rows(value, line, make)
        else:
            yield make(value, line)
        if text.peek() != "]":
            text.skip(",")
    text.skip("]")

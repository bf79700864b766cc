"""JSON: an object in each line (JSON Lines), or a list of tokens as OCPI 2.2.1 has it."""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

import orjson

from csms_redis.fleet.rows import (
    BOM,
    MAX_RECORD,
    TOO_LONG,
    UTF_16,
    UTF_16_BOMS,
    Lines,
    Row,
    Unreadable,
)

_OCPI_NAMES = {
    "country_code": "countryCode",
    "party_id": "partyId",
    "contract_id": "contractId",
    "visual_number": "visualNumber",
    "group_id": "groupId",
    "whitelist": "cacheMode",
    "language": "languageCode",
    "last_updated": "lastUpdated",
}
_TO_OCPI = {name: ocpi for ocpi, name in _OCPI_NAMES.items()}
_OCPI_LEFT_OUT = frozenset({"default_profile_type", "energy_contract"})
_NO_OBJECT = "is not a JSON object"
_CHUNK = 2**16
_SPACE = " \t\r\n"


def read_lines(file: BinaryIO, source: str) -> Iterator[Row | Unreadable]:
    """Read a JSON object from each line that is not blank."""
    lines = Lines(file)
    while (line := lines.next()) != b"":
        if line is None:
            yield Unreadable(source, lines.number, TOO_LONG)
            continue
        if lines.number == 1:
            if line.startswith(UTF_16_BOMS):
                yield Unreadable(source, 1, UTF_16)
                return
            line = line.removeprefix(BOM)
        if not line.strip():
            continue
        try:
            data = orjson.loads(line)
        except orjson.JSONDecodeError:
            yield Unreadable(source, lines.number, "is not JSON (RFC 8259, UTF-8)")
            continue
        if isinstance(data, dict):
            yield Row(source, lines.number, data)
        else:
            yield Unreadable(source, lines.number, _NO_OBJECT)


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
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
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

    def _move_to(self, at: int) -> None:
        self.line += self._text.count("\n", self._at, at)
        self._at = at

    def _read_more(self) -> bool:
        data = self._file.read(_CHUNK)
        self._ended = not data
        self._text = self._text[self._at :] + self._decode(data, final=self._ended)
        self._at = 0
        return not self._ended


def read_ocpi(file: BinaryIO, source: str) -> Iterator[Row | Unreadable]:
    """Read a list of tokens (OCPI 2.2.1, 12.3.2), alone or in the envelope of a reply (4.1.7)."""
    text = _JsonReader(file)
    try:
        if text.peek() == "{":
            yield from _envelope(text, source)
        else:
            yield from _array(text, source)
        if text.peek():
            raise _BrokenJson("something follows the list")  # noqa: TRY301 all are caught below
    except _BrokenJson as broken:
        yield Unreadable(source, text.line, str(broken))


def _envelope(text: _JsonReader, source: str) -> Iterator[Row | Unreadable]:
    text.skip("{")
    found = False
    while text.peek() != "}":
        name = text.value()
        text.skip(":")
        if name == "data" and text.peek() == "[":
            found = True
            yield from _array(text, source)
        else:
            text.value()
        if text.peek() != "}":
            text.skip(",")
    text.skip("}")
    if not found:
        raise _BrokenJson("there is no list called data, as OCPI's replies have it")


def _array(text: _JsonReader, source: str) -> Iterator[Row | Unreadable]:
    text.skip("[")
    while text.peek() != "]":
        line = text.line
        value = text.value()
        if isinstance(value, dict):
            yield Row(source, line, _from_ocpi(value), whole=True)
        else:
            yield Unreadable(source, line, _NO_OBJECT)
        if text.peek() != "]":
            text.skip(",")
    text.skip("]")


def _from_ocpi(token: dict[str, Any]) -> dict[str, Any]:
    """Rename the properties of OCPI's Token object (2.2.1, 12.3.2) to the contract's names."""
    data = {
        _OCPI_NAMES.get(name, name): value
        for name, value in token.items()
        if name not in _OCPI_LEFT_OUT
    }
    updated = data.get("lastUpdated")
    # OCPI's DateTime is in UTC and need not say so (16.5), but the contract's must
    if isinstance(updated, str) and updated[10:11] == "T" and not set("Zz+-") & set(updated[10:]):
        data["lastUpdated"] = f"{updated}Z"
    return data


def to_ocpi(token: dict[str, Any]) -> dict[str, Any]:
    """Rename a token's properties to those of OCPI's Token object, which has a place for each."""
    return {_TO_OCPI.get(name, name): value for name, value in token.items()}

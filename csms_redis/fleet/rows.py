"""What is read from a source: rows, and what is none, by line; in bounded memory."""

from collections import deque
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

MAX_RECORD = 2**20
"""The longest row, in bytes; a certificate with its chain has 65,536 at most."""

TOO_LONG = f"is longer than {MAX_RECORD} bytes"
NOT_UTF_8 = "is not UTF-8 text"
UTF_16 = "the file is UTF-16; save it as UTF-8"

BOM = b"\xef\xbb\xbf"
UTF_16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class Row(NamedTuple):
    """A record that is still to be checked.

    Attributes:
        source: the file's name.
        line: its first, from 1.
        data: the properties by the API's names, as JSON has them.
    """

    source: str
    line: int
    data: dict[str, Any]


class Unreadable(NamedTuple):
    """What cannot be read as a record; the reason quotes nothing of it."""

    source: str
    line: int
    reason: str


class Lines:
    """A file's lines; one that is too long is skipped without being held."""

    def __init__(self, file: BinaryIO) -> None:
        self.number = 0  # of the last one that was given
        self._file = file
        self._given_back: deque[bytes | None] = deque()

    def next(self) -> bytes | None:
        """The next line with its end; empty after the last, None for one that is too long."""
        line = self._given_back.popleft() if self._given_back else self._read()
        self.number += line != b""
        return line

    def give_back(self, lines: Iterable[bytes | None]) -> None:
        """Have the last lines given again."""
        last = list(lines)
        self._given_back.extendleft(reversed(last))
        self.number -= len(last)

    def _read(self) -> bytes | None:
        line = self._file.readline(MAX_RECORD + 1)
        if len(line) <= MAX_RECORD:
            return line
        while line and not line.endswith(b"\n"):
            line = self._file.readline(MAX_RECORD)
        return None

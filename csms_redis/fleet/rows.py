"""Rows as they are read from a source, and lines of a file, in bounded memory."""

from typing import Any, BinaryIO, NamedTuple

from csms_redis.contract.doubts import Doubt

MAX_RECORD = 2**20
"""The longest row, in bytes; a certificate with its chain has 65,536 at most."""

TOO_LONG = f"is longer than {MAX_RECORD} bytes"
TWICE = "a property is there twice, in two spellings"
NOT_UTF_8 = "is not UTF-8 text"
UTF_16 = "the file is UTF-16; save it as UTF-8"

BOM = b"\xef\xbb\xbf"
UTF_16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class Row(NamedTuple):
    """A row whose properties could be read; whether they make a record is still to be checked.

    Attributes:
        source: the file's name.
        line: the number of its first line, from 1.
        data: the properties by the API's names, with values as JSON has them.
        doubts: what is doubtful about how the file has the row.
        whole: whether the row is a whole record, as an OCPI object is: it replaces what is there.
    """

    source: str
    line: int
    data: dict[str, Any]
    doubts: tuple[Doubt, ...] = ()
    whole: bool = False


class Unreadable(NamedTuple):
    """A part of a file that cannot be read as a row.

    Attributes:
        source: the file's name.
        line: the number of its first line, from 1.
        reason: why it cannot be read; never a quotation, which could be a secret.
        column: the one that is wrong, if one is.
        data: the properties, with that one as the file has it; None if they could not be read.
    """

    source: str
    line: int
    reason: str
    column: str = ""
    data: dict[str, Any] | None = None


class Lines:
    """The lines of a file. A line that is too long is skipped and never held in memory.

    Attributes:
        number: of the line that was read last, from 1; 0 before the first.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Read `file` from where it is."""
        self.number = 0
        self._file = file

    def next(self) -> bytes | None:
        """The next line with its end; empty after the last line, None for one that is too long."""
        line = self._read()
        self.number += line != b""
        return line

    def _read(self) -> bytes | None:
        line = self._file.readline(MAX_RECORD + 1)
        if len(line) <= MAX_RECORD:
            return line
        while line and not line.endswith(b"\n"):
            line = self._file.readline(MAX_RECORD)
        return None

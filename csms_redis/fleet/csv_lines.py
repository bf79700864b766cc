"""The lines of a CSV file as text: whatever ends them, in UTF-8 or UTF-16, in bounded memory."""

import codecs
import io
import re
from collections import deque
from collections.abc import Iterable
from typing import BinaryIO

from csms_redis.fleet.rows import MAX_RECORD, UTF_16_BOMS

_CHUNK = 2**16
_ENDS = ("\n", "\r")
_CTRL_Z = "\x1a"  # the end of a text file in CP/M and DOS
_BROKEN = "\udcff"
_SURROGATE = re.compile("[\ud800-\udfff]")


def _mark_broken(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 it is for decoding only
    return _BROKEN, error.end


codecs.register_error("csms_redis.broken", _mark_broken)


def is_broken(line: str) -> bool:
    """Whether some bytes of a line are not of the file's encoding."""
    return not line.isascii() and _SURROGATE.search(line) is not None


class TextLines:
    r"""The lines of a file, each with its end, which may be \n, \r\n or \r.

    A line that is too long is skipped and never held in memory.

    Attributes:
        number: of the line that was read last, from 1; 0 before the first.
        text: the lines that were read together with this one, and perhaps more.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Read `file` from where it is."""
        self.number = 0
        self.text = ""
        self._file = file
        self._lines: deque[str | None] = deque()
        self._rest = ""  # the start of a line whose end is not read yet
        self._skipping = False  # whether the line is too long
        self._plain = False  # whether no line at hand has a quote or broken bytes
        self._decoder: io.IncrementalNewlineDecoder | None = None
        self._ended = False

    def next(self) -> str | None:
        """The next line with its end; empty after the last line, None for one that is too long."""
        while not self._lines:
            if self._ended:
                return ""
            self._read_more()
        self.number += 1
        return self._lines.popleft()

    def give_back(self, lines: Iterable[str | None]) -> None:
        """Return the lines that were read last, so that `next` gives them once more."""
        last = list(lines)
        self._lines.extendleft(reversed(last))
        self._plain = False
        self.number -= len(last)

    def take_plain(self) -> list[str]:
        """The lines that are at hand, if none of them needs care: each is a row."""
        while not self._lines and not self._ended:
            self._read_more()
        if not self._plain:
            return []
        lines = [line for line in self._lines if line is not None]
        self._lines.clear()
        self.number += len(lines)
        return lines

    def _read_more(self) -> None:
        data = self._file.read1(_CHUNK)  # type: ignore[attr-defined] # a pipe's: what there is
        if self._decoder is None:
            while len(data) < len(codecs.BOM_UTF8) and (more := self._file.read(1)):
                data += more
            self._decoder = _decoder(data)
        self._ended = not data
        text = self._rest + self._decoder.decode(data, final=self._ended)
        if self._ended:
            text = text.rstrip(_CTRL_Z)
        lines: list[str | None] = [*io.StringIO(text, newline="")]
        if self._skipping and lines:
            self._skipping = not _is_whole(lines[0])
            del lines[0]
        self._rest = ""
        if lines and not self._ended and not _is_whole(lines[-1]):
            self._rest = lines.pop() or ""
        for index, line in enumerate(lines):
            if line is not None and len(line) > MAX_RECORD:
                lines[index] = None
        if len(self._rest) > MAX_RECORD:
            lines.append(None)
            self._rest, self._skipping = "", True
        self._lines.extend(lines)
        self._plain = '"' not in text and None not in lines and not is_broken(text)
        self.text = text if self._plain else ""


def _decoder(start: bytes) -> io.IncrementalNewlineDecoder:
    if start.startswith(UTF_16_BOMS):
        decoder = codecs.getincrementaldecoder("utf-16")("csms_redis.broken")
    else:
        decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
    return io.IncrementalNewlineDecoder(decoder, translate=False)


def _is_whole(line: str | None) -> bool:
    return line is not None and line.endswith(_ENDS)

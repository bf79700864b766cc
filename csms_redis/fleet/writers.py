"""How an export writes records: in which format, and into which file."""

import csv
import io
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

import orjson

from csms_redis.fleet.cells import write_cell
from csms_redis.fleet.failure import TransferFailed
from csms_redis.fleet.formats import STDIN, Format
from csms_redis.rows.ocpi import to_ocpi


class ForeignRecord(Exception):
    """Another program stored the record: this program stores no such key or value."""


class Writer(ABC):
    """Writes records in one format."""

    @abstractmethod
    def write(self, record_id: str, record: dict[str, Any]) -> None:
        """Write a record.

        Raises:
            ForeignRecord: the record has not what the format needs of it.
        """


@contextmanager
def open_writer(format_: Format, target: Path, names: Sequence[str]) -> Iterator[Writer]:
    """Write to a target until the block ends; a file is replaced only if the block succeeds.

    Args:
        format_: of the target.
        target: a file or a directory, or `STDIN` for standard output.
        names: of the properties, in order.

    Raises:
        TransferFailed: the target is neither a regular file nor what the format needs.
        OSError: the target cannot be written.
    """
    if format_ is Format.PEM:
        yield _Pem(target)
        return
    with _output(target) as file:
        if format_ is Format.JSONL:
            yield _JsonLines(file)
        else:
            writer = _Ocpi(file) if format_ is Format.OCPI else _Csv(file, names)
            yield writer
            writer.close()


class _Csv(Writer):
    def __init__(self, file: BinaryIO, names: Sequence[str]) -> None:
        self._names = names
        self._text = io.TextIOWrapper(
            file, "utf-8", errors="strict", newline="", write_through=True
        )
        self._csv = csv.writer(self._text)  # ends lines with CRLF, as RFC 4180 does
        self._csv.writerow(names)

    def write(self, record_id: str, record: dict[str, Any]) -> None:
        del record_id
        self._csv.writerow([_cell(record.get(name)) for name in self._names])

    def close(self) -> None:
        self._text.detach()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return write_cell(value) if isinstance(value, str) else orjson.dumps(value).decode()


class _JsonLines(Writer):
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, record_id: str, record: dict[str, Any]) -> None:
        del record_id
        self._file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


class _Ocpi(Writer):
    """Writes each token on a line of its own, so that an import's rejects can name the line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._before = b"[\n"

    def write(self, record_id: str, record: dict[str, Any]) -> None:
        del record_id
        self._file.write(self._before + orjson.dumps(to_ocpi(record)))
        self._before = b",\n"

    def close(self) -> None:
        self._file.write(b"[]\n" if self._before.startswith(b"[") else b"\n]\n")


class _Pem(Writer):
    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory

    def write(self, record_id: str, record: dict[str, Any]) -> None:
        pem = record.get("certificate")
        if not (record_id and isinstance(pem, str)):
            raise ForeignRecord
        with _replaced(self._directory / f"{record_id}.pem") as file:
            file.write(pem.encode())


@contextmanager
def _output(target: Path) -> Iterator[BinaryIO]:
    if target == STDIN:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with _replaced(target) as file:
            yield file


@contextmanager
def _replaced(target: Path) -> Iterator[BinaryIO]:
    """Open a file for its owner alone; it takes the target's place if the block succeeds."""
    if target.exists() and not target.is_file():
        raise TransferFailed(f"{target}: is no regular file; write to - and redirect it")
    draft = target.with_name(f".{target.name}.{token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)

"""`csms-redis export`: what SCAN finds at all masters, each record once."""

import asyncio
import csv
import io
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Any, BinaryIO

import orjson

from csms_redis.contract.certificates import spellings
from csms_redis.contract.errors import Unavailable
from csms_redis.fleet.csv_rows import write_cell
from csms_redis.fleet.formats import STDIN, Format
from csms_redis.fleet.json_rows import to_ocpi
from csms_redis.fleet.kinds import CREDENTIAL, Kind
from csms_redis.fleet.progress import Meter
from csms_redis.fleet.store import FleetError, pauses, store
from csms_redis.redis.client import RedisClient
from csms_redis.redis.scan import MastersChanged, Scan
from csms_redis.settings import Settings

_COUNT = 1000  # keys that SCAN looks at
_AT_ONCE = 100  # records that are held; certificates may have 64 KiB
_CS_ID = "csId"


@dataclass(slots=True)
class Export:
    """What came of it."""

    written: int = 0
    unreadable: int = 0  # records that others stored, under keys or with values that are not ours
    seconds: float = 0.0


async def export(
    kind: Kind, target: Path, format_: Format, settings: Settings, *, with_credentials: bool
) -> Export:
    """Write all records of a kind that are there all the time.

    Args:
        kind: of the records.
        target: a file, which is replaced when all is written, or for PEM a directory without
            files; or standard output.
        format_: of it.
        settings: where Redis is.
        with_credentials: whether stations' password hashes are written.

    Raises:
        BadSettings, EmbeddedError: the settings or the embedded store cannot be used.
        FleetError: Redis cannot be read, or the target not be written.
    """
    names = [name for name in kind.exported if with_credentials or name != CREDENTIAL]
    result = Export()
    began = monotonic()
    prefix = settings.redis.key_prefix.encode()
    try:
        async with store(settings.redis) as redis:
            with (
                _writer(format_, target, names) as writer,
                Meter("exporting", lambda: (result.written, None)) as meter,
            ):
                async for record_id, values in _records(kind, redis, prefix, names):
                    try:
                        writer.write(*_read(names, record_id, values))
                        result.written += 1
                    except _NotOurs:
                        result.unreadable += 1
                    meter.show()
    except OSError as error:
        raise FleetError(f"{target}: {error.strerror or 'cannot be written'}") from None
    result.seconds = monotonic() - began
    return result


class _NotOurs(Exception):
    """A record that this program has not stored."""


def _read(
    names: Sequence[str], record_id: str | None, values: Sequence[bytes | None]
) -> tuple[str, dict[str, Any]]:
    """A record's id and those of its properties that are set."""
    if record_id is None:
        raise _NotOurs
    record: dict[str, Any] = {_CS_ID: record_id} if names[0] == _CS_ID else {}
    try:
        for name, value in zip(_stored(names), values, strict=True):
            if value is not None:
                record[name] = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise _NotOurs from None
    if any(isinstance(value, list | dict) for value in record.values()):
        raise _NotOurs
    return record_id, record


def _stored(names: Sequence[str]) -> list[str]:
    """The properties that are fields of the hash; the id of a station is in its key only."""
    return [name for name in names if name != _CS_ID]


async def _records(
    kind: Kind, redis: RedisClient, prefix: bytes, names: Sequence[str]
) -> AsyncIterator[tuple[str | None, list[bytes | None]]]:
    """Ids and the values of properties; all again but what was given, when masters change."""
    fields = [name.encode() for name in _stored(names)]
    given: set[bytes] = set()
    waiting = pauses()
    while True:
        try:
            scan = await Scan.begin(redis)
            async for number, keys in _keys(scan, kind.resource.key(prefix, "")):
                new = [key for key in keys if key not in given]
                for at in range(0, len(new), _AT_ONCE):
                    some = new[at : at + _AT_ONCE]
                    found = await scan.values(number, some, fields)
                    given.update(some)
                    for key, values in zip(some, found, strict=True):
                        if any(value is not None for value in values):
                            yield kind.resource.id_of(prefix, key), values
        except (MastersChanged, Unavailable) as failure:
            away = failure if isinstance(failure, Unavailable) else None
            pause = None if away and away.lasting else next(waiting, None)
            if pause is None:
                said = away.error if away else "masters change"
                raise FleetError(f"Redis cannot be read to the end: {said}") from None
            await asyncio.sleep(pause)
        else:
            return


async def _keys(scan: Scan, start: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Keys with the number of their master."""
    for number in range(len(scan)):
        cursor, keys = await scan.keys(number, 0, start=start, count=_COUNT)
        yield number, keys
        while cursor:
            cursor, keys = await scan.keys(number, cursor, start=start, count=_COUNT)
            yield number, keys


class _Writer(ABC):
    @abstractmethod
    def write(self, record_id: str, record: dict[str, Any]) -> None:
        """Write a record.

        Raises:
            _NotOurs: it is not what this program stores.
        """


class _Csv(_Writer):
    def __init__(self, file: BinaryIO, names: Sequence[str]) -> None:
        self._names = names
        self._text = io.TextIOWrapper(
            file, "utf-8", errors="strict", newline="", write_through=True
        )
        self._csv = csv.writer(self._text)  # its line end, CRLF, is RFC 4180's
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


class _JsonLines(_Writer):
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, record_id: str, record: dict[str, Any]) -> None:
        del record_id
        self._file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


class _Ocpi(_Writer):
    """A token a line, so that a line number of an import's rejects leads to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._before = b"[\n"

    def write(self, record_id: str, record: dict[str, Any]) -> None:
        del record_id
        self._file.write(self._before + orjson.dumps(to_ocpi(record)))
        self._before = b",\n"

    def close(self) -> None:
        self._file.write(b"[]\n" if self._before.startswith(b"[") else b"\n]\n")


class _Pem(_Writer):
    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory

    def write(self, record_id: str, record: dict[str, Any]) -> None:
        pem = record.get("certificate")
        if not isinstance(pem, str):
            raise _NotOurs
        name, _ = spellings(record_id)
        with _replaced(self._directory / f"{name}.pem") as file:
            file.write(pem.encode())


@contextmanager
def _writer(format_: Format, target: Path, names: Sequence[str]) -> Iterator[_Writer]:
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
    """A file that takes the target's place when it is complete; only its owner may read it."""
    if target.exists() and not target.is_file():
        raise FleetError(f"{target}: is no regular file; write to - and redirect it")
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

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
from csms_redis.fleet.kinds import CREDENTIAL, Kind
from csms_redis.fleet.progress import Meter
from csms_redis.fleet.store import FleetError, pauses, store
from csms_redis.redis.client import RedisClient
from csms_redis.redis.scan import MastersChanged, Scan
from csms_redis.settings import Settings

_COUNT = 1000  # keys that SCAN looks at
_AT_ONCE = 100  # records that are held; certificates may have 64 KiB


@dataclass(slots=True)
class Export:
    """What came of it."""

    written: int = 0
    unreadable: int = 0  # records that are no JSON, which others stored
    seconds: float = 0.0


async def export(
    kind: Kind, target: Path, format_: Format, settings: Settings, *, with_credentials: bool
) -> Export:
    """Write all records of a kind that are there all the time.

    Args:
        kind: of the records.
        target: a file, which is replaced when all is written, or a directory for PEM; or standard
            output.
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
                async for record_id, fields in _records(kind, redis, prefix, names):
                    try:
                        writer.write(record_id, fields)
                        result.written += 1
                    except orjson.JSONDecodeError:
                        result.unreadable += 1
                    meter.show()
    except OSError as error:
        raise FleetError(f"{target}: {error.strerror or 'cannot be written'}") from None
    result.seconds = monotonic() - began
    return result


async def _records(
    kind: Kind, redis: RedisClient, prefix: bytes, names: Sequence[str]
) -> AsyncIterator[tuple[str, list[bytes | None]]]:
    """Ids and the values of properties; all again but what was given, when masters change."""
    # the id of a station is in its key only
    fields = [name.encode() for name in names if name != "csId"]
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
                            yield kind.record_id(key, prefix), values
        except (MastersChanged, Unavailable) as failure:
            pause = next(waiting, None)
            if pause is None:
                said = failure.error if isinstance(failure, Unavailable) else "masters change"
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
    def write(self, record_id: str, values: Sequence[bytes | None]) -> None:
        """Write a record, of which these are the properties, JSON."""


class _Csv(_Writer):
    def __init__(self, file: BinaryIO, names: Sequence[str]) -> None:
        self._has_id = names[0] == "csId"
        self._text = io.TextIOWrapper(
            file, "utf-8", errors="strict", newline="", write_through=True
        )
        self._csv = csv.writer(self._text)  # its line end, CRLF, is RFC 4180's
        self._csv.writerow(names)

    def write(self, record_id: str, values: Sequence[bytes | None]) -> None:
        cells = [_cell(value) for value in values]
        self._csv.writerow([write_cell(record_id), *cells] if self._has_id else cells)

    def close(self) -> None:
        self._text.detach()


def _cell(value: bytes | None) -> str:
    read: Any = None if value is None else orjson.loads(value)
    if read is None:
        return ""
    return write_cell(read) if isinstance(read, str) else orjson.dumps(read).decode()


class _JsonLines(_Writer):
    def __init__(self, file: BinaryIO, names: Sequence[str]) -> None:
        self._file = file
        self._names = names

    def write(self, record_id: str, values: Sequence[bytes | None]) -> None:
        named: list[bytes | None] = [*values]
        if self._names[0] == "csId":
            named.insert(0, orjson.dumps(record_id))
        pairs = zip(self._names, named, strict=True)
        record = {name: orjson.Fragment(value) for name, value in pairs if value is not None}
        line = orjson.dumps(record)
        orjson.loads(line)
        self._file.write(line + b"\n")


class _Pem(_Writer):
    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory

    def write(self, record_id: str, values: Sequence[bytes | None]) -> None:
        pem = orjson.loads(values[0] or b"")
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
            yield _JsonLines(file, names)
        else:
            writer = _Csv(file, names)
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

"""`csms-redis export`: all records of one kind that SCAN finds at all masters, each once."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from csms_redis.contract.errors import Unavailable
from csms_redis.fleet.failure import TransferFailed
from csms_redis.fleet.formats import Format
from csms_redis.fleet.kinds import CREDENTIAL, Kind
from csms_redis.fleet.progress import Meter
from csms_redis.fleet.writers import ForeignRecord, open_writer
from csms_redis.redis.client import RedisClient
from csms_redis.redis.retries import Retries
from csms_redis.redis.scan import MastersChanged, Scan
from csms_redis.registry.connected import connected
from csms_redis.settings import Settings

_SCAN_COUNT = 1000  # keys that Redis looks at for one SCAN
_READ_AT_ONCE = 100  # records, all of which are held in memory; a certificate may have 64 KiB
_CS_ID = "csId"


@dataclass(slots=True)
class ExportResult:
    """What an export did.

    Attributes:
        written: records.
        left_out: records that others stored, under keys or with values that are not this program's.
        seconds: how long the export took.
    """

    written: int = 0
    left_out: int = 0
    seconds: float = 0.0


async def export_records(
    kind: Kind, target: Path, format_: Format, settings: Settings, *, with_credentials: bool
) -> ExportResult:
    """Write all records of a kind; those that come or go meanwhile may be among them or not.

    Args:
        kind: of the records.
        target: a file, which is replaced when all records are written; or for PEM a directory
            without files; or `STDIN` for standard output.
        format_: of the target.
        settings: say where Redis is.
        with_credentials: whether stations' password hashes are written.

    Raises:
        BadSettings, EmbeddedError, UnusableRedis: Redis cannot be used.
        TransferFailed: Redis cannot be read to the end, or the target cannot be written.
    """
    names = [name for name in kind.exported if with_credentials or name != CREDENTIAL]
    result = ExportResult()
    began = monotonic()
    prefix = settings.redis.key_prefix.encode()
    try:
        async with connected(settings.redis) as redis:
            with (
                open_writer(format_, target, names) as writer,
                Meter("exporting", lambda: (result.written, None)) as meter,
            ):
                async for record_id, values in _records(kind, redis, prefix, names):
                    try:
                        writer.write(*_parse(names, record_id, values))
                        result.written += 1
                    except ForeignRecord:
                        result.left_out += 1
                    meter.show()
    except OSError as error:
        raise TransferFailed(f"{target}: {error.strerror or 'cannot be written'}") from None
    result.seconds = monotonic() - began
    return result


def _parse(
    names: Sequence[str], record_id: str | None, values: Sequence[bytes | None]
) -> tuple[str, dict[str, Any]]:
    """Give a record's id and its properties that are set.

    Raises:
        ForeignRecord: this program stores no such key or value.
    """
    if record_id is None:
        raise ForeignRecord
    record: dict[str, Any] = {_CS_ID: record_id} if names[0] == _CS_ID else {}
    try:
        for name, value in zip(_stored(names), values, strict=True):
            if value is not None:
                record[name] = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise ForeignRecord from None
    if any(isinstance(value, list | dict) for value in record.values()):
        raise ForeignRecord
    return record_id, record


def _stored(names: Sequence[str]) -> list[str]:
    """The properties that are fields of the hash; a station's id is in its key only."""
    return [name for name in names if name != _CS_ID]


async def _records(
    kind: Kind, redis: RedisClient, prefix: bytes, names: Sequence[str]
) -> AsyncIterator[tuple[str | None, list[bytes | None]]]:
    """Read each record's id and values once; if masters change, scan all of them again."""
    fields = [name.encode() for name in _stored(names)]
    yielded: set[bytes] = set()
    retries = Retries()
    while True:
        try:
            scan = await Scan.begin(redis)
            async for number, keys in _keys(scan, kind.resource.key(prefix, "")):
                new = [key for key in keys if key not in yielded]
                for at in range(0, len(new), _READ_AT_ONCE):
                    some = new[at : at + _READ_AT_ONCE]
                    found = await scan.values(number, some, fields)
                    yielded.update(some)
                    for key, values in zip(some, found, strict=True):
                        if any(value is not None for value in values):
                            yield kind.resource.id_of(prefix, key), values
        except (MastersChanged, Unavailable) as failure:
            if not await retries.wait(failure):
                reason = failure.error if isinstance(failure, Unavailable) else "masters change"
                raise TransferFailed(f"Redis cannot be read to the end: {reason}") from None
        else:
            return


async def _keys(scan: Scan, start: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Read the keys that begin with `start`, each list with the number of its master."""
    for number in range(len(scan)):
        cursor, keys = await scan.keys(number, 0, start=start, count=_SCAN_COUNT)
        yield number, keys
        while cursor:
            cursor, keys = await scan.keys(number, cursor, start=start, count=_SCAN_COUNT)
            yield number, keys

"""Many records at once: all of a kind are read, or many are stored together."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from csms_redis.contract.errors import Conflict, Unavailable
from csms_redis.redis.client import RedisClient
from csms_redis.redis.retries import Retries
from csms_redis.redis.scan import MastersChanged, Scan
from csms_redis.registry.resource import Record, Resource, Written, store_all
from csms_redis.registry.stations import STATION

CS_ID = "csId"

_SCAN_COUNT = 1000  # keys that Redis looks at for one SCAN
_READ_AT_ONCE = 100  # records, all of which are held in memory; a certificate may have 64 KiB


class RecordStore:
    """The records of all kinds in one Redis."""

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Keep records in `redis`; every key begins with `prefix`."""
        self.prefix = prefix
        self._redis = redis

    async def store_all(
        self, records: Sequence[Record], *, only_new: bool = False, strict: bool = False
    ) -> list[Written | Conflict | Unavailable]:
        """Store records of one kind, see `resource.store_all`."""
        return await store_all(self._redis, records, only_new=only_new, strict=strict)

    async def every(
        self, resource: Resource, names: Sequence[str]
    ) -> AsyncIterator[tuple[str, dict[str, Any]] | None]:
        """Read all records of a kind; those that come or go meanwhile may be among them or not.

        Each is read once; if masters change, all of them are scanned again.

        Args:
            resource: the kind.
            names: the properties to read.

        Yields:
            A record's id and its properties that are set; None for one that another program has
            stored.

        Raises:
            Unavailable: Redis cannot be read to the end.
        """
        # a station's id is in its key only
        stored = [name for name in names if name != CS_ID]
        fields = [name.encode() for name in stored]
        yielded: set[bytes] = set()
        retries = Retries()
        while True:
            try:
                scan = await Scan.begin(self._redis)
                async for number, keys in _keys(scan, resource.key(self.prefix, "")):
                    new = [key for key in keys if key not in yielded]
                    for at in range(0, len(new), _READ_AT_ONCE):
                        some = new[at : at + _READ_AT_ONCE]
                        found = await scan.values(number, some, fields)
                        yielded.update(some)
                        for key, values in zip(some, found, strict=True):
                            if any(value is not None for value in values):
                                record_id = resource.id_of(self.prefix, key)
                                yield _parsed(resource, record_id, stored, values)
            except (MastersChanged, Unavailable) as failure:
                if not await retries.wait(failure):
                    reason = failure.error if isinstance(failure, Unavailable) else "masters change"
                    raise Unavailable(f"Redis cannot be read to the end: {reason}") from None
            else:
                return


def _parsed(
    resource: Resource,
    record_id: str | None,
    names: Sequence[str],
    values: Sequence[bytes | None],
) -> tuple[str, dict[str, Any]] | None:
    """A record's id and its properties that are set; None if this program has not stored it."""
    if record_id is None:
        return None
    record: dict[str, Any] = {CS_ID: record_id} if resource is STATION else {}
    try:
        for name, value in zip(names, values, strict=True):
            if value is not None:
                record[name] = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if any(isinstance(value, list | dict) for value in record.values()):
        return None
    return record_id, record


async def _keys(scan: Scan, start: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Read the keys that begin with `start`, each list with the number of its master."""
    for number in range(len(scan)):
        cursor, keys = await scan.keys(number, 0, start=start, count=_SCAN_COUNT)
        yield number, keys
        while cursor:
            cursor, keys = await scan.keys(number, cursor, start=start, count=_SCAN_COUNT)
            yield number, keys

"""Charge stations: `cs:{csId}`."""

from collections.abc import Mapping
from types import MappingProxyType

import orjson

from csms_redis.contract.doubts import Doubt
from csms_redis.contract.identifiers import station_id
from csms_redis.contract.models import ChargeStationAuth, RegistrationStatus
from csms_redis.contract.queries import StationQuery
from csms_redis.contract.shown import ChargeStationSecurity
from csms_redis.redis.client import RedisClient
from csms_redis.redis.scan import Scan
from csms_redis.registry.listing import Listing, Page, Values
from csms_redis.registry.resource import (
    Record,
    Resource,
    delete,
    if_json,
    is_value,
    json_object,
    lookup_fields,
    now,
    script,
    store,
)

PENDING = b'"Pending"'
REJECTED = b'"Rejected"'

STATION = Resource(
    name="cs",
    called="charge station",
    canonical=station_id,
    fields=lookup_fields(ChargeStationAuth),
    hidden=(b"registrationStatus",),
    refused=REJECTED,
)

_SECURITY = lookup_fields(ChargeStationSecurity)
_REST = (b"registrationStatus", b"lastUpdated")
_STORED = _SECURITY + _REST  # the id is in the key only
_PROFILE = _STORED.index(b"securityProfile")
_STATUS = _STORED.index(b"registrationStatus")
_CREDENTIAL = b"base64SHA256Password"
_CERTIFICATE_ONLY = 2  # the securityProfile that needs no password
_KEPT = (b"registrationStatus", REJECTED)
_DEFAULTS = MappingProxyType({b"registrationStatus": PENDING})
_NO_DEFAULTS: Mapping[bytes, bytes] = MappingProxyType({})


def station_record(  # noqa: PLR0913 each is a word about the record
    prefix: bytes,
    cs_id: str,
    auth: ChargeStationAuth,
    *,
    status: bytes | None = None,
    updated: bytes | None = None,
    partial: bool = False,
    removed: tuple[bytes, ...] = (),
) -> Record:
    """A station as it is stored; one that is `Rejected` stays so.

    Args:
        prefix: what every key begins with.
        cs_id: its id.
        auth: how it is authenticated.
        status: its `registrationStatus`, JSON; None for `Pending`, or for what it is.
        updated: its `lastUpdated`, JSON; None for now.
        partial: whether a station that is there keeps what is not given.
        removed: properties that it does not keep.
    """
    fields = auth.hash_fields()
    fields[b"lastUpdated"] = updated or now()
    lacks = auth.securityProfile < _CERTIFICATE_ONLY and auth.base64SHA256Password is None
    if status is not None:
        fields[b"registrationStatus"] = status
    return Record(
        STATION.key(prefix, cs_id),
        fields,
        kept=_KEPT,
        defaults=_NO_DEFAULTS if status is not None else _DEFAULTS,
        partial=partial,
        removed=removed,
        needed=_CREDENTIAL if partial and lacks else b"",
    )


# Nothing is made where there is no station, so that a race with its deletion leaves none behind.
# Redis checks its memory at a script's first write only, and not for HDEL: so a station can be
# blocked when memory is full. No record has a field without a name.
_SET = script("""
  local kind = redis.call('TYPE', KEYS[1]).ok
  if kind == 'hash' and redis.call('HGET', KEYS[1], 'securityProfile') then
    redis.call('HDEL', KEYS[1], '')
    redis.call('HSET', KEYS[1], unpack(ARGV, 2))
    changed = true
    return 1
  end
  if kind == 'hash' or kind == 'none' then
    touch(KEYS[1], ARGV[1] == '1')
  end
  return 0
""")


class Stations:
    """The stations in Redis."""

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Keep the stations in `redis`; every key begins with `prefix`."""
        self._redis = redis
        self._prefix = prefix
        self._listing = Listing(redis, prefix, STATION, _read)

    async def register(self, cs_id: str, auth: ChargeStationAuth) -> None:
        """Replace a station's record; it is `Pending` after that, unless it was `Rejected`.

        Raises:
            Conflict: at its key is something else; nothing was changed.
            Unavailable: nothing was changed.
            OutcomeUnknown: the change may have been made.
        """
        await store(self._redis, station_record(self._prefix, cs_id, auth))

    async def set_status(self, cs_id: str, status: RegistrationStatus) -> bool:
        """Set a station's `registrationStatus`; whether there is such a station.

        Raises:
            Unavailable: nothing was changed.
            OutcomeUnknown: the change may have been made.
        """
        return await self._set(cs_id, b"registrationStatus", orjson.dumps(status))

    async def set_password(self, cs_id: str, base64_sha256: str) -> bool:
        """Set a station's `base64SHA256Password` and nothing else; whether there is such a station.

        Raises:
            Unavailable: nothing was changed.
            OutcomeUnknown: the change may have been made.
        """
        return await self._set(cs_id, _CREDENTIAL, orjson.dumps(base64_sha256))

    async def _set(self, cs_id: str, field: bytes, value: bytes) -> bool:
        key = STATION.key(self._prefix, cs_id)
        arguments = (int(self._redis.waits), field, value, "lastUpdated", now())
        return bool(await self._redis.write(key, "EVAL", _SET, 1, key, *arguments))

    async def doubts(self, cs_id: str) -> list[Doubt]:
        """What is doubtful about how a station that is stored is authenticated.

        Raises:
            Unavailable: it cannot be read.
        """
        key = STATION.key(self._prefix, cs_id)
        values = await self._redis.read(key, "HMGET", key, b"securityProfile", _CREDENTIAL)
        lacks = values[0] in {b"0", b"1"} and values[1] is None
        return [Doubt.PROFILE_WITHOUT_PASSWORD] if lacks else []

    async def delete(self, cs_id: str) -> bool:
        """Remove a station; whether there was one.

        Raises:
            Unavailable: nothing was changed.
            OutcomeUnknown: the station may have been removed.
        """
        return await delete(self._redis, STATION.key(self._prefix, cs_id))

    async def get(self, cs_id: str) -> bytes | None:
        """What is known of a station, without its credential, as JSON.

        None for an unknown one, and for a record that is not this service's.

        Raises:
            Unavailable: it cannot be read.
        """
        key = STATION.key(self._prefix, cs_id)
        return if_json(_show(cs_id, await self._redis.read(key, "HMGET", key, *_STORED)))

    async def page(self, query: StationQuery) -> Page:
        """A page of stations, each as `get` gives it.

        Raises:
            BadRequest: the cursor does not belong to this listing.
            Gone: the masters that the cursor refers to have changed.
            Unavailable: Redis cannot be read.
        """

        def show(cs_id: str, values: Values) -> bytes | None:
            profile, status = query.securityProfile, query.registrationStatus
            if profile is not None and not is_value(values[_PROFILE], profile):
                return None
            if status is not None and not is_value(values[_STATUS], status):
                return None
            return _show(cs_id, values)

        return await self._listing.page(query, show, start=query.csIdPrefix or "")


async def _read(scan: Scan, number: int, keys: list[bytes]) -> list[list[bytes | None]]:
    return await scan.values(number, keys, _STORED)


def _show(cs_id: str, values: Values) -> bytes | None:
    if values[_PROFILE] is None:
        return None
    auth = json_object(_SECURITY, values[: len(_SECURITY)])
    shown = [orjson.dumps(cs_id), auth, *values[len(_SECURITY) :]]
    return json_object((b"csId", b"auth", *_REST), shown)

"""Charge stations: `cs:{csId}`."""

from csms_redis.contract.identifiers import station_id
from csms_redis.contract.models import ChargeStationAuth
from csms_redis.redis.client import RedisClient
from csms_redis.registry.resource import Record, Resource, lookup_fields, now, replace

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

# As any record is replaced, but a rejected station stays rejected.
REGISTER = """
local kind = redis.call('TYPE', KEYS[1]).ok
local status
if kind == 'hash' then
  status = redis.call('HGET', KEYS[1], 'registrationStatus')
  redis.call('HSET', KEYS[1], unpack(ARGV))
end
if kind ~= 'none' then
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], unpack(ARGV))
if status == '"Rejected"' then
  redis.call('HSET', KEYS[1], 'registrationStatus', status)
end
"""


def station_record(
    prefix: bytes,
    cs_id: str,
    auth: ChargeStationAuth,
    *,
    status: bytes = PENDING,
    updated: bytes | None = None,
) -> Record:
    """A station as it is stored.

    Args:
        prefix: of every key.
        cs_id: its id.
        auth: how it is authenticated.
        status: its `registrationStatus`, JSON.
        updated: its `lastUpdated`, JSON; None for now.
    """
    fields = auth.hash_fields() | {
        b"registrationStatus": status,
        b"lastUpdated": updated or now(),
    }
    return Record(STATION.key(prefix, cs_id), fields)


class Stations:
    """The stations in Redis."""

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Keep them in `redis`, every key after `prefix`."""
        self._redis = redis
        self._prefix = prefix

    async def register(self, cs_id: str, auth: ChargeStationAuth) -> None:
        """Replace a station's record; it is `Pending` after that, unless it was `Rejected`.

        Raises:
            Unavailable: nothing was changed.
            OutcomeUnknown: it may have been.
        """
        await replace(self._redis, station_record(self._prefix, cs_id, auth), REGISTER)

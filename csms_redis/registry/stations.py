"""Charge stations: `cs:{csId}`."""

from csms_redis.contract.identifiers import station_id
from csms_redis.contract.models import ChargeStationAuth
from csms_redis.redis.client import RedisClient
from csms_redis.registry.resource import Resource, lookup_fields, now, replace

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
_REGISTER = """
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
        fields = auth.hash_fields() | {
            b"registrationStatus": b'"Pending"',
            b"lastUpdated": now(),
        }
        await replace(self._redis, STATION.key(self._prefix, cs_id), fields, _REGISTER)

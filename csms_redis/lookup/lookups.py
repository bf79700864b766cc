"""The three lookups, as the aiohttp handlers and the front protocol answer them."""

from csms_redis.redis.client import RedisClient
from csms_redis.registry.resource import Resource


class Lookups:
    """Answers read from Redis."""

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Read from `redis`, where every key is after `prefix`."""
        self._redis = redis
        self._prefix = prefix

    async def find(self, resource: Resource, record_id: str) -> bytes | None:
        """The JSON that answers a lookup, or None where there is nothing to be found.

        Raises:
            Unavailable: Redis cannot be read.
        """
        key = resource.key(self._prefix, record_id)
        return resource.answer(await self._redis.read("HMGET", key, *resource.asked))

"""Authorization tokens: `token:{UID}`, the uid in ASCII upper case."""

from csms_redis.contract.identifiers import token_uid
from csms_redis.contract.models import Token
from csms_redis.redis.client import RedisClient
from csms_redis.registry.resource import Record, Resource, lookup_fields, now, replace

TOKEN = Resource(name="token", called="token", canonical=token_uid, fields=lookup_fields(Token))


def token_record(prefix: bytes, token: Token, *, updated: bytes | None = None) -> Record:
    """A token as it is stored.

    Args:
        prefix: of every key.
        token: it.
        updated: its `lastUpdated`, JSON; None for now.
    """
    fields = token.hash_fields() | {b"lastUpdated": updated or now()}
    return Record(TOKEN.key(prefix, token.key), fields)


class Tokens:
    """The tokens in Redis."""

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Keep them in `redis`, every key after `prefix`."""
        self._redis = redis
        self._prefix = prefix

    async def set(self, token: Token) -> None:
        """Replace a token's record; `lastUpdated` is now.

        Raises:
            Unavailable: nothing was changed.
            OutcomeUnknown: it may have been.
        """
        await replace(self._redis, token_record(self._prefix, token))

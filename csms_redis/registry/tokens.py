"""Authorization tokens: `token:{UID}`, the uid in ASCII upper case."""

import orjson

from csms_redis.contract import emaid
from csms_redis.contract.identifiers import token_uid
from csms_redis.contract.models import Token
from csms_redis.contract.queries import TokenQuery
from csms_redis.redis.client import RedisClient
from csms_redis.redis.scan import Scan
from csms_redis.registry.listing import Listing, Page, Values
from csms_redis.registry.resource import (
    Record,
    Resource,
    delete,
    if_json,
    is_value,
    lookup_fields,
    now,
    store,
)

TOKEN = Resource(name="token", called="token", canonical=token_uid, fields=lookup_fields(Token))

_UID = TOKEN.asked.index(b"uid")


def token_record(
    prefix: bytes,
    token: Token,
    *,
    updated: bytes | None = None,
    partial: bool = False,
    removed: tuple[bytes, ...] = (),
) -> Record:
    """A token as it is stored.

    Args:
        prefix: what every key begins with.
        token: the token.
        updated: the record's `lastUpdated`, as JSON; None for now.
        partial: whether a token that is there keeps what is not given.
        removed: properties that it does not keep.
    """
    fields = token.hash_fields() | {b"lastUpdated": updated or now()}
    return Record(TOKEN.key(prefix, token.key), fields, partial=partial, removed=removed)


class Tokens:
    """The tokens in Redis."""

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Keep the tokens in `redis`; every key begins with `prefix`."""
        self._redis = redis
        self._prefix = prefix
        self._listing = Listing(redis, prefix, TOKEN, _read)

    async def set(self, token: Token) -> None:
        """Replace a token's record; `lastUpdated` is now.

        Raises:
            Conflict: the key has something else than a record; nothing was changed.
            Unavailable: nothing was changed.
            OutcomeUnknown: the record may have been replaced.
        """
        await store(self._redis, token_record(self._prefix, token))

    async def delete(self, uid: str) -> bool:
        """Remove a token by its uid in upper case; whether there was one.

        Raises:
            Unavailable: nothing was changed.
            OutcomeUnknown: the token may have been removed.
        """
        return await delete(self._redis, TOKEN.key(self._prefix, uid))

    async def get(self, uid: str) -> bytes | None:
        """A token by its uid in upper case, as JSON.

        None for an unknown one, and for a record that is not this service's.

        Raises:
            Unavailable: it cannot be read.
        """
        key = TOKEN.key(self._prefix, uid)
        return if_json(_show(await self._redis.read(key, "HMGET", key, *TOKEN.asked)))

    async def page(self, query: TokenQuery) -> Page:
        """A page of tokens.

        Raises:
            BadRequest: the cursor does not belong to this listing.
            Gone: the masters that the cursor refers to have changed.
            Unavailable: Redis cannot be read.
        """
        filters = [
            (
                TOKEN.asked.index(name.encode()),
                of,
                _is_contract if name == "contractId" else is_value,
            )
            for name, of in query.filters.items()
            if name not in {"uid", "uidPrefix"}
        ]

        def show(uid: str, values: Values) -> bytes | None:
            del uid
            if all(is_it(values[index], wanted) for index, wanted, is_it in filters):
                return _show(values)
            return None

        start = (query.uidPrefix or "").upper()
        if query.uid is not None:
            key = TOKEN.key(self._prefix, query.uid)
            found = if_json(
                show(query.uid, await self._redis.read(key, "HMGET", key, *TOKEN.asked))
            )
            is_one = query.uid.startswith(start) and not query.offset
            return Page([found] if found is not None and is_one else [], None)
        return await self._listing.page(query, show, start=start, offset=query.offset)


def _is_contract(stored: bytes | None, wanted: str) -> bool:
    """Whether a field is a contract id, however that is spelled: an import keeps its spelling."""
    if stored is None:
        return False
    try:
        contract_id = orjson.loads(stored)
    except orjson.JSONDecodeError:
        return False
    return isinstance(contract_id, str) and emaid.comparable(contract_id) == wanted


def _show(values: Values) -> bytes | None:
    """A token as a lookup gives it; None for a record without a uid that is a JSON string."""
    uid = values[_UID]
    return None if uid is None or not uid.startswith(b'"') else TOKEN.answer(values)


async def _read(scan: Scan, number: int, keys: list[bytes]) -> list[list[bytes | None]]:
    return await scan.values(number, keys, TOKEN.asked)

"""The operations on authorization tokens, but for the lookup (`api.lookups`)."""

from http import HTTPStatus

from aiohttp import web

from csms_redis.api import doubts
from csms_redis.api.bodies import BodyReader
from csms_redis.api.middleware import RECORD
from csms_redis.api.pages import page_reply
from csms_redis.api.path_ids import known_id
from csms_redis.api.query_strings import read_query
from csms_redis.contract.errors import NotFound
from csms_redis.contract.models import Token
from csms_redis.contract.queries import TokenQuery
from csms_redis.lookup.lookups import Lookups
from csms_redis.registry.tokens import TOKEN, Tokens


class TokenHandlers:
    """Answers the operations on `/token`."""

    def __init__(self, tokens: Tokens, lookups: Lookups, bodies: BodyReader) -> None:
        """Handle requests.

        Args:
            tokens: where tokens are written.
            lookups: told of each change, so that this process forgets what it knew.
            bodies: reads the requests' bodies.
        """
        self._tokens = tokens
        self._lookups = lookups
        self._bodies = bodies

    async def set(self, request: web.Request) -> web.Response:
        """Answer `setToken`."""
        token = await self._bodies.read(request, Token)
        request[RECORD] = {"uid": token.key}
        with self._lookups.changing(TOKEN, token.key):
            await self._tokens.set(token)
        doubts.tell(request, "token", request[RECORD], token.doubts())
        return web.Response(status=HTTPStatus.CREATED)

    async def list(self, request: web.Request) -> web.Response:
        """Answer `listTokens`."""
        query = read_query(request, TokenQuery)
        return page_reply(request, query, await self._tokens.page(query))

    async def delete(self, request: web.Request) -> web.Response:
        """Answer `deleteToken`."""
        uid = known_id(request, TOKEN)
        request[RECORD] = {"uid": uid}
        with self._lookups.changing(TOKEN, uid):
            deleted = await self._tokens.delete(uid)
        if not deleted:
            raise NotFound(TOKEN.not_found)
        return web.Response(status=HTTPStatus.NO_CONTENT)

"""`GET /refused`: which stations are turned away."""

import orjson
from aiohttp import web

from csms_redis.api.query_strings import read_query
from csms_redis.api.replies import JSON
from csms_redis.contract.queries import RefusedQuery
from csms_redis.lookup.refused import RefusedStations
from csms_redis.registry.refused import RefusedStore, in_order, shown_as


class RefusedHandlers:
    """Answers the operation on `/refused`."""

    def __init__(self, refused: RefusedStations, store: RefusedStore) -> None:
        """Handle requests.

        Args:
            refused: what this process has seen.
            store: what all processes have stored.
        """
        self._refused = refused
        self._store = store

    async def list(self, request: web.Request) -> web.Response:
        """Answer `listRefusedStations`."""
        query = read_query(request, RefusedQuery)
        found = in_order(await self._refused.everywhere(self._store), query.sort)
        shown = await self._store.with_reasons(found, query.limit)
        body = orjson.dumps([shown_as(one, reason) for one, reason in shown])
        return web.Response(body=body, content_type=JSON)

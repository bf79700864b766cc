"""The three lookups over aiohttp, for the requests that the front protocol leaves to it."""

from aiohttp import web

from csms_redis.api.middleware import CLIENT
from csms_redis.api.path_ids import path_id, path_segment
from csms_redis.api.replies import JSON
from csms_redis.contract.errors import NotFound
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.refused import RefusedStations
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.resource import Resource
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN


class LookupHandlers:
    """`GET` of a station's auth, a token, a certificate."""

    def __init__(self, lookups: Lookups, refused: RefusedStations) -> None:
        """Answer requests with what `lookups` finds, and tell `refused` of stations without."""
        self._lookups = lookups
        self._refused = refused

    async def station_auth(self, request: web.Request) -> web.Response:
        """`lookupChargeStationAuth`."""
        try:
            return await self._answer(request, STATION)
        except NotFound:
            self._refused.add(path_segment(request), request.get(CLIENT, ""))
            raise

    async def token(self, request: web.Request) -> web.Response:
        """`lookupToken`."""
        return await self._answer(request, TOKEN)

    async def certificate(self, request: web.Request) -> web.Response:
        """`lookupCertificate`."""
        return await self._answer(request, CERTIFICATE)

    async def _answer(self, request: web.Request, resource: Resource) -> web.Response:
        body = await self._lookups.find(resource, path_id(request, resource))
        return web.Response(body=body, content_type=JSON)

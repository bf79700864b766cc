"""The three lookups over aiohttp, for requests that the front protocol does not answer itself."""

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
    """Answers the lookups of a station, a token and a certificate."""

    def __init__(self, lookups: Lookups, refused: RefusedStations) -> None:
        """Handle requests.

        Args:
            lookups: finds the records, as for the front protocol.
            refused: told of each station that is turned away.
        """
        self._lookups = lookups
        self._refused = refused

    async def station_auth(self, request: web.Request) -> web.Response:
        """Answer `lookupChargeStationAuth`."""
        try:
            return await self._answer(request, STATION)
        except NotFound:
            self._refused.add(path_segment(request), request.get(CLIENT, ""))
            raise

    async def token(self, request: web.Request) -> web.Response:
        """Answer `lookupToken`."""
        return await self._answer(request, TOKEN)

    async def certificate(self, request: web.Request) -> web.Response:
        """Answer `lookupCertificate`."""
        return await self._answer(request, CERTIFICATE)

    async def _answer(self, request: web.Request, resource: Resource) -> web.Response:
        body = await self._lookups.find(resource, path_id(request, resource))
        return web.Response(body=body, content_type=JSON)

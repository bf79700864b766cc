"""The operations on charge stations, but for the lookup (`api.lookups`)."""

from http import HTTPStatus

from aiohttp import web

from csms_redis.api import doubts
from csms_redis.api.bodies import BodyReader
from csms_redis.api.middleware import RECORD
from csms_redis.api.pages import page_reply
from csms_redis.api.path_ids import known_id, path_id
from csms_redis.api.query_strings import read_query
from csms_redis.api.replies import JSON
from csms_redis.contract.doubts import DOUBTS_HEADER
from csms_redis.contract.errors import NotFound
from csms_redis.contract.models import (
    ChargeStationAuth,
    ChargeStationPassword,
    ChargeStationRegistration,
)
from csms_redis.contract.queries import StationQuery
from csms_redis.contract.station_ids import check_station_id
from csms_redis.lookup.lookups import Lookups
from csms_redis.registry.stations import STATION, Stations
from csms_redis.settings import ApiSettings


class StationHandlers:
    """Answers the operations on `/cs`."""

    def __init__(
        self, stations: Stations, lookups: Lookups, bodies: BodyReader, api: ApiSettings
    ) -> None:
        """Handle requests.

        Args:
            stations: where stations are written.
            lookups: told of each change, so that this process forgets what it knew.
            bodies: reads the requests' bodies.
            api: how strictly stations are checked.
        """
        self._stations = stations
        self._lookups = lookups
        self._bodies = bodies
        self._api = api

    async def register(self, request: web.Request) -> web.Response:
        """Answer `registerChargeStation`."""
        station = path_id(request, STATION) or ""
        if station:
            request[RECORD] = {"csId": station}
        about_id = check_station_id(
            station, strict=self._api.strict, any_station_id=self._api.any_station_id
        )
        auth = await self._bodies.read(request, ChargeStationAuth)
        with self._lookups.changing(STATION, station):
            await self._stations.register(station, auth)
        doubts.tell(request, "station", {"csId": station}, (*about_id, *auth.doubts()))
        return web.Response(status=HTTPStatus.CREATED)

    async def list(self, request: web.Request) -> web.Response:
        """Answer `listChargeStations`."""
        query = read_query(request, StationQuery)
        return page_reply(request, query, await self._stations.page(query))

    async def get(self, request: web.Request) -> web.Response:
        """Answer `getChargeStation`."""
        station = known_id(request, STATION)
        body = await self._stations.get(station)
        if body is None:
            raise NotFound(STATION.not_found)
        found = await self._stations.doubts(station)
        headers = {DOUBTS_HEADER: ", ".join(found)} if found else None
        return web.Response(body=body, content_type=JSON, headers=headers)

    async def delete(self, request: web.Request) -> web.Response:
        """Answer `deleteChargeStation`."""
        station = known_id(request, STATION)
        request[RECORD] = {"csId": station}
        with self._lookups.changing(STATION, station):
            deleted = await self._stations.delete(station)
        if not deleted:
            raise NotFound(STATION.not_found)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def set_status(self, request: web.Request) -> web.Response:
        """Answer `setRegistrationStatus`."""
        station = known_id(request, STATION)
        request[RECORD] = {"csId": station}
        body = await self._bodies.read(request, ChargeStationRegistration)
        request[RECORD]["registrationStatus"] = body.registrationStatus
        with self._lookups.changing(STATION, station):
            changed = await self._stations.set_status(station, body.registrationStatus)
        if not changed:
            raise NotFound(STATION.not_found)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def set_password(self, request: web.Request) -> web.Response:
        """Answer `setChargeStationPassword`."""
        station = known_id(request, STATION)
        request[RECORD] = {"csId": station}
        body = await self._bodies.read(request, ChargeStationPassword)
        with self._lookups.changing(STATION, station):
            changed = await self._stations.set_password(station, body.base64SHA256Password)
        if not changed:
            raise NotFound(STATION.not_found)
        doubts.tell(request, "station", {"csId": station}, body.doubts())
        return web.Response(status=HTTPStatus.NO_CONTENT)

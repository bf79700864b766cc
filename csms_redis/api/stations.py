"""Writes of charge stations."""

from http import HTTPStatus

import structlog
from aiohttp import web

from csms_redis.api.bodies import BodyReader
from csms_redis.api.middleware import RECORD
from csms_redis.api.path_ids import path_id
from csms_redis.contract.errors import BadRequest
from csms_redis.contract.models import ChargeStationAuth
from csms_redis.lookup.lookups import Lookups
from csms_redis.registry.stations import STATION, Stations

_log = structlog.get_logger()


class StationHandlers:
    """The operations on `/cs`."""

    def __init__(self, stations: Stations, lookups: Lookups, bodies: BodyReader) -> None:
        """Write to `stations` what `bodies` reads, and tell `lookups`."""
        self._stations = stations
        self._lookups = lookups
        self._bodies = bodies

    async def register(self, request: web.Request) -> web.Response:
        """`registerChargeStation`."""
        station = path_id(request, STATION)
        if station is None:
            raise BadRequest("csId must be 1 to 48 characters of UTF-8, none a control character.")
        request[RECORD] = {"csId": station}
        auth = await self._bodies.read(request, ChargeStationAuth)
        for doubt in auth.doubts():
            _log.warning("doubtful station", csId=station, doubt=doubt)
        with self._lookups.changing(STATION, station):
            await self._stations.register(station, auth)
        return web.Response(status=HTTPStatus.CREATED)

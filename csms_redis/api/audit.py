"""`GET /audit`: the last writes of this process."""

import orjson
from aiohttp import web

from csms_redis.api.query_strings import read_query
from csms_redis.api.replies import JSON
from csms_redis.contract.queries import AuditQuery
from csms_redis.contract.shown import AuditLine
from csms_redis.telemetry.audit import AuditTrail

_NAMES = {"requestId": "request_id"}  # the log's own names, where they differ


class AuditHandlers:
    """Answers the operation on `/audit`."""

    def __init__(self, trail: AuditTrail) -> None:
        """List the lines that `trail` has kept."""
        self._trail = trail

    async def list(self, request: web.Request) -> web.Response:
        """Answer `listWrites`."""
        query = read_query(request, AuditQuery)
        lines = []
        for line, _ in zip(self._trail.latest(), range(query.limit), strict=False):
            told = {name: line.get(_NAMES.get(name, name)) for name in AuditLine.model_fields}
            lines.append({name: value for name, value in told.items() if value is not None})
        return web.Response(body=orjson.dumps(lines), content_type=JSON)

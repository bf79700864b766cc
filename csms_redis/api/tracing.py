"""Makes a span (OpenTelemetry) for each request that aiohttp answers."""

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from csms_redis.api.middleware import Handler
from csms_redis.telemetry.tracing import Tracing, trace_id

_METHODS = frozenset(["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"])


def add_tracing(app: web.Application, tracing: Tracing) -> None:
    """Trace what an application answers, but for health, metrics and the documentation."""
    app.middlewares.insert(0, _traced(tracing))


def _traced(tracing: Tracing) -> Middleware:
    @web.middleware
    async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = request.match_info.route.name
        if name is None or name.startswith(("docs", "health", "metrics", "openapi")):
            return await handler(request)
        resource = request.match_info.route.resource
        # canonical: with {csId}, without the pattern that an id must match
        route = resource.canonical if resource is not None else ""
        # OpenTelemetry's semantic conventions for HTTP: an unknown method is _OTHER
        method = request.method if request.method in _METHODS else "_OTHER"
        headers = {name.lower(): value for name, value in request.headers.items()}
        span = tracing.start(method, route, headers)
        status = 500
        try:
            with structlog.contextvars.bound_contextvars(trace_id=trace_id(span)):
                response = await handler(request)
            status = response.status
        finally:
            tracing.end(span, status)
        return response

    return traced

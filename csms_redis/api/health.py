"""Health for load balancers and Kubernetes: `/health`, `/health/live`, `/health/ready`."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TypeAlias

import orjson
from aiohttp import web

from csms_redis.api.replies import JSON

Components: TypeAlias = Callable[[], Mapping[str, str | None]]
"""Each component with what is wrong with it, None where nothing is."""


class HealthHandlers:
    """The health of this process and of what it needs."""

    def __init__(self, components: Components) -> None:
        """Ask `components` at each readiness probe."""
        self._components = components

    async def live(self, request: web.Request) -> web.Response:
        """Whether the event loop turns: it answers."""
        del request
        return web.Response(body=b'{"status":"OK"}', content_type=JSON)

    async def ready(self, request: web.Request) -> web.Response:
        """Whether requests can be served; else 503, with what is wrong."""
        del request
        components = self._components()
        wrong = [f"{name}: {problem}" for name, problem in components.items() if problem]
        status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
        body: dict[str, object] = {"status": status.phrase}
        if wrong:
            body["error"] = "; ".join(wrong)
        body["components"] = {name: problem or "OK" for name, problem in components.items()}
        return web.Response(status=status, body=orjson.dumps(body), content_type=JSON)

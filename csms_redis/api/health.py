"""Health for load balancers and Kubernetes: `/health`, `/health/live`, `/health/ready`."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, TypeAlias

import orjson
from aiohttp import web

from csms_redis.api.replies import JSON


class Component(NamedTuple):
    """A part of the service, or something that it needs."""

    problem: str | None = None
    """What is wrong with the component; None while it is well."""
    needed: bool = True
    """Whether requests cannot be served while the component has a problem."""
    details: Mapping[str, object] | None = None
    """Figures of the component, for the operator."""


Components: TypeAlias = Callable[[], Mapping[str, Component]]
"""Gives the present state of every component, by the component's name."""


class HealthHandlers:
    """Answers the health checks: of this process, and of the components that it needs."""

    def __init__(self, components: Components) -> None:
        """Ask `components` at each readiness probe."""
        self._components = components

    async def live(self, request: web.Request) -> web.Response:
        """Answer 200: that an answer comes shows that the event loop turns."""
        del request
        return web.Response(body=b'{"status":"OK"}', content_type=JSON)

    async def ready(self, request: web.Request) -> web.Response:
        """Answer 200 where requests can be served; else 503, and what is wrong."""
        del request
        components = self._components()
        wrong = _wrong(components)
        status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
        body: dict[str, object] = {"status": status.phrase}
        if wrong:
            body["error"] = "; ".join(wrong)
        body["components"] = {name: each.problem or "OK" for name, each in components.items()}
        details = {name: each.details for name, each in components.items() if each.details}
        if details:
            body["details"] = details
        return web.Response(status=status, body=orjson.dumps(body), content_type=JSON)


def is_ready(components: Mapping[str, Component]) -> bool:
    """Whether requests can be served."""
    return not _wrong(components)


def _wrong(components: Mapping[str, Component]) -> list[str]:
    return [
        f"{name}: {each.problem}"
        for name, each in components.items()
        if each.problem is not None and each.needed
    ]

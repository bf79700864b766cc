"""Each role may use its routes and no others; the front and aiohttp decide alike."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from csms_redis.access.roles import LOOKUPS
from csms_redis.api.app import make_app
from csms_redis.contract.operations import BASE_PATH, OPERATIONS, Operation
from csms_redis.settings import Role
from tests.support import front_site
from tests.support.callers import AUTH, RIGHT, SECRETS, basic, bearer, both, both_ways, clients
from tests.support.front_bytes import HASH, get
from tests.support.front_site import Site, running_site

REVOKED = {role: f"revoked-secret-of-{role}" for role in Role}
CHALLENGES = 'Basic realm="csms-redis", charset="UTF-8", Bearer realm="csms-redis"'


class Route(NamedTuple):
    """Something to ask for."""

    method: str
    target: str
    needed: Role | None  # None where any client's will do
    open: bool = False  # whether nothing is needed

    def request(self, *headers: bytes) -> bytes:
        """A request without a body."""
        asked = get(self.target.encode(), *headers)
        return asked.replace(b"GET", self.method.encode(), 1)


def target_of(operation: Operation) -> str:
    """Where an operation is, of a record that there is."""
    path = BASE_PATH + operation.path.replace("{csId}", "cs001").replace("{tokenUid}", "ABC123")
    return path.replace("{certificateHash}", HASH)


def routes() -> list[Route]:
    """All that there are, and what there is not."""
    found = [
        Route(
            operation.method,
            target_of(operation),
            {"getClient": None}.get(
                operation.id, Role.GATEWAY if operation.id in LOOKUPS else Role.OPERATOR
            ),
        )
        for operation in OPERATIONS
    ]
    found += [Route("GET", "/metrics", Role.METRICS), Route("GET", "/nowhere", None)]
    found.append(Route("GET", "/console", None))
    found += [
        Route("GET", target, None, open=True)
        for target in (
            *("/health", "/health/live", "/health/ready", "/docs", "/api/openapi.json"),
            "/console/main.js",
        )
    ]
    found += [route._replace(method="HEAD") for route in found if route.method == "GET"]
    return [*found, Route("POST", "/nowhere", None), Route("PATCH", f"{BASE_PATH}/cs/cs001", None)]


@pytest.fixture
async def all_of_it(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A site with the route that the collector of metrics adds."""

    def make_app_with_metrics(**parts: Any) -> web.Application:
        async def metrics(request: web.Request) -> web.Response:
            return web.Response(text=request.method)

        app = make_app(**parts)
        app.router.add_get("/metrics", metrics, name="metrics")
        return app

    monkeypatch.setattr(front_site, "make_app", make_app_with_metrics)
    async with running_site() as running:
        yield running


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("route", routes(), ids=lambda route: f"{route.method} {route.target}")
async def test_every_route_and_every_role(all_of_it: Site, route: Route) -> None:
    """Only the right role's client is let in, and only as long as its secret holds."""
    site = all_of_it

    async def status(*headers: bytes) -> int:
        return (await both_ways(site, route.request(*headers))).status

    site.access_control.use(clients(**REVOKED))
    revoked = [header for role in Role for header in both(role, REVOKED[role])]
    before = [await status(header) for header in revoked]
    site.access_control.use(clients())

    for role, secret in SECRETS.items():
        for header in both(role, secret):
            answer = await both_ways(site, route.request(header))
            if route.open or route.needed in {None, role}:
                assert answer.status not in {401, 403}
                if route.needed in {Role.GATEWAY, Role.METRICS} or route.open:
                    assert answer.status == 200
            else:
                assert answer.status == 403
                challenge = f'{CHALLENGES}, error="insufficient_scope"'
                assert ("www-authenticate", challenge) in answer.headers
    wrong = [basic("operator", "wrong"), bearer("wrong"), basic("operator", ""), *revoked]
    if route.open:
        assert {await status(header) for header in wrong} == {await status()} == {200}
        return
    assert 401 not in before
    none = await both_ways(site, route.request())
    assert (none.status, dict(none.headers)["www-authenticate"]) == (401, CHALLENGES)
    for header in wrong:
        answer = await both_ways(site, route.request(header))
        assert answer.status == 401
        assert b"wrong" in answer.body or route.method == "HEAD"


def test_the_lookups_are_the_contract_s() -> None:
    assert {operation.id for operation in OPERATIONS if operation.is_lookup} == LOOKUPS


async def test_what_needs_no_credentials(site: Site) -> None:
    """Health, the documentation; what does not exist is told to clients only."""
    for target in (b"/health", b"/health/live", b"/docs", b"/api/openapi.json", b"/docs/start.js"):
        assert (await both_ways(site, get(target))).status == 200
    assert (await both_ways(site, get(b"/nowhere"))).status == 401
    assert (await both_ways(site, get(b"/nowhere", RIGHT))).status == 404
    assert (await both_ways(site, get(b"/healthy"))).status == 401


async def test_without_clients_everyone_may() -> None:
    async with running_site() as site:
        assert (await both_ways(site, get(AUTH))).status == 200
        assert (await both_ways(site, get(AUTH, b"Authorization: Basic eDp5"))).status == 200

"""Stations that knock at a service in vain, and the list of them."""

from typing import Any

from tests.conftest import Service, wait_for


def until_reached(service: Service) -> None:
    """Wait until the service has reached Redis."""
    wait_for(lambda: service.get("/cs").status == 200, "Redis is reached")


def knock(service: Service, segment: str, times: int = 1) -> None:
    """Ask for a station that is turned away."""
    for _ in range(times):
        assert service.get(f"/cs/{segment}/auth").status == 404


def refused(service: Service, query: str = "") -> dict[str, dict[str, Any]]:
    """What `GET /refused` lists, by id."""
    reply = service.get(f"/refused{query}")
    assert reply.status == 200, reply.body
    assert reply.headers["Cache-Control"] == "no-store"
    return {one["csId"]: one for one in reply.json}

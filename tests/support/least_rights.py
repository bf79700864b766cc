"""A service that is the user of deploy/install.md, and what it must be able to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import DATA, Reply, Service, running_service, wait_for
from tests.support.made import TOKEN
from tests.support.topologies.rights import (
    PASSWORD,
)
from tests.support.topologies.topology import Topology

PEM = (DATA / "certificates" / "HUBOpenProvCert001.pem").read_text("ascii")
PEM_HASH = "1KOlEbBBpCleKkKEbIDwfq_u-zHhkzzH7mGYdfHz1SU"


@contextmanager
def service_as(topology: Topology, **settings: str) -> Iterator[Service]:
    """A service that is the user of the documentation."""
    url = {"redis__url": topology.url_as("csms", PASSWORD)}
    with running_service(**topology.settings | url | settings) as service:
        yield service


def ready(service: Service) -> bool:
    """Whether it is."""
    return service.request("GET", "/health/ready").status == 200


def write_all(service: Service) -> list[Reply]:
    """Every kind of write, each of a new record and of one that is there."""
    replies = []
    for _ in range(2):
        replies += [
            service.post("/cs/cs001", {"securityProfile": 2}),
            service.post("/token", TOKEN),
            service.post("/certificate", {"certificate": PEM}),
        ]
    return [*replies, service.delete(f"/certificate/{PEM_HASH}")]


def statuses(replies: list[Reply]) -> list[int]:
    return [reply.status for reply in replies]


def logged(service: Service, event: str) -> list[dict[str, Any]]:
    """The lines about this, once there is one."""
    wait_for(lambda: service.events(event), f"a line: {event}")
    return service.events(event)


def see_it_work(service: Service, *, near_cache: bool = True, quiet: bool = True) -> None:
    """Reads, writes, and what someone else changes; `quiet` where the log has nothing to tell."""
    wait_for(lambda: ready(service), "ready")
    assert statuses(write_all(service)) == [201] * 6 + [204]
    assert service.get("/cs/cs001/auth").json == {"securityProfile": 2}
    assert service.get("/token/deadbeef").status == 200
    assert service.get(f"/certificate/{PEM_HASH}").status == 404
    assert {line["near_cache"] for line in service.events("Redis reached")} == {near_cache}
    assert not quiet or "NOPERM" not in service.log

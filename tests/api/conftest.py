"""The contract holds however Redis is run: its suites run on each way of it.

But for the embedded store, the service is the user with the least rights of the documentation.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis import Redis, RedisCluster
from schemathesis.pytest.plugin import SchemathesisFunction

from tests.conftest import Service, running_service
from tests.support.listed import HASHED, STATIONS, TOKEN, add_all, flush
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.rights import ON_REDIS, PASSWORD, permit
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.topology import Topology

_CONTRACT = {
    "test_blocking",
    "test_bulk_deployed",
    "test_certificates",
    "test_cursors",
    "test_errors",
    "test_listings",
    "test_stations",
    "test_tokens",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give schemathesis' tests a name each: of several with one name xdist would run one."""
    for item in items:
        if isinstance(item, SchemathesisFunction):
            item._id = replace(item.id, params=item.operation_label)


class Deployment(NamedTuple):
    """A service and the Redis that it is on."""

    service: Service
    redis: Any


@contextmanager
def _embedded() -> Iterator[Deployment]:
    with (
        running_service() as service,
        Redis(unix_socket_path=str(service.data_dir / "valkey.sock")) as redis,
    ):
        yield Deployment(service, redis)


def _least_rights(group: Topology, **settings: str) -> AbstractContextManager[Service]:
    permit(group.nodes, ON_REDIS)
    return running_service(redis__url=group.url_as("csms", PASSWORD), **settings)


@contextmanager
def _sentinel() -> Iterator[Deployment]:
    with (
        SentinelGroup() as group,
        _least_rights(group, redis__wait_replicas="2") as service,
    ):
        host, port = group.master().address
        with Redis(host=host, port=port) as redis:
            yield Deployment(service, redis)


@contextmanager
def _cluster() -> Iterator[Deployment]:
    with (
        ClusterGroup() as group,
        _least_rights(group, redis__wait_replicas="1") as service,
    ):
        host, port = group.nodes[0].address
        with RedisCluster(host=host, port=port) as redis:
            yield Deployment(service, redis)


_DEPLOYMENTS: dict[str, Callable[[], AbstractContextManager[Deployment]]] = {
    "embedded": _embedded,
    "sentinel": _sentinel,
    "cluster": _cluster,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses the shared service, in the contract's modules, on each deployment."""
    if Path(metafunc.module.__file__).stem in _CONTRACT and "deployment" in metafunc.fixturenames:
        metafunc.parametrize("deployment", _DEPLOYMENTS, indirect=True, scope="session")


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """An embedded Valkey, or what the test is run on."""
    with _DEPLOYMENTS[getattr(request, "param", "embedded")]() as running:
        yield running


@pytest.fixture(scope="session")
def service(deployment: Deployment) -> Service:
    """The service, not strict."""
    return deployment.service


@pytest.fixture(scope="session")
def redis(deployment: Deployment) -> Any:
    """The Redis of `service`."""
    return deployment.redis


@pytest.fixture
def stations(redis: Any) -> dict[str, int]:
    """300 stations, each third of a profile; among other records, and what is none of ours."""
    flush(redis)
    records = {
        f"cs:{cs_id}": {
            "securityProfile": profile,
            "base64SHA256Password": HASHED,
            "registrationStatus": "Rejected" if cs_id.endswith("7") else "Pending",
            "lastUpdated": "2026-01-01T00:00:00Z",
        }
        for cs_id, profile in STATIONS.items()
    }
    add_all(
        redis,
        records | {f"token:T{number}": TOKEN | {"uid": f"T{number}"} for number in range(100)},
    )
    redis.set("cs:a string", "1")
    redis.hset("cs:a hash without a profile", "a", "1")
    redis.hset("cs:\n", "securityProfile", "1")
    redis.hset(b"cs:\xff", "securityProfile", "1")
    redis.hset("cs", "securityProfile", "1")
    redis.hset("another", "securityProfile", "1")
    return STATIONS

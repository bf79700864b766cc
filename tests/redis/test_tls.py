"""The service over TLS: what works, and what the log and readiness say when it does not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Service, running_service, wait_for
from tests.support.topologies.authority import Authority
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.node import Address, Node, free_port
from tests.support.topologies.proxy import Proxies
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.standalone import Standalone


def ready(service: Service) -> bool:
    return service.request("GET", "/health/ready").status == 200


def reason(service: Service) -> str:
    """What both the log and readiness say of a Redis that is not reached, once they do."""
    wait_for(lambda: any("reason" in event for event in service.events()), "the reason is logged")
    said = next(str(event["reason"]) for event in service.events() if "reason" in event)
    wait_for(lambda: said in service.request("GET", "/health/ready").body.decode(), "readiness too")
    reply = service.request("GET", "/health/ready")
    assert reply.status == 503
    assert service.post("/cs/cs001", {"securityProfile": 2}).status == 503
    assert service.get("/cs/cs001/auth").status == 503
    for trace in ("Traceback", "Error(", "ssl.c"):
        assert trace not in service.log
        assert trace not in reply.body.decode()
    assert service.process.poll() is None
    return said


def write_elsewhere(node: Node, profile: int) -> None:
    """Change a station's record behind the service's back."""
    node.call("HSET", "cs:cs001", "securityProfile", profile)


@contextmanager
def _named(topology: Standalone, *names: str) -> Iterator[str]:
    """The same Redis at another port, with a certificate for these names only; gives its URL."""
    with Proxies() as proxies:
        address = Address("127.0.0.1", free_port())
        context = topology.authority.server_context(*names)
        proxies.add(address, topology.node.own, tls=context, plain=False)
        yield f"rediss://{address}/0"


class TestItWorks:
    """Reads, writes and invalidations."""

    @pytest.mark.parametrize("tls", ["server", "mutual"])
    @pytest.mark.parametrize("start", [Standalone, SentinelGroup, ClusterGroup])
    def test_in_every_topology(self, start: Callable[..., Any], tls: str) -> None:
        """With the certificate that may be demanded, and a password in the URL."""
        with (
            start(tls=tls, password="s3cret") as topology,
            running_service(**topology.settings) as service,
        ):
            assert topology.url.startswith("rediss")
            wait_for(lambda: ready(service), "ready")
            assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201
            for _ in range(2):
                assert service.get("/cs/cs001/auth").json == {"securityProfile": 2}
            assert {line["near_cache"] for line in service.events("Redis reached")} == {True}
            node = (
                topology.master_of("cs:cs001")
                if isinstance(topology, ClusterGroup)
                else topology.master()
            )
            write_elsewhere(node, 3)
            wait_for(
                lambda: service.get("/cs/cs001/auth").json == {"securityProfile": 3},
                "the change is seen",
            )
            assert service.post("/cs/cs001", {"securityProfile": 1}).status == 201
            wait_for(
                lambda: service.get("/cs/cs001/auth").json == {"securityProfile": 1},
                "its own is seen",
            )

    def test_the_connection_is_encrypted(self) -> None:
        """The port speaks nothing else."""
        with Standalone(tls="server") as one:
            url = one.url.replace("rediss://", "redis://")
            with running_service(redis__url=url, **QUICK) as service:
                assert reason(service)

    def test_over_ipv6(self) -> None:
        with (
            Standalone(tls="server", ipv6=True) as one,
            running_service(**one.settings) as service,
        ):
            wait_for(lambda: ready(service), "ready")

    def test_it_is_found_again(self) -> None:
        """After a restart of Redis, with the same certificate."""
        with Standalone(tls="server") as one, running_service(**one.settings) as service:
            wait_for(lambda: ready(service), "ready")
            one.node.restart()
            wait_for(lambda: len(service.events("Redis reached")) == 2, "it is back")
            assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201


@pytest.fixture(scope="module")
def one() -> Iterator[Standalone]:
    with Standalone(tls="server") as running:
        yield running


QUICK = {"lookup__timeout": "0.5"}
"""For a service that never reaches Redis: what is asked of it is refused soon."""


class TestItDoesNot:
    """The service starts, is not ready, says why in one line, and answers 503."""

    def test_another_authority(self, one: Standalone, tmp_path: Path) -> None:
        other = Authority(tmp_path, "other").ca
        with running_service(redis__url=one.url, redis__tls_ca_file=str(other), **QUICK) as service:
            assert "certificate is refused" in reason(service)

    def test_the_systems_authorities(self, one: Standalone) -> None:
        """They did not issue it."""
        with running_service(redis__url=one.url, **QUICK) as service:
            assert "certificate is refused" in reason(service)

    def test_another_name(self, one: Standalone) -> None:
        """Unless the name does not count; the authority still does."""
        with _named(one, "redis.example.com") as url:
            settings = one.settings | {"redis__url": url}
            with running_service(**settings, **QUICK) as service:
                assert "mismatch" in reason(service).lower()
            settings["redis__tls_check_hostname"] = "false"
            with running_service(**settings) as service:
                wait_for(lambda: ready(service), "ready")
                assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201
            settings.pop("redis__tls_ca_file")
            with running_service(**settings, **QUICK) as service:
                assert "certificate is refused" in reason(service)

    def test_a_name_is_checked_as_such(self, one: Standalone) -> None:
        """localhost, when the certificate is for that."""
        with _named(one, "localhost") as url:
            settings = one.settings | {"redis__url": url.replace("127.0.0.1", "localhost")}
            with running_service(**settings) as service:
                wait_for(lambda: ready(service), "ready")
                assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201

    def test_a_certificate_is_demanded(self, tmp_path: Path) -> None:
        """None, and another authority's."""
        with Standalone(tls="mutual") as one:
            ca = {"redis__url": one.url, "redis__tls_ca_file": str(one.authority.ca)}
            with running_service(**ca, **QUICK) as service:
                assert reason(service)
            pair = Authority(tmp_path, "other").issue("stranger")
            stranger = {
                "redis__tls_cert_file": str(pair.certificate),
                "redis__tls_key_file": str(pair.key),
            }
            with running_service(**ca, **stranger, **QUICK) as service:
                assert reason(service)

    def test_redis_does_not_speak_it(self) -> None:
        with Standalone() as one:
            url = one.url.replace("redis://", "rediss://")
            with running_service(redis__url=url, **QUICK) as service:
                assert reason(service)

    @pytest.mark.parametrize("start", [SentinelGroup, ClusterGroup])
    def test_in_the_other_topologies(self, start: Callable[..., Any], tmp_path: Path) -> None:
        """Sentinels and nodes are told apart from those that cannot be reached."""
        other = str(Authority(tmp_path, "other").ca)
        with start(tls="server") as topology:
            settings = topology.settings | {"redis__tls_ca_file": other}
            with running_service(**settings) as service:
                wait_for(
                    lambda: b"certificate" in service.request("GET", "/health/ready").body,
                    "readiness says why",
                )
                assert service.post("/cs/cs001", {"securityProfile": 2}).status == 503
                assert "Traceback" not in service.log

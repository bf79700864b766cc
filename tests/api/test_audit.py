"""The line in the log for each write and each refused one: always there, and what it tells."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csms_redis.access.secret import hash_of, new_secret
from tests.conftest import (
    API,
    PATIENCE,
    Service,
    StartService,
    Valkey,
    running_service,
    wait_for,
)
from tests.support.service import Service as Process
from tests.support.service import free_port

JSON = {"Content-Type": "application/json"}
STATION = '{"securityProfile":2}'
LONG = "60"  # seconds; more than any test waits
REGISTER = (
    f"POST {API}/cs/cs001 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(STATION)}\r\n\r\n{STATION}"
).encode()
TOKEN: dict[str, Any] = {
    "countryCode": "GB",
    "partyId": "TWK",
    "type": "RFID",
    "uid": "DeadBeef",
    "contractId": "GBTWK012345678V",
    "issuer": "Thoughtworks",
    "valid": True,
    "cacheMode": "ALWAYS",
}


@pytest.fixture(scope="module")
def own() -> Iterator[Service]:
    """A service whose log is this module's own; a test looks at the last lines."""
    with running_service() as service:
        yield service


def told(service: Service, *names: str) -> list[tuple[Any, ...]]:
    """Of each write's line what it says of these."""
    return [tuple(line.get(name) for name in names) for line in service.events("write")]


@pytest.mark.parametrize("level", ["warning", "error"])
def test_no_level_leaves_a_write_out(tmp_path: Path, level: str) -> None:
    """Neither one that was made nor one that was refused; of the rest the level decides."""
    service = Process(tmp_path, {"CSMS_TELEMETRY__LOG_LEVEL": level}, port=free_port())
    try:
        service.spawn()
        service.ready()
        assert service.request("POST", f"{API}/cs/cs001", {"securityProfile": 2}).status == 201
        assert service.request("POST", f"{API}/cs/cs001", {"securityProfile": 9}).status == 400
        assert service.request("GET", "/nowhere").status == 404
        assert service.stop() == 0
    finally:
        service.__exit__(None, None, None)

    lines = [(line["event"], line["level"]) for line in service.log if "status" in line]
    expected = [("write", "info"), ("write", "warning"), ("request", "warning")]
    assert lines == expected[: 3 if level == "warning" else 2]


class TestCutOff:
    """A write whose caller gets no answer."""

    def test_by_the_end_of_the_drain(self, start_service: StartService, valkey: Valkey) -> None:
        """It may have been applied: its line says that nobody knows."""
        service = start_service(
            redis__url=valkey.url, redis__timeout=LONG, server__drain_timeout="0.2"
        )
        wait_for(lambda: service.post("/cs/cs000", {"securityProfile": 2}).status == 201, "ready")
        valkey.freeze()
        try:
            with service.raw() as writing:
                writing.send(REGISTER)
                service.process.send_signal(signal.SIGTERM)
                assert service.process.wait(PATIENCE) == 0
        finally:
            valkey.thaw()

        assert told(service, "csId", "status", "outcome", "reason")[1:] == [
            ("cs001", None, "unknown", "interrupted")
        ]

    def test_by_its_caller(self, start_service: StartService, valkey: Valkey) -> None:
        """The write is made all the same, and told as any."""
        service = start_service(redis__url=valkey.url, redis__timeout=LONG)
        wait_for(lambda: service.post("/cs/cs000", {"securityProfile": 2}).status == 201, "ready")
        valkey.freeze()
        try:
            with service.raw() as writing:
                writing.send(REGISTER)
            # as long as it is not thawed nothing can be told
            assert service.request("GET", "/health/live").status == 200
        finally:
            valkey.thaw()
        wait_for(lambda: len(service.events("write")) == 2, "its line")

        assert told(service, "csId", "status", "outcome")[1:] == [("cs001", 201, "done")]
        assert service.get("/cs/cs001").status == 200

    def test_while_it_waits_to_be_refused(self, start_service: StartService) -> None:
        """Nothing was written then, and that is what is said."""
        clients = {
            "ops": {"roles": ["operator"], "secret_hashes": [hash_of(new_secret().encode()).hex()]}
        }
        service = start_service(auth__clients=json.dumps(clients), server__drain_timeout="0.1")
        wrong = {"Authorization": "Bearer wrong"}
        for _ in range(10):
            assert service.request("GET", f"{API}/cs", headers=wrong).status == 401
        with service.raw() as slowed:
            slowed.send(REGISTER.replace(b"Host: h", b"Host: h\r\nAuthorization: Bearer wrong"))
            wait_for(lambda: service.request("GET", "/health/live").status == 200, "an answer")
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(PATIENCE) == 0

        assert told(service, "csId", "outcome", "reason") == [
            ("cs001", "refused", "The credentials are wrong.")
        ]


class TestWhereFrom:
    """`remote`: the caller's address, as proxies that are trusted tell."""

    @pytest.mark.parametrize("auth", [False, True])
    def test_the_caller_behind_a_proxy(self, start_service: StartService, auth: bool) -> None:  # noqa: FBT001 both ways
        """Whether or not credentials are needed; an address whole, not its network."""
        secret = new_secret()
        clients = {
            "ops": {"roles": ["operator"], "secret_hashes": [hash_of(secret.encode()).hex()]}
        }
        service = start_service(
            server__trusted_proxies='["127.0.0.0/8"]',
            **({"auth__clients": json.dumps(clients)} if auth else {}),
        )
        right = {"Authorization": f"Bearer {secret}"} if auth else {}
        for headers, path in (
            ({"X-Forwarded-For": "192.0.2.9, 198.51.100.7"}, f"{API}/cs/cs001"),
            ({"Forwarded": 'for="[2001:db8::17]:4711"'}, f"{API}/cs/cs001"),
            ({}, f"{API}/cs/cs001"),
            ({"X-Forwarded-For": "198.51.100.8"}, "/nowhere"),
        ):
            service.request("POST", path, "{}", JSON | right | headers)
        service.request("POST", f"{API}/cs/x", "{}", JSON | {"X-Forwarded-For": "198.51.100.9"})

        assert told(service, "remote") == [
            ("198.51.100.7",),
            ("2001:db8::17",),
            ("127.0.0.1",),
            ("198.51.100.8",),
            ("198.51.100.9",),
        ]

    def test_who_is_not_trusted_is_not_believed(self, own: Service) -> None:
        own.request("POST", f"{API}/cs/x", "{}", JSON | {"X-Forwarded-For": "198.51.100.7"})
        assert told(own, "remote")[-1] == ("127.0.0.1",)


class TestWhich:
    """The record that a line is about."""

    def test_a_token_has_one_spelling(self, own: Service) -> None:
        """That of its key, whoever writes it how."""
        assert own.post("/token", TOKEN).status == 201
        assert own.delete("/token/deadBEEF").status == 204
        assert own.delete("/token/deadBEEF").status == 404
        assert told(own, "uid")[-3:] == [("DEADBEEF",)] * 3

    def test_what_is_no_record_is_told_by_its_path(self, own: Service) -> None:
        """As it came, so escaped; of bounded length, without the query or what may be a key."""
        long = "x" * 49
        for method, path in (
            ("POST", f"{API}/cs/{long}"),
            ("DELETE", f"{API}/cs/%FF"),
            ("PUT", f"{API}/cs/%0A/registrationStatus"),
            ("DELETE", f"{API}/token/{long}"),
            ("DELETE", f"{API}/certificate/-----BEGIN PRIVATE KEY-----".replace(" ", "%20")),
            ("POST", f"{API}/certificate/-----BEGIN"),
            ("PUT", f"{API}/token?password=hunter2"),
            ("POST", "/nowhere/%22?password=hunter2"),
            ("POST", "/" + "y" * 1000),
            ("POST", f"{API}/token"),
        ):
            assert own.request(method, path, "{}", JSON).status >= 400
        assert told(own, "path")[-10:] == [
            (f"{API}/cs/{long}",),
            (f"{API}/cs/%FF",),
            (f"{API}/cs/%0A/registrationStatus",),
            (f"{API}/token/{long}",),
            (f"{API}/certificate/…",),
            (f"{API}/certificate/…",),
            (f"{API}/token",),
            ("/nowhere/%22",),
            ("/" + "y" * 199,),
            (f"{API}/token",),
        ]
        assert "hunter2" not in own.log
        assert "PRIVATE" not in own.log

    def test_a_path_is_told_only_where_there_is_no_record(self, own: Service) -> None:
        own.post("/cs/cs001", {"securityProfile": 2})
        own.post("/cs/cs001", {"securityProfile": 9})
        assert told(own, "csId", "path")[-2:] == [("cs001", None)] * 2

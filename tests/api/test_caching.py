"""No cache may keep an answer: it would outlive its station, its block or its credential."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.conftest import (
    API,
    PATIENCE,
    Reply,
    Service,
    StartService,
    Valkey,
    running_service,
    short_directory,
    wait_for,
)
from tests.support.service import free_port, request

JSON = {"Content-Type": "application/json"}
AUTH = f"{API}/cs/cs001/auth"
STATUS = f"{API}/cs/cs001/registrationStatus"
LONG = b"[" * 300_000
VARNISH = shutil.which("varnishd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def raw(data: bytes) -> Callable[[Service], Reply]:
    """Send bytes, and read what is said to them."""

    def send(service: Service) -> Reply:
        with service.raw() as connection:
            connection.send(data)
            return connection.reply()

    return send


def asked(
    method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Callable[[Service], Reply]:
    """Send a request that a client would send."""
    return lambda service: service.request(method, path, body, headers or JSON)


# one for each place that answers are made in: what is sent, and the status that it is answered
ANSWERS: dict[str, tuple[int, Callable[[Service], Reply]]] = {
    "a lookup": (200, asked("GET", AUTH)),
    "a lookup over aiohttp": (200, asked("GET", AUTH, headers={"Content-Length": "0"})),
    "a lookup's HEAD": (200, asked("HEAD", AUTH)),
    "a lookup of nobody": (404, asked("GET", f"{API}/cs/nobody/auth")),
    "a lookup of nobody over aiohttp": (
        404,
        asked("GET", f"{API}/cs/nobody/auth", headers={"Content-Length": "0"}),
    ),
    "a lookup of HTTP/1.0": (200, raw(f"GET {AUTH} HTTP/1.0\r\n\r\n".encode())),
    "details": (200, asked("GET", f"{API}/cs/cs001")),
    "a listing": (200, asked("GET", f"{API}/cs")),
    "a listing of a wrong limit": (400, asked("GET", f"{API}/cs?limit=0")),
    "a registration": (201, asked("POST", f"{API}/cs/cs001", b'{"securityProfile":2}')),
    "a refused registration": (400, asked("POST", f"{API}/cs/cs001", b"{}")),
    "a registration of no JSON": (
        415,
        asked("POST", f"{API}/cs/cs001", b"{}", {"Content-Type": "text/plain"}),
    ),
    "a body that is too large": (413, asked("POST", f"{API}/cs/cs001", LONG)),
    "a status": (204, asked("PUT", STATUS, b'{"registrationStatus":"Accepted"}')),
    "a deletion of nothing": (404, asked("DELETE", f"{API}/cs/nobody")),
    "no such path": (404, asked("GET", "/nowhere")),
    "no such method": (405, asked("PATCH", f"{API}/cs/cs001")),
    "an expectation": (417, asked("GET", AUTH, headers={"Expect": "the unexpected"})),
    "no HTTP": (400, raw(b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n")),
    "half a request": (408, raw(b"GET / HTTP/1.1\r\n")),
    "liveness": (200, asked("GET", "/health/live")),
    "readiness": (200, asked("GET", "/health/ready")),
    "metrics": (200, asked("GET", "/metrics")),
    "the OpenAPI document": (200, asked("GET", "/api/openapi.json")),
    "the documentation": (200, asked("GET", "/docs")),
    "its script": (200, asked("GET", "/docs/swagger-ui-bundle.js")),
}


@pytest.fixture(scope="module")
def own() -> Iterator[Service]:
    """A service with one station, which does not wait long for a request's end."""
    with running_service(server__request_timeout="0.5") as service:
        assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201
        yield service


@pytest.mark.parametrize("what", ANSWERS)
def test_no_answer_may_be_stored(own: Service, what: str) -> None:
    status, ask = ANSWERS[what]
    for _ in range(2):  # the second time the near cache may have it
        reply = ask(own)

        assert (reply.status, reply.headers["Cache-Control"]) == (status, "no-store")


def test_nor_one_while_redis_is_away(start_service: StartService, valkey: Valkey) -> None:
    service = start_service(redis__url=valkey.url, lookup__timeout="0.5")
    valkey.kill()
    wait_for(lambda: service.get("/cs/nobody/auth").status == 503, "Redis is away")
    for reply in (
        service.get("/cs/nobody/auth"),
        service.request("GET", f"{API}/cs/nobody/auth", headers={"Content-Length": "0"}),
        service.post("/cs/cs001", {"securityProfile": 2}),
    ):
        assert (reply.status, reply.headers["Cache-Control"]) == (503, "no-store")


def test_nor_one_to_a_stranger(start_service: StartService) -> None:
    service = start_service(auth__clients='{"maeve":{"roles":["gateway"]}}')
    for reply in (service.get("/cs/cs001/auth"), service.get("/cs"), service.get("/nowhere")):
        assert (reply.status, reply.headers["Cache-Control"]) == (401, "no-store")


@contextmanager
def running_varnish(service: Service) -> Iterator[int]:
    """Varnish with its default settings before a service; gives its port."""
    assert VARNISH is not None
    port = free_port()
    with short_directory() as home, (home / "log").open("wb") as log:
        home.chmod(0o755)  # its workers are another user's, when root starts it
        command = [
            *(VARNISH, "-F", "-n", str(home / "varnish"), "-a", f"127.0.0.1:{port}"),
            *("-b", f"{service.host}:{service.port}"),
        ]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as varnish:
            try:
                wait_for(
                    lambda: varnish.poll() is not None or _listens(port), "it listens", seconds=60
                )
                assert varnish.poll() is None, (home / "log").read_text()
                yield port
            finally:
                varnish.terminate()
                varnish.wait(PATIENCE)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.mark.skipif(VARNISH is None, reason="Varnish is not installed: apt install varnish")
def test_behind_varnish_a_new_station_is_found_and_a_blocked_one_is_not(own: Service) -> None:
    def lookup() -> int:
        return request(port, "GET", f"{API}/cs/varnish/auth").status

    with running_varnish(own) as port:
        before = lookup()
        own.post("/cs/varnish", {"securityProfile": 2})
        registered = [lookup(), lookup()]
        body = '{"registrationStatus":"Rejected"}'
        own.request("PUT", f"{API}/cs/varnish/registrationStatus", body, JSON)
        blocked = [lookup(), lookup()]

    assert before == 404
    assert registered == [200, 200]
    assert blocked == [404, 404]

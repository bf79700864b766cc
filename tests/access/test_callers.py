"""Who may call a service that really runs: secrets, their rotation, and what the log tells."""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector
from yarl import URL

from csms_redis.access.secret import hash_of, new_secret
from tests.conftest import API, PATIENCE, Service, StartService, fresh_service, wait_for
from tests.support.activated import Activated

LOOKUP = f"{API}/cs/cs001/auth"
JSON = {"Content-Type": "application/json"}
STATION = '{"securityProfile":2}'


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{name}:{secret}".encode()).decode()}


def write_hashes(file: Path, *secrets: str) -> None:
    """Put another file in the place of a secret file, as Kubernetes does."""
    new = file.with_suffix(".new")
    new.write_text("".join(f"{hash_of(secret.encode()).hex()}\n" for secret in secrets), "utf-8")
    new.replace(file)


class Guarded:
    """A service that has clients."""

    def __init__(self, home: Path) -> None:
        self.file = home / "gateway"
        self.gateway, self.operator, self.metrics = new_secret(), new_secret(), new_secret()
        write_hashes(self.file, self.gateway)

    @property
    def clients(self) -> str:
        """The setting."""
        return json.dumps(
            {
                "maeve": {"roles": ["gateway"], "secret_file": str(self.file)},
                "ops": {
                    "roles": ["operator"],
                    "secret_hashes": [hash_of(self.operator.encode()).hex()],
                },
                "prometheus": {
                    "roles": ["metrics"],
                    "secret_hashes": [hash_of(self.metrics.encode()).hex()],
                },
            }
        )


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    """Clients' secrets."""
    return Guarded(tmp_path)


def ask(service: Service, headers: dict[str, str], path: str = LOOKUP) -> int:
    return service.request("GET", path, headers=headers).status


def test_a_gateway_with_its_name_and_secret_in_the_address(
    guarded: Guarded, start_service: StartService
) -> None:
    """As MaEVe's does with `http://maeve:secret@host`: HTTP Basic."""
    service = start_service(auth__clients=guarded.clients)
    registered = service.request(
        "POST", f"{API}/cs/cs001", STATION, JSON | bearer(guarded.operator)
    )
    assert registered.status == 201
    assert ask(service, basic("maeve", guarded.gateway)) == 200
    assert ask(service, basic("ops", guarded.gateway)) == 401
    assert ask(service, {}) == 401
    assert ask(service, bearer(guarded.operator)) == 403
    assert ask(service, bearer(guarded.metrics), "/metrics") == 200
    assert ask(service, bearer(guarded.gateway), "/metrics") == 403
    assert ask(service, {}, "/metrics") == 401
    assert ask(service, {}, "/health/ready") == 200
    path = f"{API}/cs/cs001"
    assert service.request("DELETE", path, headers=bearer(guarded.gateway)).status == 403
    assert service.request("DELETE", path).status == 401
    told = ("client", "operation", "csId", "status", "outcome")
    assert [tuple(line.get(name) for name in told) for line in service.events("write")] == [
        ("ops", "registerChargeStation", "cs001", 201, "done"),
        ("maeve", "deleteChargeStation", "cs001", 403, "refused"),
        (None, "deleteChargeStation", "cs001", 401, "refused"),
    ]
    assert all(line["request_id"] for line in service.events("write"))


class TestTheAddressAlone:
    """Of the service a gateway is told `http://maeve:secret@host`, and nothing else."""

    @pytest.fixture
    def service(self, guarded: Guarded, start_service: StartService) -> Service:
        service = start_service(auth__clients=guarded.clients)
        headers = JSON | bearer(guarded.operator)
        assert service.request("POST", f"{API}/cs/cs001", STATION, headers).status == 201
        return service

    async def test_to_a_client_that_keeps_no_connection(
        self, guarded: Guarded, service: Service
    ) -> None:
        """As Go's does under load: each lookup comes on a new one."""
        address = URL(service.url).with_user("maeve").with_password(guarded.gateway)
        async with ClientSession(connector=TCPConnector(force_close=True)) as session:

            async def ask(address: URL, path: str) -> int:
                async with session.get(address.joinpath(*path.split("/")[1:])) as response:
                    await response.read()
                    return response.status

            asked = [ask(address, path) for path in [LOOKUP, f"{API}/cs/cs002/auth"] * 50]
            assert await asyncio.gather(*asked) == [200, 404] * 50
            assert await ask(address.with_password("wrong"), LOOKUP) == 401
            assert await ask(address.with_user(None), LOOKUP) == 401
            assert await ask(address, f"{API}/cs") == 403

    @pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
    def test_to_curl(self, guarded: Guarded, service: Service) -> None:
        def ask(user: str) -> tuple[bytes, str]:
            address = service.url.replace("://", f"://{user}") + LOOKUP
            asked = ["curl", "-s", "--noproxy", "*", "-w", "\n%{http_code}", address]
            said = subprocess.run(asked, capture_output=True, timeout=PATIENCE, check=True).stdout
            body, _, status = said.rpartition(b"\n")
            return body, status.decode()

        assert ask(f"maeve:{guarded.gateway}@") == (b'{"securityProfile":2}', "200")
        assert ask("maeve:wrong@")[1] == "401"
        assert ask("")[1] == "401"


def test_rotation_without_a_restart(guarded: Guarded, start_service: StartService) -> None:
    """The new secret holds besides the old, then alone, on the connection that is open."""
    service = start_service(auth__clients=guarded.clients)
    old, new = basic("maeve", guarded.gateway), basic("maeve", new_secret_of := new_secret())
    connection = http.client.HTTPConnection(service.host, service.port, timeout=PATIENCE)
    with contextlib.closing(connection):

        def status(headers: dict[str, str]) -> int:
            connection.request("GET", LOOKUP, headers=headers)
            response = connection.getresponse()
            response.read()
            return response.status

        assert (status(old), status(new)) == (404, 401)
        write_hashes(guarded.file, guarded.gateway, new_secret_of)
        wait_for(lambda: status(new) == 404, "the new secret holds")
        assert status(old) == 404
        guarded.file.write_text("not a hash\n", "utf-8")
        wait_for(lambda: service.events("not reloaded: the old one stays"), "a line in the log")
        assert (status(old), status(new)) == (404, 404)
        write_hashes(guarded.file, new_secret_of)
        wait_for(lambda: status(old) == 401, "the old secret is revoked")
        assert status(new) == 404


def test_brute_force_is_slowed_and_the_gateway_is_not(
    guarded: Guarded, start_service: StartService
) -> None:
    service = start_service(auth__clients=guarded.clients)
    for _ in range(10):
        assert ask(service, bearer("wrong")) == 401
    started = time.monotonic()
    assert ask(service, bearer("wrong")) == 401
    assert time.monotonic() - started > 0.8
    started = time.monotonic()
    assert ask(service, bearer("wrong"), f"{API}/cs") == 401  # through aiohttp, the same patience
    assert time.monotonic() - started > 0.4
    started = time.monotonic()
    for _ in range(50):
        assert ask(service, basic("maeve", guarded.gateway)) == 404
    assert time.monotonic() - started < 1


def test_no_secret_is_told(guarded: Guarded) -> None:
    """Neither in the log, nor in an error, nor in what ps shows; nor is a wrong one."""
    settings = {"auth__clients": guarded.clients, "telemetry__log_level": "debug"}
    secrets = [guarded.gateway, guarded.operator, guarded.metrics, "hunter2-wrong"]
    with fresh_service(**settings) as service:
        replies = [
            service.request(method, path, headers=headers)
            for secret in secrets
            for headers in (bearer(secret), basic("maeve", secret), basic(secret, secret))
            for method, path in (("GET", LOOKUP), ("DELETE", f"{API}/cs/x"), ("GET", "/metrics"))
        ]
        shown = service.log + Path(f"/proc/{service.process.pid}/cmdline").read_text("utf-8")
    shown += "".join(f"{reply.headers}{reply.body!r}" for reply in replies if reply.status >= 400)
    assert {401, 403} <= {reply.status for reply in replies}
    for secret in secrets:
        assert secret not in shown
        assert b64encode(secret.encode()).decode()[:-4] not in shown


@pytest.mark.parametrize(
    ("host", "roles", "warned"),
    [
        ("127.0.0.1", "none", 0),
        ("0.0.0.0", "none", 1),
        ("0.0.0.0", "some", 0),
        ("::", "none", 1),
        ("::ffff:127.0.0.1", "none", 0),
    ],
)
def test_one_warning_when_everyone_may_call(
    guarded: Guarded, start_service: StartService, host: str, roles: str, warned: int
) -> None:
    settings = {"auth__clients": guarded.clients} if roles == "some" else {}
    service = start_service(server__host=host, **settings)
    told = [event for event in service.events() if "everyone" in event["event"]]
    assert [event["level"] for event in told] == ["warning"] * warned


@pytest.mark.parametrize(
    ("said", "host", "warned"), [("0.0.0.0", "127.0.0.1", 0), ("127.0.0.1", "0.0.0.0", 1)]
)
def test_the_warning_is_about_where_it_really_listens(
    tmp_path: Path, said: str, host: str, warned: int
) -> None:
    """Not about `server.host`, where systemd hands the socket over."""
    (tmp_path / "config.toml").write_text(f'[server]\nhost = "{said}"\n', "utf-8")
    with (
        socket.create_server((host, 0)) as listening,
        Activated(tmp_path, listening) as service,
    ):
        told = [line for line in service.log if "everyone" in line["event"]]
        assert [line["level"] for line in told] == ["warning"] * warned


def test_nobody_is_warned_of_a_unix_socket(tmp_path: Path) -> None:
    """Who reaches it is for the file's mode to say."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        (tmp_path / "config.toml").write_text('[server]\nhost = "0.0.0.0"\n', "utf-8")
        with Activated(tmp_path, listening) as service:
            assert not any("everyone" in line["event"] for line in service.log)


def test_a_secret_file_that_is_missing_ends_the_start(tmp_path: Path) -> None:
    clients = {"a": {"roles": ["gateway"], "secret_file": str(tmp_path / "missing")}}
    ended = subprocess.run(
        [sys.executable, "-m", "csms_redis", "serve"],
        env=os.environ | {"CSMS_AUTH__CLIENTS": json.dumps(clients)},
        cwd=tmp_path,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert b"missing: cannot be read" in ended.stderr


def test_new_secret(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "csms_redis", "new-secret"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    told = dict(line.split() for line in made.stdout.splitlines())
    assert told["hash"] == hash_of(told["secret"].encode()).hex()

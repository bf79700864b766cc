"""What was acknowledged is there, however the service and its store ended."""

import json
import random
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.made import certificates, token
from tests.support.service import HOST, Reply, Service, free_port, run, until

KILLS = 20
WRITERS = 6
API = "/api/v0"

Value: TypeAlias = str | None  # what makes a record distinct; None: there is no record


class Client:
    """One kept-alive connection, opened anew after a fault."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection(HOST, port, timeout=60)

    def request(self, method: str, path: str, body: object = None) -> Reply:
        """Send one request, once.

        Raises:
            OSError: there was no reply.
            HTTPException: there was no whole reply.
        """
        try:
            sent = None if body is None else json.dumps(body)
            self._connection.request(method, API + path, sent, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            return Reply(response.status, response.read())
        except (OSError, HTTPException):
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()


class Writer(threading.Thread):
    """Writes records that nobody else writes, and keeps what each of them may be.

    A key's writes follow one another, so an acknowledged one leaves one possible value; one whose
    fate is unknown adds its own.
    """

    def __init__(self, name: str, port: int, pems: dict[str, str], seed: int) -> None:
        super().__init__(name=name)
        self.may_be: dict[str, set[Value]] = {}
        self.acknowledged = {"station": 0, "token": 0, "upload": 0, "delete": 0}
        self.unknown = 0
        self.wrong: list[str] = []
        self.stopping = threading.Event()
        self._client = Client(port)
        self._pems = pems
        self._random = random.Random(seed)
        self._number = 0

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self._write_one()
                time.sleep(self._random.uniform(0, 0.01))
        except Exception as error:  # noqa: BLE001 a thread's end would go unseen
            self.wrong.append(repr(error))
        finally:
            self._client.close()

    def _write_one(self) -> None:
        self._number += 1
        value = f"{self.name}-{self._number}"
        # Records that are written once show every loss; those written again, a lost update.
        fresh = self._random.random() < 0.7
        key = value if fresh else f"{self.name}-hot-{self._random.randrange(10)}"
        kind = self._random.choice(["station", "token", "upload", "delete"])
        if kind == "station":
            password = b64encode(sha256(value.encode()).digest()).decode()
            auth = {"securityProfile": 1, "base64SHA256Password": password}
            self._send("station", "POST", f"/cs/{key}", auth, f"/cs/{key}/auth", password)
        elif kind == "token":
            self._send("token", "POST", "/token", token(key, value), f"/token/{key}", value)
        else:
            digest = self._random.choice(list(self._pems))
            path = f"/certificate/{digest}"
            if kind == "upload":
                # Text before the certificate is kept as well.
                pem = f"{value}\n{self._pems[digest]}"
                self._send("upload", "POST", "/certificate", {"certificate": pem}, path, pem)
            else:
                self._send("delete", "DELETE", path, None, path, None)

    def _send(
        self, kind: str, method: str, path: str, body: object, lookup: str, value: Value
    ) -> None:
        before = self.may_be.get(lookup, {None})
        try:
            reply = self._client.request(method, path, body)
        except ConnectionRefusedError:
            time.sleep(0.01)  # nothing was sent
            return
        except (OSError, HTTPException):
            self.unknown += 1
            self.may_be[lookup] = before | {value}
            return
        if reply.status == (204 if method == "DELETE" else 201):
            self.acknowledged[kind] += 1
            if method == "DELETE" and before == {None}:
                self.wrong.append(f"{path}: deleted what was never there")
            self.may_be[lookup] = {value}
        elif reply.status == 404 and method == "DELETE":
            if None not in before:
                self.wrong.append(f"{path}: lost before it was to be deleted")
            self.may_be[lookup] = {None}
        elif reply.status == 503:
            if "Nothing was changed" not in reply.json["error"]:
                self.unknown += 1
                self.may_be[lookup] = before | {value}
        else:
            self.wrong.append(f"{method} {path}: {reply}")


def stored(client: Client, lookup: str) -> Value:
    """What a lookup tells of the record: the property that makes it distinct."""
    reply = client.request("GET", lookup)
    if reply.status == 404:
        return None
    assert reply.status == 200, (lookup, reply)
    record: dict[str, str] = reply.json
    return next(
        record[name] for name in ("base64SHA256Password", "certificate", "issuer") if name in record
    )


def lost(port: int, may_be: dict[str, set[Value]]) -> list[str]:
    """Compare every record with what it may be."""
    client = Client(port)
    try:
        return [
            f"{lookup} is {found!r} and should be {values!r}"
            for lookup, values in may_be.items()
            if (found := stored(client, lookup)) not in values
        ]
    finally:
        client.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that keeps its port when it is started again; not started yet."""
    made = Service(tmp_path, port=free_port())
    with made:
        yield made


def test_nothing_acknowledged_is_lost_when_service_and_store_are_killed(service: Service) -> None:
    """Six writers, 20 times SIGKILL for the service, for Valkey or for both, at any moment."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    writers = [
        Writer(f"w{number}", service.port, certificates(40), chance.randrange(2**32))
        for number in range(WRITERS)
    ]
    service.ready()
    for writer in writers:
        writer.start()
    killed = {"service": 0, "valkey": 0}
    try:
        while sum(killed.values()) < KILLS:
            # Mostly in the middle of the work, sometimes while it is still starting.
            if chance.random() < 0.75:
                service.ready()
            time.sleep(chance.uniform(0, 1))
            victims = chance.choice([("service",), ("valkey",), ("service", "valkey")])
            if "valkey" in victims:
                killed["valkey"] += service.kill_valkey()
            if "service" in victims:
                service.kill()
                killed["service"] += 1
                service.spawn()
        service.ready()
        time.sleep(0.3)
    finally:
        for writer in writers:
            writer.stopping.set()
        for writer in writers:
            writer.join(90)

    assert [wrong for writer in writers for wrong in writer.wrong] == [], f"seed {seed}"
    may_be = {key: values for writer in writers for key, values in writer.may_be.items()}
    assert lost(service.port, may_be) == [], f"seed {seed}"
    assert service.stop() == 0
    service.start().ready()
    assert lost(service.port, may_be) == [], f"after an orderly restart; seed {seed}"
    # and the test has seen what it is for
    for kind in ("station", "token", "upload", "delete"):
        assert sum(writer.acknowledged[kind] for writer in writers) > 100, kind
    assert sum(writer.unknown for writer in writers) > 0
    assert killed["service"] >= 1
    assert killed["valkey"] >= 1


def test_data_outlives_an_orderly_restart(service: Service) -> None:
    """One record of each kind is the same after SIGTERM and a new start."""
    ((digest, pem),) = certificates(1).items()
    auth = {"securityProfile": 2, "invalidUsernameAllowed": True}
    assert service.request("POST", f"{API}/cs/cs001", auth) == (201, b"")
    assert service.request("POST", f"{API}/token", token("A1", "someone")) == (201, b"")
    assert service.request("POST", f"{API}/certificate", {"certificate": pem}) == (201, b"")
    paths = [f"{API}/cs/cs001/auth", f"{API}/token/A1", f"{API}/certificate/{digest}"]
    before = [service.request("GET", path) for path in paths]
    assert [reply.status for reply in before] == [200, 200, 200]

    assert service.stop() == 0
    assert service.valkey_pid is None
    service.start().ready()

    assert [service.request("GET", path) for path in paths] == before


def test_sigterm_under_load_answers_what_was_accepted(service: Service) -> None:
    """Every request sent before SIGTERM is answered; the exit code is 0."""
    service.ready()
    writers = [Terminated(f"t{number}", service.port) for number in range(8)]
    for writer in writers:
        writer.start()
    time.sleep(1)
    signalled = time.monotonic()
    assert service.stop() == 0
    for writer in writers:
        writer.join(30)

    unanswered = [sent for writer in writers for sent in writer.unanswered if sent < signalled]
    assert unanswered == []
    assert {status for writer in writers for status in writer.statuses} == {201}
    acknowledged = {key: values for writer in writers for key, values in writer.may_be.items()}
    assert len(acknowledged) > 50
    service.start().ready()
    assert lost(service.port, acknowledged) == []


def test_a_request_half_sent_at_sigterm_is_answered(service: Service) -> None:
    """The rest of its body is read within the drain, it is answered 201, the exit code is 0."""
    service.ready()
    body = b'{"securityProfile": 2}'
    head = (
        f"POST {API}/cs/half HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((HOST, service.port), timeout=20) as connection:
        connection.sendall(head.encode() + body[:9])
        time.sleep(0.3)
        service.process.terminate()
        time.sleep(0.3)
        connection.sendall(body[9:])
        with connection.makefile("rb") as reply:
            assert reply.readline() == b"HTTP/1.1 201 Created\r\n"
    assert service.process.wait(20) == 0
    service.start().ready()
    assert service.request("GET", f"{API}/cs/half/auth").json == {"securityProfile": 2}


class Terminated(threading.Thread):
    """Writes until the service takes no more."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name=name)
        self.statuses: list[int] = []
        self.unanswered: list[float] = []  # when each was sent
        self.may_be: dict[str, set[Value]] = {}
        self._client = Client(port)

    def run(self) -> None:
        for number in range(100_000):
            key, value = f"{self.name}-{number}", f"value-{self.name}-{number}"
            sent = time.monotonic()
            try:
                reply = self._client.request("POST", "/token", token(key, value))
            except (OSError, HTTPException) as error:
                if not isinstance(error, ConnectionRefusedError):
                    self.unanswered.append(sent)
                break
            self.statuses.append(reply.status)
            if reply.status == 201:
                self.may_be[f"/token/{key}"] = {value}
        self._client.close()


def complaint(stderr: bytes) -> str:
    """The one line in which a refused start says why."""
    text = stderr.decode()
    assert "Traceback" not in text
    (line,) = [line for line in text.splitlines() if not line.startswith("{")]
    return line


def test_a_port_in_use_ends_the_start(service: Service, tmp_path: Path) -> None:
    """One clear line, exit code 1, and no Valkey is left behind."""
    other = tmp_path / "other"
    other.mkdir()
    refused = run("serve", "--port", str(service.port), cwd=other)
    line = complaint(refused.stderr)
    assert line.startswith(f"csms-redis: cannot listen on 127.0.0.1 port {service.port}: ")
    assert line.endswith("address already in use")
    assert refused.returncode == 1
    assert not (other / "data" / "valkey.pid").exists()
    assert service.ready().request("GET", "/health").json == {"status": "OK"}


def test_a_second_service_on_the_same_data_is_refused(service: Service) -> None:
    """One clear line that names the owner, exit code 1; the first one works on."""
    refused = run("serve", "--port", "0", cwd=service.home)
    assert complaint(refused.stderr) == (
        f"csms-redis: redis.data_dir {service.data_dir} is in use by process "
        f"{service.process.pid}: stop that one first, or give this one another redis.data_dir"
    )
    assert refused.returncode == 1
    assert service.ready().request("GET", "/health").json == {"status": "OK"}


def test_the_stores_death_is_told_and_mended(service: Service) -> None:
    """Readiness names Redis while Valkey is dead; liveness does not; both heal by themselves."""
    service.ready()
    seen = service.request("GET", "/health/ready")

    def noticed() -> bool:
        # It is back in a moment, and at each death a little later.
        nonlocal seen
        service.kill_valkey()
        seen = service.request("GET", "/health/ready")
        return seen.status != 200

    until(noticed, "readiness tells of the death")
    assert seen.status == 503
    assert "redis: " in seen.json["error"]
    assert seen.json["components"]["redis"] != "OK"
    assert service.request("GET", "/health/live") == (200, b'{"status":"OK"}')
    assert [line for line in service.log if line["event"] == "valkey died"]

    service.ready()
    assert service.request("POST", f"{API}/cs/cs001", {"securityProfile": 2}).status == 201

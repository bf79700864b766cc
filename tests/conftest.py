"""What several suites share: services and Valkeys that really run, and a plain HTTP client."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, TypeAlias
from urllib.parse import quote, urlsplit

import pytest
import structlog
from redis import Redis

from tests.support.program import Program
from tests.support.topologies.software import CHOSEN, Software

DATA = Path(__file__).parent / "data"
API = "/api/v0"
PATIENCE = 20.0  # seconds until something that should happen is given up


def wait_for(condition: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> None:
    """Wait until a condition holds, and fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def segment(text: str | bytes) -> str:
    """Text as one segment of a path, all but unreserved characters escaped."""
    return quote(text, safe="")


def password_hash(password: str) -> str:
    """The `base64SHA256Password` of a password."""
    return b64encode(sha256(password.encode()).digest()).decode()


@dataclass(frozen=True)
class Reply:
    """An HTTP reply."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which must be said to be JSON."""
        assert self.headers["Content-Type"].startswith("application/json")
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The error text of a body, which must be exactly a `Status` for this reply."""
        assert {"status": self.reason, "error": self.json["error"]} == self.json
        assert self.status >= 400
        assert self.json["error"]
        return str(self.json["error"])


class RawConnection:
    """A socket for what no HTTP client would send."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave without a farewell: the other side gets an RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def reply(self, method: str = "GET") -> Reply:
        """Read one reply, as to a request of `method`.

        Raises:
            http.client.HTTPException: it is not one.
        """
        with http.client.HTTPResponse(self._socket, method=method) as response:
            response.begin()
            headers = http.client.HTTPMessage()
            for name, value in response.getheaders():
                headers[name] = value
            return Reply(response.status, response.reason, dict(headers), response.read())

    def rest(self) -> bytes:
        """Read until the other side closes."""
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := self._socket.recv(65536):
                received += data
        return received


class Service:
    """A running `csms-redis serve`, with the files it writes."""

    def __init__(self, home: Path, settings: Mapping[str, str], *, fresh: bool = False) -> None:
        """Start it; `fresh` with an interpreter of its own, which takes a second longer."""
        self.data_dir = home / "data"
        self._log = home / "log"
        environment = {
            **{n: value for n, value in os.environ.items() if not n.upper().startswith("CSMS_")},
            "CSMS_SERVER__PORT": "0",
            "CSMS_REDIS__DATA_DIR": str(self.data_dir),
            "CSMS_TELEMETRY__LOG_FORMAT": "json",
            **settings,
        }
        self.process: subprocess.Popen[bytes]
        with self._log.open("wb") as log:
            if fresh:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "csms_redis", "serve"],
                    cwd=home,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            else:
                self.process = Program("serve", cwd=home, env=environment, stdout=log, stderr=log)
        self.url = ""

    def __enter__(self) -> Self:
        try:
            wait_for(self._listening, "the service listens")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _listening(self) -> bool:
        assert self.process.poll() is None, self.log
        found = re.search(
            r"https?://[][\w.:]+(?=.*listening)|(?<=listening).*(https?://[][\w.:]+)", self.log
        )
        self.url = found[1] or found[0] if found else ""
        return bool(self.url)

    def stop(self) -> int:
        """Ask the service to end, wait for it, and give its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def log(self) -> str:
        """All that was written to standard output and standard error."""
        return self._log.read_bytes().decode()

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """The log's lines, which must be JSON; only those of one event if it is named."""
        *lines, _being_written = self.log.split("\n")
        events: list[dict[str, Any]] = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in events if name in {None, event["event"]}]

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Reply(
                response.status, response.reason, dict(response.getheaders()), response.read()
            )

    def get(self, path: str) -> Reply:
        """`GET` a path below /api/v0."""
        return self.request("GET", API + path)

    def post(self, path: str, record: object) -> Reply:
        """`POST` a value as JSON to a path below /api/v0."""
        headers = {"Content-Type": "application/json"}
        return self.request("POST", API + path, json.dumps(record), headers)

    def delete(self, path: str) -> Reply:
        """`DELETE` a path below /api/v0."""
        return self.request("DELETE", API + path)

    def raw(self) -> RawConnection:
        """Open a connection."""
        return RawConnection(self.host, self.port)


class Valkey:
    """A Valkey of the test's own (or what tests run on), on a Unix socket, nothing on disk."""

    def __init__(self, home: Path, *options: str, software: Software = CHOSEN) -> None:
        self.socket = str(home / "valkey.sock")
        self._program = software.command
        self.url = f"unix://{self.socket}"
        self._home = home
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        arguments = ["--port", "0", "--unixsocket", self.socket, "--save", "", *self._options]
        with (self._home / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *arguments],
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, "Valkey answers")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._home / "valkey.log").read_text()
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            probe.connect(self.socket)
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Let it accept connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


StartService: TypeAlias = Callable[..., Service]


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """A directory whose path leaves room for the name of a Unix socket."""
    path = Path(tempfile.mkdtemp(prefix="csms-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _running_service(settings: Mapping[str, str], *, fresh: bool) -> Iterator[Service]:
    environment = {f"CSMS_{name.upper()}": value for name, value in settings.items()}
    with short_directory() as home, Service(home, environment, fresh=fresh) as service:
        yield service


def running_service(**settings: str) -> AbstractContextManager[Service]:
    """A service with settings of its own, as in `server__port="0"`; it ends with the block."""
    return _running_service(settings, fresh=False)


def fresh_service(**settings: str) -> AbstractContextManager[Service]:
    """As `running_service`, with an interpreter and a list of arguments of its own."""
    return _running_service(settings, fresh=True)


@contextlib.contextmanager
def running_valkey(*options: str, software: Software = CHOSEN) -> Iterator[Valkey]:
    """A Valkey with options of its own, or another server; it ends with the block."""
    with short_directory() as home, Valkey(home, *options, software=software) as valkey:
        yield valkey


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """A command that runs in this process silences the log, but not for the next test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """The service as it is without any settings: an embedded Valkey, not strict."""
    with running_service() as running:
        yield running


@pytest.fixture(scope="session")
def redis(service: Service) -> Iterator[Redis]:
    """The embedded Valkey of `service`."""
    with Redis(unix_socket_path=str(service.data_dir / "valkey.sock")) as client:
        yield client


@pytest.fixture
def start_service() -> Iterator[StartService]:
    """Start services with settings of their own, as in `start_service(api__strict="true")`."""
    with contextlib.ExitStack() as running:

        def start(**settings: str) -> Service:
            return running.enter_context(running_service(**settings))

        yield start


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """An empty Valkey of the test's own."""
    with running_valkey() as running:
        yield running

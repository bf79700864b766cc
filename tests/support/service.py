"""`csms-redis` and Valkey as processes of their own, as an operator runs them."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.support import program
from tests.support.topologies.software import CHOSEN

PROGRAM = program.PROGRAM
HOST = "127.0.0.1"
PASSWORD = "Str0ng:p@ss/w#rd?"  # every character that has a meaning in a URL


class Reply(NamedTuple):
    """An HTTP reply."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without anyone's own settings, and with these."""
    own = {key: value for key, value in os.environ.items() if not key.upper().startswith("CSMS_")}
    return own | dict(settings or {})


def run(
    *arguments: str,
    cwd: Path,
    settings: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> subprocess.CompletedProcess[bytes]:
    """Run one `csms-redis` command to its end."""
    return program.run(*arguments, cwd=cwd, env=environment(settings), stdin=stdin, seconds=30)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], bool], what: str, *, seconds: float = 20) -> None:
    """Wait for `condition`.

    Raises:
        AssertionError: `what` did not happen in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def request(
    port: int,
    method: str,
    path: str,
    body: object = None,
    *,
    timeout: float = 20,
) -> Reply:
    """Send one request on a connection of its own; `body` goes as JSON, bytes as JSON Lines."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        if isinstance(body, bytes):
            connection.request(method, path, body, {"Content-Type": "application/jsonl"})
        else:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return Reply(response.status, response.read())
    finally:
        connection.close()


class Service:
    """A running `csms-redis serve`; its working directory is `home`, its log in a file there."""

    def __init__(
        self,
        home: Path,
        settings: Mapping[str, str] | None = None,
        *arguments: str,
        port: int = 0,
        launcher: Sequence[str] = (),
    ) -> None:
        """Prepare; `start` or `with` runs it, through the program `launcher` where one is given."""
        self.home = home
        self.data_dir = home / "data"
        self.log_file = home / "service.log"
        self._port = port
        self._arguments = arguments
        self._launcher = launcher
        self._environment = environment(settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def spawn(self, *, fresh: bool = True) -> None:
        """Start the process without waiting for anything.

        Args:
            fresh: with a new interpreter, which has all to import; else the process is forked by
                one that has, a second sooner.
        """
        words = ("serve", "--port", str(self._port), *self._arguments)
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            if fresh or self._launcher:
                self._process = subprocess.Popen(
                    [*self._launcher, PROGRAM, *words],
                    cwd=self.home,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            else:
                self._process = program.Program(
                    *words, cwd=self.home, env=self._environment, stdout=log, stderr=log
                )

    def start(self) -> Self:
        """Start the process and wait until it listens."""
        self.spawn(fresh=not program.takes(self._environment))
        until(lambda: self.ended or self._url() is not None, "the service listens")
        assert not self.ended, self.log_text
        return self

    def ready(self) -> Self:
        """Wait until it is ready."""
        until(self.is_ready, "the service is ready")
        return self

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process of the last start."""
        assert self._process is not None
        return self._process

    @property
    def ended(self) -> bool:
        """Whether it is not running any more."""
        return self.process.poll() is not None

    @property
    def log_text(self) -> str:
        """What the last start wrote."""
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The records that the last start logged; a line that is cut off or no JSON is left out."""
        records = []
        for line in self.log_text.splitlines():
            with suppress(ValueError):
                records.append(json.loads(line))
        return records

    def _url(self) -> str | None:
        return next((line["url"] for line in self.log if line.get("event") == "listening"), None)

    @property
    def url(self) -> str:
        """Where it listens, as it says."""
        url = self._url()
        assert url is not None, self.log_text
        return url

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return self._port or urlsplit(self.url).port or 0

    def request(self, method: str, path: str, body: object = None) -> Reply:
        """Send it one request."""
        return request(self.port, method, path, body)

    def is_ready(self) -> bool:
        """Whether `/health/ready` says so."""
        try:
            return self.request("GET", "/health/ready").status == 200
        except OSError:
            return False
        except http.client.HTTPException:
            return False

    @property
    def valkey_pid(self) -> int | None:
        """The embedded Valkey's process, None when there is none that lives."""
        try:
            pid = int((self.data_dir / "valkey.pid").read_text("ascii"))
            return pid if Path(f"/proc/{pid}/cwd").samefile(self.data_dir) else None
        except (OSError, ValueError):
            return None

    def kill(self) -> None:
        """SIGKILL it."""
        self.process.kill()
        self.process.wait()

    def kill_valkey(self) -> bool:
        """SIGKILL its Valkey; False when there was none."""
        pid = self.valkey_pid
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return True
        return False

    def stop(self) -> int:
        """End it in an orderly way.

        Returns:
            its exit code.
        """
        self.process.terminate()
        return self.process.wait(30)

    def __enter__(self) -> Self:
        """Start, and wait until it listens."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave nothing running."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
        until(lambda: not self.kill_valkey(), "Valkey is gone")


@contextmanager
def valkey(home: Path, *arguments: str, port: int | None = None) -> Iterator[int]:
    """A Valkey of its own with these arguments; gives its port."""
    home.mkdir(exist_ok=True)
    port = port or free_port()
    with (home / "valkey.log").open("ab") as log:
        process = subprocess.Popen(
            [CHOSEN.command, "--port", str(port), "--bind", HOST, *arguments],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: _listens(port) or process.poll() is not None, "Valkey listens")
        assert process.poll() is None, (home / "valkey.log").read_text("utf-8")
        yield port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def redis_cli(port: int, *command: str, password: str | None = None) -> str:
    """Send Valkey an inline command and give the first line of its reply."""
    with socket.create_connection((HOST, port), timeout=5) as connection:
        lines = connection.makefile("rwb")
        for words in ([("AUTH", password)] if password else []) + [command]:
            encoded = [word.encode() for word in words]
            parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
            lines.write(b"*%d\r\n%s" % (len(encoded), b"".join(parts)))
            lines.flush()
            reply = lines.readline().decode().rstrip("\r\n")
            assert not reply.startswith("-"), reply
        return reply

"""A service that has few descriptors: nobody who is connected is cut, and the log says so."""

import resource
import signal
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.service import HOST, Service, until
from tests.support.topologies.authority import LOOPBACK, Authority

DESCRIPTORS = 256
QUEUED = 300
MUTE = 60  # of them say nothing
FEW = ("sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh")
LOOKUP = b"GET /api/v0/cs/cs001/auth HTTP/1.1\r\nHost: h\r\n\r\n"
REGISTER = (
    b"POST /api/v0/cs/cs001 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    b'Content-Length: 21\r\n\r\n{"securityProfile":2}'
)


@pytest.fixture(autouse=True)
def enough() -> Iterator[None]:
    """Descriptors for the clients here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=60)


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes; that it resets is an error."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def settings(**others: str) -> dict[str, str]:
    given = {
        "SERVER__DRAIN_TIMEOUT": "60",
        "SERVER__BACKLOG": "512",
        "TELEMETRY__LOG_FORMAT": "json",
    }
    return {f"CSMS_{name}": value for name, value in (given | others).items()}


def test_more_connections_than_descriptors_wait_at_the_end(tmp_path: Path) -> None:
    """Each that the kernel accepted is answered; a write under way is finished."""
    service = Service(tmp_path, settings(), launcher=FEW)
    with service, ExitStack() as stack:
        service.ready()
        writing = stack.enter_context(connect(service.port))
        writing.sendall(REGISTER[:-1])
        service.process.send_signal(signal.SIGSTOP)
        waiting = [stack.enter_context(connect(service.port)) for _ in range(QUEUED)]
        for connection in waiting[MUTE:]:
            connection.sendall(LOOKUP)
        service.process.send_signal(signal.SIGTERM)
        service.process.send_signal(signal.SIGCONT)

        answers = [everything(connection) for connection in waiting[MUTE:]]
        assert {answer[:12] for answer in answers} == {b"HTTP/1.1 404"}
        assert {everything(connection) for connection in waiting[:MUTE]} == {b""}
        writing.sendall(REGISTER[-1:])
        assert everything(writing).startswith(b"HTTP/1.1 201 ")
        assert service.process.wait(60) == 0
        assert [line for line in service.log if line["level"] == "error"] == []


def test_so_they_do_over_tls(tmp_path: Path) -> None:
    """Though handshakes take their time, and some never begin theirs."""
    pair = Authority(tmp_path).issue("server", *LOOPBACK)
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    secured = settings(
        SERVER__TLS__CERTIFICATE_FILE=str(pair.certificate), SERVER__TLS__KEY_FILE=str(pair.key)
    )
    service = Service(tmp_path, secured, launcher=FEW)

    def ask(plain: socket.socket) -> bytes:
        with context.wrap_socket(plain, server_hostname=HOST) as protected:
            protected.sendall(LOOKUP)
            return everything(protected)

    with service, ExitStack() as stack:
        until(lambda: service.log_text.count("Redis reached") > 0, "Redis is reached")
        service.process.send_signal(signal.SIGSTOP)
        waiting = [stack.enter_context(connect(service.port)) for _ in range(QUEUED)]
        with ThreadPoolExecutor(QUEUED - MUTE) as threads:
            answers = threads.map(ask, waiting[MUTE:])
            service.process.send_signal(signal.SIGTERM)
            service.process.send_signal(signal.SIGCONT)
            assert {answer[:12] for answer in answers} == {b"HTTP/1.1 404"}
        assert service.process.wait(60) == 0
        assert [line for line in service.log if line["level"] == "error"] == []


def test_while_there_are_none_connections_wait(tmp_path: Path) -> None:
    """The log says so, and says what to do; nobody is cut, and all goes on when some are free."""
    service = Service(tmp_path, settings())
    with service, ExitStack() as stack:
        service.ready()
        used = max(int(entry.name) for entry in Path(f"/proc/{service.process.pid}/fd").iterdir())
        resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (used + 60, used + 60))
        holding = [connect(service.port) for _ in range(50)]
        try:
            until(
                lambda: any(
                    line["event"] == "connections wait to be accepted" for line in service.log
                ),
                "it is logged",
            )
            waiting = [stack.enter_context(connect(service.port)) for _ in range(100)]
            for connection in waiting:
                connection.sendall(LOOKUP.replace(b"Host", b"Connection: close\r\nHost"))
        finally:
            for connection in holding:
                connection.close()
        for connection in waiting:
            assert everything(connection).startswith(b"HTTP/1.1 404 ")
        told = [line for line in service.log if line["level"] == "error"]
        assert {line["event"] for line in told} == {"connections wait to be accepted"}
        assert "LimitNOFILE" in told[0]["remedy"]
        assert service.stop() == 0

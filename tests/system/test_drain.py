"""The end of a process, and what comes before and after it: nobody notices."""

import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self

import pytest

from tests.conftest import PATIENCE, StartService, Valkey, wait_for
from tests.conftest import Service as AnyService
from tests.support import service as system
from tests.support.activated import Activated
from tests.support.service import HOST, free_port
from tests.support.topologies.authority import LOOPBACK, Authority

LOOKUP = b"GET /api/v0/cs/cs001/auth HTTP/1.1\r\nHost: h\r\n\r\n"
OF_NOBODY = LOOKUP.replace(b"cs001", b"nobody")
LOOKUP_AND_CLOSE = LOOKUP[:-2] + b"Connection: close\r\n\r\n"
REGISTER = (
    b"POST /api/v0/cs/cs001 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    b'Content-Length: 21\r\n\r\n{"securityProfile":2}'
)
LONG = "60"  # seconds; more than any test waits
WAITING = 200  # connections
AHEAD = 10  # connections


def ready(service: AnyService) -> int:
    return service.request("GET", "/health/ready").status


def terminate(service: AnyService) -> None:
    service.process.send_signal(signal.SIGTERM)


def exit_code(service: AnyService) -> int:
    return service.process.wait(PATIENCE)


def connect(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=PATIENCE)


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes; that it resets is an error."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


class TestSigterm:
    """SIGTERM: not ready, then no new connections, then the end."""

    def test_it_answers_on_but_is_not_ready(self, start_service: StartService) -> None:
        """So that load balancers notice before connections are refused."""
        service = start_service(server__drain_delay=LONG)
        wait_for(lambda: ready(service) == 200, "ready")
        terminate(service)
        wait_for(lambda: ready(service) == 503, "not ready")

        said = service.request("GET", "/health/ready").json
        assert said["components"]["server"] == "is shutting down"
        assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201
        assert service.get("/cs/cs001/auth").json == {"securityProfile": 2}
        assert service.request("GET", "/health/live").status == 200

        terminate(service)
        assert exit_code(service) == 0

    def test_what_is_under_way_is_finished(self, start_service: StartService) -> None:
        """With an answer that says that the connection closes; idle connections are closed."""
        service = start_service(server__drain_timeout=LONG)
        wait_for(lambda: ready(service) == 200, "ready")
        with service.raw() as writing, service.raw() as idle, service.raw() as used:
            writing.send(REGISTER[:-1])
            used.send(LOOKUP)
            assert used.reply().status == 404
            terminate(service)
            wait_for(lambda: service.events("draining"), "it drains")
            assert idle.rest() == b""
            assert used.rest() == b""
            writing.send(REGISTER[-1:])
            reply = writing.reply()
            assert (reply.status, reply.headers["Connection"]) == (201, "close")
            assert writing.rest() == b""
        assert exit_code(service) == 0
        assert service.events("stopped")

    def test_one_more_request_of_a_busy_connection_is_answered(
        self, start_service: StartService
    ) -> None:
        """It may be on its way already when connections are closed."""
        service = start_service(server__drain_timeout=LONG)
        wait_for(lambda: ready(service) == 200, "ready")
        with service.raw() as busy:
            stopped = False
            for _ in range(10**6):
                busy.send(LOOKUP)
                reply = busy.reply()
                assert reply.status == 404
                if reply.headers.get("Connection") == "close":
                    break
                if not stopped:
                    stopped = True
                    terminate(service)
            assert busy.rest() == b""
        assert exit_code(service) == 0

    def test_what_the_kernel_has_accepted_is_answered(self, start_service: StartService) -> None:
        """Though the service has not seen it before it was told to end."""
        service = start_service()
        wait_for(lambda: ready(service) == 200, "ready")
        service.process.send_signal(signal.SIGSTOP)
        with ExitStack() as open_ones:
            waiting = [open_ones.enter_context(service.raw()) for _ in range(WAITING)]
            for connection in waiting:
                connection.send(LOOKUP)
            terminate(service)
            service.process.send_signal(signal.SIGCONT)
            assert {connection.reply().status for connection in waiting} == {404}
        assert exit_code(service) == 0

    def test_who_has_connected_ahead_is_answered(self, start_service: StartService) -> None:
        """Though nothing was sent yet, and the kernel has not told of the connection."""
        service = start_service(server__drain_timeout=LONG)
        wait_for(lambda: ready(service) == 200, "ready")
        with ExitStack() as open_ones:
            ahead = [open_ones.enter_context(service.raw()) for _ in range(AHEAD)]
            mute = [open_ones.enter_context(service.raw()) for _ in range(AHEAD)]
            terminate(service)
            wait_for(lambda: service.events("draining"), "it drains")
            for number, connection in enumerate(ahead):
                connection.send(REGISTER if number % 2 else OF_NOBODY)
            replies = [connection.reply() for connection in ahead]
            assert [reply.status for reply in replies] == [404, 201] * (AHEAD // 2)
            assert {reply.headers["Connection"] for reply in replies} == {"close"}
            assert {connection.rest() for connection in mute} == {b""}
        assert exit_code(service) == 0
        assert "error" not in {line["level"] for line in service.events()}

    def test_over_tls_as_well(self, start_service: StartService, tmp_path: Path) -> None:
        """The handshake of a connection that was opened ahead begins in the drain."""
        pair = Authority(tmp_path).issue("server", *LOOPBACK)
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        service = start_service(
            server__drain_timeout=LONG,
            server__tls__certificate_file=str(pair.certificate),
            server__tls__key_file=str(pair.key),
        )
        wait_for(lambda: "Redis reached" in service.log, "Redis is reached")
        with ExitStack() as open_ones:
            ahead = [open_ones.enter_context(connect(service.port)) for _ in range(3)]
            terminate(service)
            wait_for(lambda: service.events("draining"), "it drains")
            for plain in ahead:
                with context.wrap_socket(plain, server_hostname=HOST) as protected:
                    protected.sendall(LOOKUP)
                    assert everything(protected).startswith(b"HTTP/1.1 404 ")
        assert exit_code(service) == 0

    def test_no_connection_is_broken(self, start_service: StartService) -> None:
        """Who is connected is answered; the others are refused."""
        service = start_service()
        wait_for(lambda: ready(service) == 200, "ready")
        with Hammers(service.port) as hammers:
            hammers.wait_for_answers(500)
            terminate(service)
            assert exit_code(service) == 0
            wait_for(lambda: hammers.refused, "connections are refused")
        assert hammers.broken == []

    def test_it_does_not_wait_for_ever(self, start_service: StartService) -> None:
        """A request that does not end is cut off after `drain_timeout`."""
        service = start_service(server__drain_timeout="0.2")
        with service.raw() as unfinished:
            unfinished.send(REGISTER[:-1])
            terminate(service)
            assert exit_code(service) == 0

    def test_a_second_one_ends_at_once(self, start_service: StartService, valkey: Valkey) -> None:
        """Whatever is under way, also a write that Redis does not answer."""
        service = start_service(
            redis__url=valkey.url, redis__timeout=LONG, server__drain_timeout=LONG
        )
        wait_for(lambda: ready(service) == 200, "ready")
        valkey.freeze()
        try:
            with service.raw() as unfinished, service.raw() as writing:
                unfinished.send(REGISTER[:-1])
                writing.send(REGISTER)
                terminate(service)
                wait_for(lambda: service.events("draining"), "it drains")
                terminate(service)
                assert exit_code(service) == 0
        finally:
            valkey.thaw()


def test_sighup_ends_nothing(start_service: StartService) -> None:
    """It is logged; a terminal that closes does not end a service."""
    service = start_service()
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "SIGHUP" in service.log, "it is logged")
    assert service.request("GET", "/health/live").status == 200
    assert service.stop() == 0


class TestReusePort:
    """Several processes on one address (`server.reuse_port`)."""

    def test_one_leaves_and_nobody_notices(
        self, start_service: StartService, valkey: Valkey
    ) -> None:
        """Not even who was just connecting."""
        settings: dict[str, Any] = {
            "redis__url": valkey.url,
            "server__port": str(free_port()),
            "server__reuse_port": "true",
        }
        services = [start_service(**settings) for _ in range(2)]
        with Hammers(services[0].port) as hammers:
            hammers.wait_for_answers(500)
            terminate(services[0])
            assert exit_code(services[0]) == 0
            hammers.wait_for_answers(500)
            services.append(start_service(**settings))
            hammers.wait_for_answers(500)
            terminate(services[1])
            assert exit_code(services[1]) == 0
            hammers.wait_for_answers(500)
        assert (hammers.broken, hammers.refused) == ([], 0)

    def test_without_it_an_address_has_one(
        self, start_service: StartService, tmp_path: Path
    ) -> None:
        """The second is told so in a line."""
        service = start_service(server__reuse_port="false")
        again = system.run("serve", "--port", str(service.port), cwd=tmp_path)
        assert again.returncode == 1
        assert again.stderr.decode().splitlines()[-1] == (
            f"csms-redis: cannot listen on 127.0.0.1 port {service.port}: address already in use"
        )


class TestSystemd:
    """Sockets that another process opened (sd_listen_fds(3))."""

    @pytest.fixture
    def listening(self) -> Iterator[socket.socket]:
        with closing(socket.create_server((HOST, 0))) as listening:
            yield listening

    def test_it_serves_on_it(self, tmp_path: Path, listening: socket.socket) -> None:
        """And not where the settings say."""
        with Activated(tmp_path, listening) as service:
            port = listening.getsockname()[1]
            assert service.url == f"http://{HOST}:{port}"
            assert system.request(port, "GET", "/health/live").status == 200
            assert service.stop() == 0

    def test_on_a_unix_socket_as_well(self, tmp_path: Path) -> None:
        """For a proxy on the same machine."""
        path = str(tmp_path / "s")
        with closing(socket.socket(socket.AF_UNIX)) as listening:
            listening.bind(path)
            listening.listen()
            with Activated(tmp_path, listening) as service, socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE)
                client.connect(path)
                client.sendall(LOOKUP)
                assert client.recv(65536).startswith(b"HTTP/1.1 404 ")
                assert service.url == f"http+unix://{path}"
                assert service.stop() == 0

    def test_connections_wait_for_the_next_process(
        self, tmp_path: Path, listening: socket.socket
    ) -> None:
        """A restart refuses nobody: the socket stays open."""
        port = listening.getsockname()[1]
        with ExitStack() as open_ones:
            with Activated(tmp_path, listening) as service:
                service.stop()
            waiting = [open_ones.enter_context(connect(port)) for _ in range(10)]
            for connection in waiting:
                connection.sendall(LOOKUP)
            with Activated(tmp_path, listening):
                for connection in waiting:
                    # no record, or in the first moments no Redis: an answer in any case
                    assert connection.recv(65536).startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 503 "))

    def test_those_of_another_process_are_left_alone(
        self, tmp_path: Path, listening: socket.socket
    ) -> None:
        """LISTEN_PID says whose they are."""
        with Activated(tmp_path, listening, pid=1) as service:
            assert service.port != listening.getsockname()[1]

    def test_what_does_not_listen_is_refused(self, tmp_path: Path) -> None:
        """In one line."""
        with closing(socket.socket()) as unbound:
            service = Activated(tmp_path, unbound)
            service.spawn()
            assert service.process.wait(PATIENCE) == 1
            assert service.log_text.splitlines()[-1] == (
                "csms-redis: cannot listen on inherited file 3: it is no listening stream socket"
            )


class Hammers:
    """Threads that look up, again and again, each time on a new connection."""

    def __init__(self, port: int, threads: int = 4) -> None:
        self.answered = 0
        self.refused = 0
        self.broken: list[str] = []
        self._port = port
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def wait_for_answers(self, count: int) -> None:
        """Wait for some more."""
        enough = self.answered + count
        wait_for(lambda: self.answered >= enough or self.refused or self.broken, "answers")

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                connection = connect(self._port)
            except ConnectionRefusedError:
                with self._lock:
                    self.refused += 1
                self._ending.wait(0.01)
                continue
            try:
                with connection:
                    connection.sendall(
                        LOOKUP.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
                    )
                    received = everything(connection)
            except OSError as error:
                received = repr(error).encode()
            with self._lock:
                if received.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 503 ")):
                    self.answered += 1
                else:
                    self.broken.append(repr(received))

"""TLS of a service that really runs: versions, client certificates, files that are replaced."""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import API, PATIENCE, Reply, Service, running_service, wait_for
from tests.support.topologies.authority import Authority, Pair

LOOKUP = f"{API}/cs/cs001/auth"
JSON = {"Content-Type": "application/json"}
STATION = '{"securityProfile":2}'


class Files:
    """The files of `[server.tls]`, replaced as cert-manager does it."""

    def __init__(self, home: Path) -> None:
        self.authority = Authority(home / "server", "server-ca")
        self.clients = Authority(home / "clients", "client-ca")
        self.certificate, self.key = home / "tls.crt", home / "tls.key"
        self.ca = home / "ca.crt"
        self.ca.write_bytes(self.clients.ca.read_bytes())
        self.put(self.authority.issue("first", "localhost", "127.0.0.1"))

    def put(self, pair: Pair) -> None:
        """Another certificate and its key."""
        for target, source in ((self.certificate, pair.certificate), (self.key, pair.key)):
            new = target.with_suffix(".new")
            new.write_bytes(source.read_bytes())
            new.replace(target)

    def settings(self, *, mutual: bool = False) -> dict[str, str]:
        """Of the service."""
        named = {"certificate_file": self.certificate, "key_file": self.key}
        if mutual:
            named["client_ca_file"] = self.ca
        return {f"server__tls__{name}": str(file) for name, file in named.items()}

    def context(self, pair: Pair | None = None) -> ssl.SSLContext:
        """Of a client."""
        context = ssl.create_default_context(cafile=self.authority.ca)
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Certificates."""
    return Files(tmp_path)


@pytest.fixture
def protected(files: Files) -> Iterator[Service]:
    """A service with TLS."""
    with running_service(**files.settings()) as service:
        yield service


@contextlib.contextmanager
def connected(service: Service, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """A connection over TLS."""
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as protected,
    ):
        yield protected


def lookup(service: Service, context: ssl.SSLContext) -> Reply:
    """Ask on a connection of its own."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", service.port, timeout=PATIENCE, context=context
    )
    with contextlib.closing(connection):
        connection.request("GET", LOOKUP)
        response = connection.getresponse()
        return Reply(response.status, response.reason, dict(response.headers), response.read())


def serial(service: Service, context: ssl.SSLContext) -> str:
    """The serial number of the certificate that is shown."""
    with connected(service, context) as connection:
        shown = connection.getpeercert()
        assert shown is not None
        return str(shown["serialNumber"])


def test_lookups_and_writes_over_tls(protected: Service, files: Files) -> None:
    assert protected.url.startswith("https://")
    assert lookup(protected, files.context()).status == 404
    connection = http.client.HTTPSConnection(
        "127.0.0.1", protected.port, timeout=PATIENCE, context=files.context()
    )
    with contextlib.closing(connection):
        for method, path, body, status in (
            ("POST", f"{API}/cs/cs001", STATION, 201),
            ("GET", LOOKUP, None, 200),
            ("GET", LOOKUP, None, 200),
            ("GET", "/docs/swagger-ui-bundle.js", None, 200),
            ("GET", LOOKUP, None, 200),
        ):
            connection.request(method, path, body, JSON)
            response = connection.getresponse()
            response.read()
            assert response.status == status


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_that_are_spoken(
    protected: Service, files: Files, version: ssl.TLSVersion
) -> None:
    context = files.context()
    context.minimum_version = context.maximum_version = version
    assert lookup(protected, context).status == 404


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_older_versions_are_not(protected: Service, files: Files) -> None:
    context = files.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        lookup(protected, context)
    with socket.create_connection(("127.0.0.1", protected.port), timeout=PATIENCE) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert not plain.recv(65536).startswith(b"HTTP")


def test_client_certificates(files: Files) -> None:
    with running_service(**files.settings(mutual=True)) as service:
        right = files.clients.issue("gateway")
        assert lookup(service, files.context(right)).status == 404
        for pair in (None, files.authority.issue("stranger")):
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                lookup(service, files.context(pair))


def test_new_files_are_taken_and_nothing_is_cut(protected: Service, files: Files) -> None:
    context = files.context()
    with connected(protected, context) as before:
        first = serial(protected, context)
        files.put(files.authority.issue("second", "localhost", "127.0.0.1"))
        wait_for(lambda: serial(protected, context) != first, "the new certificate is shown")
        second = serial(protected, context)
        files.certificate.write_bytes(
            files.authority.issue("third", "localhost").certificate.read_bytes()
        )
        wait_for(
            lambda: protected.events("not reloaded: the old one stays"), "the pair does not fit"
        )
        assert serial(protected, context) == second
        before.sendall(f"GET {LOOKUP} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert before.recv(65536).startswith(b"HTTP/1.1 404")


def test_another_client_authority_holds_for_who_comes_next(files: Files, tmp_path: Path) -> None:
    """Also for those who could resume a session."""
    with running_service(**files.settings(mutual=True)) as service:
        context = files.context(files.clients.issue("gateway"))
        assert lookup(service, context).status == 404
        others = Authority(tmp_path / "others", "other-ca")
        files.ca.write_bytes(others.ca.read_bytes())

        def refused() -> bool:
            try:
                lookup(service, context)
            except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
                return True
            return False

        wait_for(refused, "the old authority's are refused")
        assert lookup(service, files.context(others.issue("gateway"))).status == 404


def test_what_was_asked_before_the_end_is_answered(protected: Service, files: Files) -> None:
    """Lookups that are known by then, though the client's close_notify comes with them."""
    lookup(protected, files.context())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = files.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    received = b""
    with socket.create_connection(("127.0.0.1", protected.port), timeout=PATIENCE) as plain:
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        session.write(f"GET {LOOKUP} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 3)
        with contextlib.suppress(ssl.SSLWantReadError):
            session.unwrap()
        plain.sendall(outgoing.read())
        while data := plain.recv(65536):
            incoming.write(data)
    with contextlib.suppress(ssl.SSLError):
        while more := session.read(65536):
            received += more
    assert received.count(b"404 Not Found") == 3
    assert "Traceback" not in protected.log


def test_handshakes_count_as_connections(files: Files) -> None:
    """Who never shakes hands is closed first when there are too many, and after a time anyway."""
    settings = files.settings() | {"server__max_connections": "5", "server__request_timeout": "2"}
    with running_service(**settings) as service, contextlib.ExitStack() as stack:
        mute = [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)
            )
            for _ in range(20)
        ]
        assert lookup(service, files.context()).status == 404
        started = time.monotonic()
        for connection in mute:
            with contextlib.suppress(ConnectionError):
                assert connection.recv(10) == b""
        # one second for the kernel to tell of them, three for their turns, two for the last ones
        assert time.monotonic() - started < 8
        assert lookup(service, files.context()).status == 404
        assert "Traceback" not in service.log
        assert service.events("unexpected error") == []

"""Clients and balancers that speak another protocol than HTTP/1.1: the log says what to set."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.conftest import API, PATIENCE, Service, running_service, wait_for
from tests.support.topologies.authority import Authority

GET = f"GET {API}/cs/cs001/auth HTTP/1.1\r\nHost: a\r\n\r\n".encode()
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
PROXY_2 = b"\r\n\r\n\0\r\nQUIT\n"
OF_127_0_0_1 = b"\x7f\0\0\1\x7f\0\0\1\x04\xd2\x24\xc2"
# which methods OpenSSL knows for HTTP (its pull request 26968)
DELETE_SPEAKS = "HTTP without TLS" if ssl.OPENSSL_VERSION_INFO >= (3, 5) else "no TLS"


def client_hello() -> bytes:
    """The first bytes of OpenSSL's own client."""
    context, sent = ssl.create_default_context(), ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


TO_A_PLAIN_PORT = {
    "HTTP/2": (PREFACE + SETTINGS, "HTTP/2", "speak HTTP/1.1"),
    "HTTP/2's preface alone": (PREFACE, "HTTP/2", "speak HTTP/1.1"),
    "TLS": (client_hello(), "TLS", "speak HTTP/1.1 to it without TLS"),
    "a TLS record's header": (client_hello()[:5], "TLS", "speak HTTP/1.1 to it without TLS"),
    "PROXY 1": (
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1234 9410\r\n" + GET,
        "PROXY protocol",
        "speak HTTP/1.1",
    ),
    "PROXY 1, unknown": (b"PROXY UNKNOWN\r\n", "PROXY protocol", "speak HTTP/1.1"),
    "PROXY 2": (
        PROXY_2 + b"\x21\x11\0\x0c" + OF_127_0_0_1 + GET,
        "PROXY protocol",
        "speak HTTP/1.1",
    ),
    "PROXY 2, a health check": (
        PROXY_2 + b"\x20\0\0\0" + GET,
        "PROXY protocol",
        "speak HTTP/1.1",
    ),
}


def refused(service: Service, *parts: bytes) -> dict[str, Any]:
    """What the log has of bytes that are answered 400."""
    before = len(service.events("bad request"))
    with service.raw() as connection:
        for part in parts:
            connection.send(part)
            time.sleep(0.02 if len(parts) > 1 else 0)
        assert connection.reply().status == 400
    wait_for(lambda: len(service.events("bad request")) > before, "the log has it")
    told: dict[str, Any] = service.events("bad request")[-1]
    return told


@pytest.mark.parametrize(
    ("data", "speaks", "advice"), TO_A_PLAIN_PORT.values(), ids=TO_A_PLAIN_PORT
)
def test_the_log_says_what_is_spoken_and_what_to_set(
    service: Service, data: bytes, speaks: str, advice: str
) -> None:
    told = refused(service, data)

    assert (told["level"], told["status"], told["speaks"]) == ("warning", 400, speaks)
    assert advice in told["advice"]
    assert told["remote"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("parts", "speaks"),
    [
        ((PREFACE[:4], PREFACE[4:] + SETTINGS), "HTTP/2"),
        ((PREFACE[:18], PREFACE[18:]), "HTTP/2"),
        ((PROXY_2[:4], PROXY_2[4:] + b"\x20\0\0\0" + GET), "PROXY protocol"),
        ((b"PR", b"OXY TCP4 127.0.0.1 127.0.0.1 1234 9410\r\n" + GET), "PROXY protocol"),
    ],
)
def test_its_first_bytes_may_come_in_parts(
    service: Service, parts: tuple[bytes, ...], speaks: str
) -> None:
    assert refused(service, *parts)["speaks"] == speaks


@pytest.mark.parametrize(
    "data",
    [
        b"xyzzy\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
        b"\r\n\r\n\0xyzzy\r\n\r\n",
        b"PRINT / HTTP/1.1\r\n\r\n",
        b"\x15\x03\x01\0\x02\x02\x28",
    ],
)
def test_what_is_none_of_them_has_no_advice(service: Service, data: bytes) -> None:
    told = refused(service, data)

    assert not told.keys() & {"speaks", "advice"}


def test_after_an_answer_on_the_same_connection(service: Service) -> None:
    """A pooled connection that another protocol is sent on afterwards; not what came before it."""
    with service.raw() as connection:
        connection.send(GET)
        assert connection.reply().status == 404
        connection.send(
            f"POST {API}/token HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode()
        )
        assert connection.reply().status in {400, 415}
        connection.send(PREFACE)
        assert connection.reply().status == 400
    wait_for(lambda: service.events("bad request")[-1].get("speaks") == "HTTP/2", "the log has it")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who issued the certificate of `secured`."""
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secured(authority: Authority) -> Iterator[Service]:
    """A service with TLS."""
    pair = authority.issue("service", "localhost", "127.0.0.1")
    with running_service(
        server__tls__certificate_file=str(pair.certificate), server__tls__key_file=str(pair.key)
    ) as service:
        yield service


@pytest.mark.parametrize(
    ("data", "speaks"),
    [
        (GET, "HTTP without TLS"),
        (b"POST /api/v0/token HTTP/1.1\r\n\r\n", "HTTP without TLS"),
        (b"DELETE /api/v0/token/x HTTP/1.1\r\n\r\n", DELETE_SPEAKS),
        (b"CONNECT localhost:443 HTTP/1.1\r\n\r\n", "HTTP without TLS"),
        (PREFACE, "no TLS"),
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 1234 9410\r\n", "no TLS"),
        (PROXY_2 + b"\x20\0\0\0", "no TLS"),
    ],
)
def test_the_log_says_that_a_port_has_tls(secured: Service, data: bytes, speaks: str) -> None:
    """What is sent to it without TLS never comes as far as a request."""
    before = len(secured.events("TLS handshake failed"))
    with socket.create_connection(("127.0.0.1", secured.port), PATIENCE) as client:
        client.sendall(data)
        with suppress(ConnectionResetError):
            while client.recv(1000):
                pass
    wait_for(lambda: len(secured.events("TLS handshake failed")) > before, "the log has it")

    told = secured.events("TLS handshake failed")[-1]
    assert (told["level"], told["speaks"], told["remote"]) == ("warning", speaks, "127.0.0.1")
    assert "speak HTTP/1.1 over TLS" in told["advice"]


def test_http_2_over_tls(secured: Service, authority: Authority) -> None:
    """A balancer that speaks it without asking by ALPN."""
    context = ssl.create_default_context(cafile=authority.ca)
    with (
        socket.create_connection(("127.0.0.1", secured.port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(PREFACE + SETTINGS)
        assert b" 400 Bad Request\r\n" in client.recv(1000)
    wait_for(lambda: bool(secured.events("bad request")), "the log has it")

    assert secured.events("bad request")[-1]["speaks"] == "HTTP/2"

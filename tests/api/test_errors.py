"""Every error is a `Status` that says what is wrong, and quotes nothing of the request."""

import time
import zlib

import pytest

from tests.conftest import API, Service, wait_for
from tests.support.requests import JSON, STATION, said

MAX_BODY = 262144
MARK = b"xyzzy"
NO_PATH = "There is no such path; /docs lists the operations."
WRITES = [
    ("POST", f"{API}/cs/cs001"),
    ("POST", f"{API}/token"),
    ("POST", f"{API}/certificate"),
    ("PUT", f"{API}/cs/cs001/registrationStatus"),
]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/v0",
        "/api/v0/",
        "/api/v1/cs/cs001/auth",
        "/API/v0/cs/cs001/auth",
        "/cs/cs001/auth",
        "//api/v0/token/x",
        "/api/v0//token/x",
        "/api/v0/token/x/",
        "/docs/",
        "/docs/../docs",
        "/docs/%2e%2e/app.py",
        "/%00",
        "/%FF",
        "/%",
        "/xyzzy<script>",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PROPFIND"])
def test_an_unknown_path_is_404(service: Service, method: str, path: str) -> None:
    reply = service.request(method, path)

    assert (reply.status, reply.error) == (404, NO_PATH)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v0/cs", "GET, HEAD"),
        ("/api/v0/cs/cs001", "DELETE, GET, HEAD, POST"),
        ("/api/v0/cs/cs001/registrationStatus", "PUT"),
        ("/api/v0/cs/cs001/auth", "GET, HEAD"),
        ("/api/v0/token", "GET, HEAD, POST"),
        ("/api/v0/token/x", "DELETE, GET, HEAD"),
        ("/api/v0/certificate", "GET, HEAD, POST"),
        ("/api/v0/certificate/x", "DELETE, GET, HEAD"),
        ("/health", "GET, HEAD"),
        ("/health/ready", "GET, HEAD"),
        ("/docs", "GET, HEAD"),
        ("/api/openapi.json", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_405_with_allow(service: Service, path: str, allowed: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
        if method not in allowed.split(", "):
            reply = service.request(method, path)

            assert (method, reply.status, reply.headers["Allow"]) == (method, 405, allowed)
            assert reply.error == f"This path takes {allowed} only."


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{}}",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":NaN}',
        b"{a:1}",
        b'{"a":"\x00"}',
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b"xyzzy",
        b"[" * 10000,
        b'{"a":' * 10000,
        b"// comment\n{}",
    ],
)
def test_a_body_that_is_no_json_is_400(
    service: Service, method: str, path: str, body: bytes
) -> None:
    reply = service.request(method, path, body, JSON)

    assert (reply.status, reply.error) == (400, "The body is not valid JSON (RFC 8259, UTF-8).")


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize("body", ["null", "true", "1", "1.5", '"xyzzy"', "[]", "[{}]"])
def test_a_body_that_is_no_object_is_400(
    service: Service, method: str, path: str, body: str
) -> None:
    reply = service.request(method, path, body, JSON)

    assert (reply.status, reply.error) == (400, "The body must be a JSON object.")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "APPLICATION/JSON",
        "application/json; profile=x",
    ],
)
def test_takes_json_however_it_is_spelled(service: Service, content_type: str) -> None:
    headers = {"Content-Type": content_type}

    assert service.request("POST", f"{API}/cs/typed", STATION, headers).status == 201


def test_takes_a_body_without_a_type(service: Service) -> None:
    assert service.request("POST", f"{API}/cs/untyped", STATION.encode()).status == 201


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "text/json",
        "application/jsonp",
        "application/octet-stream",
        "xyzzy",
        "*/*",
        "",
    ],
)
def test_another_content_type_is_415(
    service: Service, method: str, path: str, content_type: str
) -> None:
    reply = service.request(method, path, STATION, {"Content-Type": content_type})

    assert reply.status == 415
    assert reply.error == "The body must be JSON: send Content-Type: application/json."


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "xyzzy"])
def test_another_charset_is_415(service: Service, charset: str) -> None:
    headers = {"Content-Type": f"application/json; charset={charset}"}

    reply = service.request("POST", f"{API}/cs/refused", STATION, headers)

    assert reply.status == 415
    assert reply.error == "JSON is UTF-8: leave the charset out of Content-Type."


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "xyzzy", "gzip, gzip"])
@pytest.mark.parametrize("body", [STATION.encode(), zlib.compress(STATION.encode()), b"xyzzy"])
def test_a_compressed_body_is_415(service: Service, encoding: str, body: bytes) -> None:
    """Whether it is what it says or not; nobody unpacks what may be a bomb."""
    headers = JSON | {"Content-Encoding": encoding}

    reply = service.request("POST", f"{API}/cs/refused", body, headers)

    assert reply.status == 415
    assert reply.error == "The body must not be compressed: no Content-Encoding."


def test_a_body_that_is_as_it_is(service: Service) -> None:
    headers = JSON | {"Content-Encoding": "identity"}

    assert service.request("POST", f"{API}/cs/plain", STATION, headers).status == 201


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_body_that_is_too_large_is_413(service: Service, method: str, path: str) -> None:
    reply = service.request(method, path, b" " * (MAX_BODY + 1), JSON)

    assert reply.status == 413
    assert reply.error == "The request body is too large; server.max_body sets the limit."


def test_a_body_of_the_largest_size_is_read(service: Service) -> None:
    body = STATION.ljust(MAX_BODY)

    assert service.request("POST", f"{API}/cs/large", body, JSON).status == 201


def test_a_chunked_body_that_is_too_large_is_413(service: Service) -> None:
    """Its size is not known before it has come."""
    head = f"POST {API}/cs/refused HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with service.raw() as connection:
        connection.send(head.encode() + chunk * 5 + b"0\r\n\r\n")
        reply = connection.reply()

    assert (reply.status, bool(reply.error)) == (413, True)


def test_an_expectation_that_cannot_be_met_is_417(service: Service) -> None:
    headers = JSON | {"Expect": "xyzzy"}

    reply = service.request("POST", f"{API}/cs/refused", STATION, headers)

    assert reply.status == 417
    assert reply.error == "The only expectation that can be met is 100-continue."


def test_the_expectation_that_can_be_met(service: Service) -> None:
    head = (
        f"POST {API}/cs/expected HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(STATION)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    with service.raw() as connection:
        connection.send(head.encode())
        connection.send(STATION.encode())
        received = connection.rest()

    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n")


BAD_HTTP = {
    "no HTTP": b"xyzzy\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + MARK + b"\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another version": b"GET /xyzzy HTTP/3.0\r\nHost: a\r\n\r\n",
    "no path": b"GET xyzzy\r\n\r\n",
    "method not a token": b"G(xyzzy) / HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in the path": b"GET /xyzzy xyzzy HTTP/1.1\r\nHost: a\r\n\r\n",
    "control character in the path": b"GET /xyzzy\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "header without a colon": b"GET / HTTP/1.1\r\nHost: a\r\nxyzzy\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost: a\r\nxyzzy : a\r\n\r\n",
    "header name not a token": b"GET / HTTP/1.1\r\nHost: a\r\nxy(zzy: a\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX: xyzzy\x00\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n xyzzy\r\n\r\n",
    "two lengths": (
        b"POST /xyzzy HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
    ),
    "negative length": b"POST /xyzzy HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": (
        b"POST /xyzzy HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a long line": b"GET /" + MARK * 4000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + MARK * 4000 + b"\r\n\r\n",
    "a long header name": b"GET / HTTP/1.1\r\nHost: a\r\n" + MARK * 4000 + b": a\r\n\r\n",
}


@pytest.mark.parametrize("data", BAD_HTTP.values(), ids=BAD_HTTP.keys())
def test_bad_http_is_400_and_quotes_nothing(service: Service, data: bytes) -> None:
    """It says only what kind of thing is wrong, in the log as well, and closes."""
    with service.raw() as connection:
        reply = said(connection, data)

    assert reply.status == 400
    assert reply.error in {
        "The request is not valid HTTP/1.1 (RFC 9112).",
        "A line of the request's head is too long.",
    }
    assert ("too long" in reply.error) == (MARK * 4000 in data)
    assert MARK.decode() not in repr(reply)
    assert service.events("bad request")[-1]["level"] == "warning"
    assert "xyzzyxyzzy" not in service.log


def test_a_bad_chunk_is_400(service: Service) -> None:
    data = (
        f"POST {API}/cs/refused HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyzzy\r\n"
    )
    with service.raw() as connection:
        reply = said(connection, data.encode())

    assert (reply.status, bool(reply.error)) == (400, True)
    assert "xyzzy" not in repr(reply)


def test_a_client_that_leaves_writes_nothing(service: Service) -> None:
    """It is the client's mistake and not an unexpected error."""
    path = f"{API}/cs/broken-off"
    data = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{STATION}"
    with service.raw() as connection:
        connection.send(data.encode())
        time.sleep(0.1)
        connection.reset()

    def logged() -> list[tuple[str, int]]:
        return [
            (event["level"], event["status"])
            for event in service.events("write")
            if event.get("csId") == "broken-off"
        ]

    wait_for(logged, "a line in the log")
    assert logged() == [("warning", 400)]
    assert service.events("unexpected error") == []
    assert service.get("/cs/broken-off/auth").status == 404


def test_a_good_request_before_a_bad_one_is_answered(service: Service) -> None:
    """On one connection, sent in one piece, in order."""
    with service.raw() as connection:
        connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\nxyzzy\r\n\r\n")
        first = connection.reply()

    assert (first.status, first.json) == (200, {"status": "OK"})


def test_every_error_names_the_server_without_its_version(service: Service) -> None:
    for path in ("/xyzzy", f"{API}/cs/unheard-of/auth", "/health"):
        assert service.request("GET", path).headers["Server"] == "csms-redis"


def test_nothing_here_was_unexpected(service: Service) -> None:
    """No traceback in the log: a client's mistake is no error of the service."""
    assert [event for event in service.events() if event["level"] == "error"] == []

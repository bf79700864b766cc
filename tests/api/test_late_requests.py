"""A request that does not arrive in time is answered 408, and its connection ends."""

import time
from collections.abc import Iterator

import pytest

from tests.conftest import API, Service, running_service
from tests.support.requests import said


@pytest.fixture(scope="module")
def hasty() -> Iterator[Service]:
    """A service that gives a request little time to arrive."""
    with running_service(server__request_timeout="0.3") as service:
        yield service


def test_a_slow_body_is_408(hasty: Service) -> None:
    """However it comes; nothing is written."""
    head = f"POST {API}/cs/slow HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    for rest in ("Content-Length: 21\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"):
        with hasty.raw() as connection:
            started = time.monotonic()
            connection.send(f"{head}{rest}".encode())
            reply = connection.reply()

        assert reply.status == 408
        assert reply.error == "The request body did not arrive in time; send it again."
        assert 0.25 < time.monotonic() - started < 5
    assert hasty.get("/cs/slow/auth").status == 404


@pytest.mark.parametrize("head", ["GET /health HT", f"POST {API}/token HTTP/1.1\r\nHost: a\r\n"])
def test_a_slow_head_is_408(hasty: Service, head: str) -> None:
    """And the connection is closed."""
    with hasty.raw() as connection:
        reply = said(connection, head.encode())

    assert (reply.status, bool(reply.error)) == (408, True)


def test_a_body_that_never_ends_does_not_keep_the_connection(hasty: Service) -> None:
    head = f"POST {API}/cs/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\n"
    with hasty.raw() as connection:
        assert said(connection, head.encode()).status == 408


def test_a_trickling_body_is_408_as_well(hasty: Service) -> None:
    """The time is for the whole of it, not from byte to byte."""
    head = f"POST {API}/cs/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
    with hasty.raw() as connection:
        connection.send(head.encode())
        for _ in range(8):
            connection.send(b" ")
            time.sleep(0.06)
        reply = connection.reply()

    assert (reply.status, bool(reply.error)) == (408, True)

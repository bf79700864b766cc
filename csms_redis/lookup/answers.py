"""The bytes of an answer: a head that changes each second, then a tail that a cache can keep."""

from enum import IntEnum
from http import HTTPStatus
from time import time
from typing import Final
from wsgiref.handlers import format_date_time

import orjson

from csms_redis.contract.errors import Problem

CACHING: Final = "no-store"
"""`Cache-Control` of every answer (RFC 9111, 5.2.2.5): a cache on the way, as Varnish with its
default settings, would go on giving the credential of a blocked station, and the 404 of a new one.
"""

# Plain numbers on the hot path: an enumeration's members hash and compare in Python.
OK: Final = 200
NOT_FOUND: Final = 404
REQUEST_TIMEOUT: Final = 408
UNAVAILABLE: Final = 503


class Style(IntEnum):
    """How an answer treats its connection, by the request's version and `Connection`.

    The odd ones close it. From `BODILESS` on, a refusal has no body.
    """

    KEEP_11 = 0
    CLOSE_11 = 1
    KEEP_10 = 2
    CLOSE_10 = 3
    KEEP_11_BODILESS = 4
    CLOSE_11_BODILESS = 5
    KEEP_10_BODILESS = 6
    CLOSE_10_BODILESS = 7

    @property
    def closes(self) -> bool:
        """Whether the connection ends with the answer."""
        return bool(self & 1)


NO_BODY: Final = b"Content-Length: 0\r\n\r\n"
"""The tail of an answer that has neither a body nor headers of its own, as of a 404."""

BODILESS: Final = 4
"""The bit of a `Style` whose refusals have no body."""

# As aiohttp writes them: HTTP/1.1 keeps and HTTP/1.0 closes unless they say otherwise.
_CONNECTION: dict[int, str] = {
    Style.CLOSE_11: "Connection: close\r\n",
    Style.KEEP_10: "Connection: keep-alive\r\n",
}


def tail(body: bytes) -> bytes:
    """Everything after an answer's head: the headers that describe the body, and the body."""
    return b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def status_tail(status: HTTPStatus, error: str, headers: str = "") -> bytes:
    """The tail of a `Status` answer."""
    body = orjson.dumps({"status": status.phrase, "error": error})
    return headers.encode() + tail(body)


def problem_tail(problem: Problem) -> bytes:
    """The tail of the answer to a request that failed in a known way."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in problem.headers.items())
    return status_tail(problem.status, problem.error, headers)


def without_body(answer_tail: bytes) -> bytes:
    """A tail without what describes the body, and the body."""
    headers, _, _ = answer_tail.partition(b"Content-Type: ")
    return headers + NO_BODY


def body_of(answer_tail: bytes) -> bytes:
    """The body in a tail."""
    return answer_tail.partition(b"\r\n\r\n")[2]


class Heads:
    """The first lines of each kind of answer: up to the connection's, which all answers have.

    `Date` is RFC 9110's (6.6.1). `no-store` keeps caching proxies from giving what is no more.
    """

    __slots__ = ("_by_status", "ok")

    def __init__(self) -> None:
        """Make them for this second."""
        self.ok: list[bytes] = []
        self._by_status: dict[int, list[bytes]] = {}
        self.refresh()

    def of(self, status: int, style: Style) -> bytes:
        """The head of an answer."""
        heads = self._by_status.get(status)
        if heads is None:
            heads = self._by_status[status] = _heads(status)
        return heads[style]

    def refresh(self) -> None:
        """Make them anew; to be called each second."""
        self.ok = _heads(OK)
        self._by_status = {OK: self.ok}


def _heads(status: int) -> list[bytes]:
    date = format_date_time(time())
    return [
        f"HTTP/1.{0 if style & Style.KEEP_10 else 1} {status} {HTTPStatus(status).phrase}\r\n"
        f"Server: csms-redis\r\nDate: {date}\r\nCache-Control: {CACHING}\r\n"
        f"{_CONNECTION.get(style & ~BODILESS, '')}".encode()
        for style in Style
    ]

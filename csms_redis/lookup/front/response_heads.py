"""The head of an answer: its status line, and the headers that every answer has."""

from enum import IntEnum
from http import HTTPStatus
from time import time
from typing import Final
from wsgiref.handlers import format_date_time

from csms_redis.lookup.answers import OK

CACHING: Final = "no-store"
"""`Cache-Control` of every answer (RFC 9111, 5.2.2.5).

Without it a cache on the way, as Varnish with its default settings, would go on giving the
credential of a station that is blocked by now, or the 404 of one that is registered by now.
"""

# The bits of a `Style`; plain numbers, for the hot path tests them.
CLOSES: Final = 1
"""The connection ends with the answer."""

HTTP_10: Final = 2
"""The answer is to an HTTP/1.0 request."""

BODILESS: Final = 4
"""The answer has no body where it refuses."""


class Style(IntEnum):
    """How to answer a client: a set of the bits `CLOSES`, `HTTP_10` and `BODILESS`."""

    KEEP_11 = 0
    CLOSE_11 = CLOSES
    KEEP_10 = HTTP_10
    CLOSE_10 = HTTP_10 | CLOSES
    KEEP_11_BODILESS = BODILESS
    CLOSE_11_BODILESS = BODILESS | CLOSES
    KEEP_10_BODILESS = BODILESS | HTTP_10
    CLOSE_10_BODILESS = BODILESS | HTTP_10 | CLOSES


# As aiohttp writes them: HTTP/1.1 keeps and HTTP/1.0 closes unless they say otherwise.
_CONNECTION: dict[int, str] = {
    Style.CLOSE_11: "Connection: close\r\n",
    Style.KEEP_10: "Connection: keep-alive\r\n",
}


class ResponseHeads:
    """The heads of this second, made once for all answers: up to the tail's first byte.

    Attributes:
        ok: the heads of 200, by `Style`; the hot path looks into it by itself.
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
        """Make them anew; to be called each second, for they have a `Date` (RFC 9110, 6.6.1)."""
        self.ok = _heads(OK)
        self._by_status = {OK: self.ok}


def _heads(status: int) -> list[bytes]:
    date = format_date_time(time())
    return [
        f"HTTP/1.{0 if style & HTTP_10 else 1} {status} {HTTPStatus(status).phrase}\r\n"
        f"Server: csms-redis\r\nDate: {date}\r\nCache-Control: {CACHING}\r\n"
        f"{_CONNECTION.get(style & ~BODILESS, '')}".encode()
        for style in Style
    ]

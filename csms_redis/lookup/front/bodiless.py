"""Refusals without a body, for clients that neither read a refusal's body nor close it.

Go's HTTP client keeps the connection of an answer whose body was not read, for good, and one
descriptor with it; an answer without a body costs it nothing. The gateways of the field only look
at the status, so their two lookups, of a station's auth and of a certificate, are refused so.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

from csms_redis.lookup.front.request_heads import MAX_HEAD
from csms_redis.settings import ApiSettings

MOST: Final = 2 * MAX_HEAD
"""Bytes of a request's begin that `begun` needs."""

_METHOD_AND_TARGET = re.compile(rb"\s*+([!-~]++) ++([^\r\n]*+)")
_VERSION = re.compile(rb" HTTP/[0-9]\.[0-9]$")
_USER_AGENT = re.compile(rb"\n(?i:user-agent):[ \t]*+([^\r\n]*+)")


class Bodiless:
    """Who is refused without a body, and what."""

    def __init__(self, agents: Iterable[str]) -> None:
        """Know whom.

        Args:
            agents: what the `User-Agent` of such clients begins with.
        """
        self._agents = tuple(agent.encode() for agent in agents)

    def agent(self, user_agent: bytes) -> bool:
        """Whether a client is one of them."""
        return user_agent.startswith(self._agents)

    def refusal(self, method: str, target: bytes, user_agent: bytes, status: int) -> bool:
        """Whether an answer, which is not 200, refuses one of them what a gateway looks up.

        Args:
            method: of the request.
            target: of the request, its path and query.
            user_agent: the header's value; empty without one.
            status: of the answer.
        """
        no_other_operation = method in {"GET", "HEAD"} or status == HTTPStatus.METHOD_NOT_ALLOWED
        return no_other_operation and self.agent(user_agent) and _is_lookup(target)

    def begun(self, data: bytes) -> bool:
        """Whether bytes that make no request, or not yet, are what one of them looks up.

        Where the request's line is too long to see who asks, they are: stations choose their ids,
        and a gateway looks up whatever it is given.

        Args:
            data: what has arrived, or the first `MOST` bytes of it.
        """
        line = _METHOD_AND_TARGET.match(data)
        if line is None or line[1] == b"DELETE" or not self._agents:
            return False
        if b"\n" not in data:
            return len(data) >= MAX_HEAD and (b"/cs/" in line[2] or b"/certificate/" in line[2])
        named = _USER_AGENT.search(data)
        by_one = named is not None and self.agent(named[1])
        return by_one and _is_lookup(_VERSION.sub(b"", line[2]))


def _is_lookup(target: bytes) -> bool:
    """Whether a gateway means to look up a station's auth or a certificate.

    Also where its address for this service has a wrong path, and where an id has a `/` or a `?`
    that it did not escape.
    """
    path = target.partition(b"?")[0]
    for meant in (path, target, unquote_to_bytes(path)):
        if meant.endswith(b"/auth") and b"/cs/" in meant[: -len(b"/auth")]:
            return True
    return b"/certificate/" in target


BY_DEFAULT: Final = Bodiless(ApiSettings().bodiless_refusals_for)

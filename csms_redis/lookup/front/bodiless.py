"""Refusals without a body, for clients that neither read a refusal's body nor close it.

The gateways of the field look only at the status of a refusal. Go's HTTP client then keeps the
connection for good, because its body was not read, and loses one descriptor with it. A refusal
without a body costs that client nothing. So this is how a gateway's two lookups are refused: of a
station's auth and of a certificate.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

from csms_redis.lookup.front.request_heads import MAX_HEAD
from csms_redis.settings import ApiSettings

MOST: Final = 2 * MAX_HEAD
"""Bytes from the begin of a request that `applies_to_begun` needs to see."""

_METHOD_AND_TARGET = re.compile(rb"\s*+([!-~]++) ++([^\r\n]*+)")
_VERSION = re.compile(rb" HTTP/[0-9]\.[0-9]$")
_USER_AGENT = re.compile(rb"\n(?i:user-agent):[ \t]*+([^\r\n]*+)")


class Bodiless:
    """Decides whose refusals have no body, and of which requests.

    It only decides; who writes the answer leaves the body out.
    """

    def __init__(self, agents: Iterable[str]) -> None:
        """Take the clients from the setting `api.bodiless_refusals_for`.

        Args:
            agents: what the `User-Agent` of such a client begins with.
        """
        self._agents = tuple(agent.encode() for agent in agents)

    def applies_to(self, user_agent: bytes) -> bool:
        """Whether a client with this `User-Agent` is such a client."""
        return user_agent.startswith(self._agents)

    def applies_to_refusal(
        self, method: str, target: bytes, user_agent: bytes, status: int
    ) -> bool:
        """Whether an answer refuses a gateway's lookup to such a client.

        Args:
            method: of the request.
            target: of the request, its path and query.
            user_agent: the header's value; empty without one.
            status: of the answer; not 200.
        """
        no_other_operation = method in {"GET", "HEAD"} or status == HTTPStatus.METHOD_NOT_ALLOWED
        return no_other_operation and self.applies_to(user_agent) and _is_lookup(target)

    def applies_to_begun(self, data: bytes) -> bool:
        """Whether bytes that make no request, or not yet, are a gateway's lookup by such a client.

        Where the request's line is so long that nobody sees who asks, the answer is yes: a station
        chooses its own id, and a gateway looks up whatever id it is given.

        Args:
            data: what has arrived, or the first `MOST` bytes of it.
        """
        line = _METHOD_AND_TARGET.match(data)
        if line is None or line[1] == b"DELETE" or not self._agents:
            return False
        if b"\n" not in data:
            return len(data) >= MAX_HEAD and (b"/cs/" in line[2] or b"/certificate/" in line[2])
        named = _USER_AGENT.search(data)
        by_one = named is not None and self.applies_to(named[1])
        return by_one and _is_lookup(_VERSION.sub(b"", line[2]))


def _is_lookup(target: bytes) -> bool:
    """Whether a gateway means to look up a station's auth or a certificate.

    It may mean so with another target too: its setting of this service's address may have a wrong
    path, and it may not escape a `/` or a `?` in an id.
    """
    path = target.partition(b"?")[0]
    for meant in (path, target, unquote_to_bytes(path)):
        if meant.endswith(b"/auth") and b"/cs/" in meant[: -len(b"/auth")]:
            return True
    return b"/certificate/" in target


BY_DEFAULT: Final = Bodiless(ApiSettings().bodiless_refusals_for)

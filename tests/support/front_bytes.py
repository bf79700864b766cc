"""What goes over a connection to the front: requests to send, and replies read."""

import http.client
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, cast

from tests.conftest import Reply

MAX_BODY = 4096
HOST = b"Host: registry\r\n"
_MATTER = {
    "content-type",
    "content-length",
    "connection",
    "allow",
    "retry-after",
    "www-authenticate",
}
HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak="
SLOW = b"/api/v0/cs/slow/auth"


class _Stream(BytesIO):
    """Bytes as `http.client` reads them from a socket; it must not close them."""

    def makefile(self, mode: str) -> "_Stream":
        del mode
        return self

    def close(self) -> None:
        pass


def replies(data: bytes) -> list[Reply]:
    """Read replies to GET or POST one after another; nothing may be left over."""
    stream = _Stream(data)
    found: list[Reply] = []
    while stream.tell() < len(data):
        response = http.client.HTTPResponse(cast("Any", stream))
        response.begin()
        headers = dict(response.getheaders())
        assert "Content-Length" in headers, data
        found.append(Reply(response.status, response.reason, headers, response.read()))
    return found


@dataclass(frozen=True)
class Answer:
    """What matters of a reply."""

    line: str
    headers: frozenset[tuple[str, str]]
    body: bytes

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.line.split(" ")[1])

    @property
    def closing(self) -> "Answer":
        """The same, but for its `Connection`, which says close."""
        kept = {(name, value) for name, value in self.headers if name != "connection"}
        said = {("connection", "close")} if self.line.startswith("HTTP/1.1") else set()
        return replace(self, headers=frozenset(kept | said))


def answers(received: bytes) -> list[Answer]:
    """Read answers one after another; a body that is not there was not wanted (HEAD)."""
    found = []
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        assert end, received
        line, *lines = head.decode("ascii").split("\r\n")
        received = rest
        if line == "HTTP/1.1 100 Continue":
            continue
        headers = [
            (name.lower(), value) for name, _, value in (each.partition(": ") for each in lines)
        ]
        if "content-length" not in dict(headers):  # JSON Lines
            whole, received = _chunks(rest)
            found.append(Answer(line, frozenset(h for h in headers if h[0] in _MATTER), whole))
            continue
        length = 0 if rest.startswith(b"HTTP/1.") else int(dict(headers)["content-length"])
        assert not line.endswith("500 Internal Server Error")
        assert len({name for name, _ in headers}) == len(headers), headers
        assert dict(headers)["cache-control"] == "no-store", received
        assert length <= len(rest) or not rest, received
        matter = frozenset(header for header in headers if header[0] in _MATTER)
        found.append(Answer(line, matter, rest[:length]))
        received = rest[length:]
    return found


def _chunks(received: bytes) -> tuple[bytes, bytes]:
    """A body that came in chunks (RFC 9112, 7.1), and what follows; none where none was wanted."""
    body = b""
    while received:
        size, _, rest = received.partition(b"\r\n")
        length = int(size, 16)
        body += rest[:length]
        received = rest[length + 2 :]
        if length == 0:
            break
    return body, received


def get(target: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    """A GET with a Host and other headers."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"GET %b HTTP/%b\r\n%b%b\r\n" % (target, version, HOST, lines)


def station(name: str) -> bytes:
    """A lookup of a station in the plainest form."""
    return get(b"/api/v0/cs/%b/auth" % name.encode())


def post(target: bytes, body: bytes, *headers: bytes) -> bytes:
    """A POST of JSON with a Host and other headers."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return (
        b"POST %b HTTP/1.1\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b"
        % (target, HOST, len(body), lines, body)
    )


REGISTER = post(b"/api/v0/cs/new", b'{"securityProfile":2}')
HEALTH = get(b"/health")


def bodies(found: list[Reply]) -> list[bytes]:
    """The bodies of replies."""
    return [reply.body for reply in found]


def statuses(found: list[Reply]) -> list[int]:
    """The statuses of replies."""
    return [reply.status for reply in found]

"""Reads the head of a request, where its form is narrow enough that no two parsers differ.

The narrow form is: a request line of a method in capitals, a target of visible ASCII, and single
spaces; header lines of a token, a colon and printable ASCII, each ended by CRLF; each name once,
but for those that each proxy on the way may add; a body only with a plain Content-Length. A request
in any other form is "odd", and is left to aiohttp as a whole.

Regular expressions decide this in C code, and lines that were read before cost one dictionary
look-up, because a gateway's headers hardly change. httptools is not used for two reasons: it calls
back into Python for each header, and it takes more than the narrow form, so that what it lets pass
would have to be checked here all the same.
"""

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from csms_redis.access.addresses import Forwarding
from csms_redis.lookup.front.response_heads import Style

MAX_HEAD: Final = 8000  # bytes; below aiohttp's own limit of a line, so that both agree
_MAX_HEADERS: Final = 64
_MAX_KNOWN: Final = 1024

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])\r\n")
# The repetitions are possessive, so that reading takes time in proportion to the head's length.
_HEADERS = re.compile(rb"(?:%b:[\t -~]*+\r\n)*+" % _TOKEN)
_HEADER = re.compile(rb"(%b):([\t -~]*+)\r\n" % _TOKEN)
_HEADER_BEGUN = re.compile(rb"(?:%b(?::[\t -~]*+\r?)?|\r)?" % _TOKEN)
_LINE_BEGUN = re.compile(
    rb"[A-Z]{1,16}(?: (?:/[!-~]*(?: (?:H(?:T(?:T(?:P(?:/(?:1(?:\.(?:[01]\r?)?)?)?)?)?)?)?)?)?)?)?"
)
_HOST = re.compile(rb"[A-Za-z0-9.\-_]+(?::[0-9]+)?|\[[0-9A-Fa-f:.]+\](?::[0-9]+)?")
_LENGTH = re.compile(rb"[0-9]{1,12}")
_CONNECTION = {b"keep-alive": True, b"close": False}
_METHODS = frozenset([b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"])
# These headers change what the bytes that follow mean, or aiohttp takes them for more than is meant
# here: Proxy-Connection for a Connection, Sec-WebSocket-Key1 for an error.
_LEFT_TO_AIOHTTP = frozenset(
    [
        b"transfer-encoding",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
        b"http2-settings",
        b"proxy-connection",
        b"sec-websocket-key1",
    ]
)
# Proxies and tracing add these headers, each proxy perhaps in a line of its own (HAProxy's `option
# forwardfor` does). They change nothing about the answer to a request that is admitted, and their
# values may differ in each request.
_ADDED = (
    *(b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip"),
    *(b"traceparent", b"tracestate", b"x-request-id", b"x-amzn-trace-id"),
    *(b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid"),
)
_ADDED_LINE = re.compile(rb"\r\n(?i:%b):[\t -~]*+(?=\r\n)" % b"|".join(_ADDED))
_MAX_ADDED = 16  # lines; with _MAX_HEADERS below the number of headers that aiohttp takes


class Meaning(NamedTuple):
    """What the headers of a request say."""

    style: Style  # how to answer
    body: int | None  # bytes of the body; None without Content-Length
    authorization: bytes | None
    forwarding: Forwarding
    user_agent: bytes


class RequestHead(NamedTuple):
    """A request's head in the narrow form."""

    method: bytes
    target: bytes
    style: Style  # how to answer
    size: int  # bytes of the head
    body: int | None  # bytes of the body; None without Content-Length
    authorization: bytes | None
    forwarding: Forwarding
    user_agent: bytes  # empty without one

    @property
    def is_plain_get(self) -> bool:
        """Whether it is a GET that announces no body."""
        return self.method == b"GET" and self.body is None


def read_head(data: bytes) -> RequestHead | Literal["odd", "unfinished"]:
    """Read the head that `data` begins with.

    Returns:
        The head; "unfinished" where more must arrive first; "odd" for another form.
    """
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD)
    if end < 0:
        return "unfinished" if len(data) < MAX_HEAD and _may_become_a_head(data) else "odd"
    line = _REQUEST_LINE.match(data)
    if line is None:
        return "odd"
    method, target, minor = line.groups()
    meaning = _read_headers(minor, data[line.end() : end + 2])
    if meaning is None or method not in _METHODS:
        return "odd"
    style, body, authorization, forwarding, user_agent = meaning
    return RequestHead(method, target, style, end + 4, body, authorization, forwarding, user_agent)


def without_added(headers: bytes) -> bytes:
    """The headers without those that may differ in each request.

    When the rest is in the narrow form, so is the whole, for only lines of that form were taken
    out. So both are answered alike. What is no head stays as it is.

    Args:
        headers: of a request, from the minor version to the empty line.
    """
    if len(headers) > MAX_HEAD or headers.find(b"\r\n\r\n") != len(headers) - 4:
        return headers
    return _ADDED_LINE.sub(b"", headers, _MAX_ADDED)


@lru_cache(_MAX_KNOWN)
def _read_headers(minor: bytes, lines: bytes) -> Meaning | None:
    """What the headers say; None for odd ones.

    The results are kept, because a client's headers hardly change.
    """
    named = _by_name(lines)
    if named is None or named.keys() & _LEFT_TO_AIOHTTP:
        return None
    host = named.get(b"host")
    if minor == b"1" if host is None else not _HOST.fullmatch(host):
        return None
    keep = minor == b"1"
    if b"connection" in named:
        asked = _CONNECTION.get(named[b"connection"].lower())
        if asked is None:
            return None
        keep = asked
    length = named.get(b"content-length")
    if length is not None and not _LENGTH.fullmatch(length):
        return None
    if minor == b"1":
        style = Style.KEEP_11 if keep else Style.CLOSE_11
    else:
        style = Style.KEEP_10 if keep else Style.CLOSE_10
    forwarding = Forwarding(
        named.get(b"x-forwarded-for", b"").decode("ascii"),
        named.get(b"forwarded", b"").decode("ascii"),
    )
    return Meaning(
        style,
        None if length is None else int(length),
        named.get(b"authorization"),
        forwarding,
        named.get(b"user-agent", b""),
    )


def _by_name(lines: bytes) -> dict[bytes, bytes] | None:
    """The headers' values by their names in lower case; None for odd ones.

    The values of a header that may be repeated are joined by commas (RFC 9110, 5.3).
    """
    if not _HEADERS.fullmatch(lines):
        return None
    headers = _HEADER.findall(lines)
    if len(headers) > _MAX_HEADERS:
        return None
    named: dict[bytes, bytes] = {}
    for spelled, padded in headers:
        name, value = spelled.lower(), padded.strip(b" \t")
        if name in named:
            if name not in _ADDED:
                return None
            value = named[name] + b"," + value
        named[name] = value
    return named


def _may_become_a_head(data: bytes) -> bool:
    """Whether bytes to come can still make it a head in the narrow form."""
    line = _REQUEST_LINE.match(data)
    if line is None:
        return bool(_LINE_BEGUN.fullmatch(data)) or not data
    headers = _HEADERS.match(data, line.end())
    assert headers is not None  # noqa: S101 it matches the empty string
    return bool(_HEADER_BEGUN.fullmatch(data, headers.end()))

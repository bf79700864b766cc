"""`read_head`: what it takes, aiohttp's parser reads the same; what is begun stays unfinished."""

import asyncio
import time
from typing import Any, cast

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from csms_redis.lookup.front.request_heads import MAX_HEAD, RequestHead, read_head, without_added
from csms_redis.lookup.front.response_heads import CLOSES
from tests.support.front_bytes import get
from tests.support.front_corpus import CORPUS
from tests.support.front_requests import ADDED, REQUESTS, mutated

_names = st.text(
    "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    min_size=1,
    max_size=12,
)
_values = st.text([chr(code) for code in range(32, 127)] + ["\t"], max_size=20)
_blank = st.text(" \t", max_size=3)
_special = st.sampled_from(
    [
        *("Connection: close", "Connection: keep-alive", "connection:Keep-Alive ", "Upgrade: h2c"),
        *("Content-Length: 5", "Content-Length: 007", "Host: a:1", "host:[::1]", "Expect: x"),
        *("X-Forwarded-For: a", "x-forwarded-for:b, c ", "X-Forwarded-For:", "Forwarded: for=a"),
        *("Via: 1.1 a", "X-Request-Id: a", "traceparent: 00-a-b-01", "TraceState:c=d"),
    ]
)
_lines = st.builds("{}:{}{}{}".format, _names, _blank, _values, _blank) | _special
_heads = st.builds(
    lambda method, target, version, lines: "\r\n".join(
        [f"{method} {target} HTTP/1.{version}", *lines, "", ""]
    ).encode(),
    st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"]),
    st.text([chr(code) for code in range(33, 127)], max_size=30).map("/{}".format),
    st.sampled_from("10"),
    st.lists(_lines, max_size=6).map(lambda lines: ["Host: h", *lines]) | st.lists(_lines),
)
_BOUNDED = settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))


def parse(data: bytes) -> list[tuple[Any, Any]]:
    """What aiohttp's parser makes of some bytes.

    Raises:
        aiohttp.http_exceptions.HttpProcessingError: it refuses them.
    """
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(cast("BaseProtocol", None), loop, 2**16, max_headers=128)
    messages, upgraded, rest = parser.feed_data(data)
    assert not upgraded
    assert rest == b""
    return list(messages)


def agrees(head: RequestHead, data: bytes) -> None:
    """See that aiohttp reads the same head, and that the body begins where it ends."""
    [(message, payload)] = parse(data[: head.size])
    assert message.method.encode() == head.method
    assert message.path.encode() == head.target
    assert message.version == (1, 0 if head.style.name.endswith("10") else 1)
    assert message.should_close is bool(head.style & CLOSES)
    assert not message.upgrade
    assert not message.chunked
    length = message.headers.get("Content-Length")
    assert head.body == (None if length is None else int(length))
    assert head.forwarding == tuple(
        ",".join(message.headers.getall(name, [])) for name in ("X-Forwarded-For", "Forwarded")
    )
    assert payload.is_eof() is not bool(head.body)
    lines = data[: head.size].decode("ascii").split("\r\n")[1:-2]
    assert [
        (name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines)
    ] == [(name.decode(), value.decode()) for name, value in message.raw_headers]


@_BOUNDED
@given(data=st.one_of(_heads, _heads, REQUESTS, mutated()))
async def test_aiohttp_reads_the_same(data: bytes) -> None:
    head = read_head(data)
    assume(isinstance(head, RequestHead))
    assert isinstance(head, RequestHead)
    agrees(head, data)


@pytest.mark.parametrize("name", CORPUS)
async def test_aiohttp_reads_the_same_of_the_corpus(name: str) -> None:
    head = read_head(CORPUS[name])
    if isinstance(head, RequestHead):
        agrees(head, CORPUS[name])


@_BOUNDED
@given(data=st.one_of(_heads, REQUESTS))
def test_every_part_of_a_head_is_unfinished(data: bytes) -> None:
    head = read_head(data)
    assume(isinstance(head, RequestHead) and head.size < 1000)
    assert isinstance(head, RequestHead)
    for end in range(head.size):
        assert read_head(data[:end]) == "unfinished", data[:end]
    for follows in (b"", b"GET", b"\r\n", b"\x00"):
        assert read_head(data[: head.size] + follows) == head


@_BOUNDED
@given(data=mutated(), more=st.binary(max_size=20))
def test_what_is_odd_stays_odd(data: bytes, more: bytes) -> None:
    if read_head(data) == "odd":
        assert read_head(data + more) == "odd"


# What proxies add


def headers_of(request: bytes) -> bytes:
    """What follows the target and ` HTTP/1.`."""
    return request.partition(b" HTTP/1.")[2]


@_BOUNDED
@given(
    data=st.data(),
    known=_heads | REQUESTS,
    lines=st.lists(ADDED, min_size=1, max_size=4),
    ending=st.sampled_from([b""] * 8 + [b"\r\n", b"Via: a\r\n", b"Via: a\r\n\r\n", get(b"/")]),
)
def test_a_head_that_is_known_but_for_what_was_added_is_one(
    data: st.DataObject, known: bytes, lines: list[bytes], ending: bytes
) -> None:
    """Wherever lines are put into it, well formed or not: it is not known, or it says the same."""
    expected = read_head(known)
    assume(isinstance(expected, RequestHead) and len(known) == expected.size < 1000)
    # a head of as many headers as the narrow form has may have more once they are known
    assume(known.count(b"\r\n") < 50)
    request = known
    for line in lines:
        places = [at for at in range(len(request)) if request.startswith(b"\r\n", at)]
        at = data.draw(st.sampled_from(places))
        request = request[:at] + b"\r\n" + line + request[at:]
    request += ending
    key = without_added(headers_of(request))
    if key in {headers_of(known), without_added(headers_of(known))}:
        head = read_head(request)
        assert isinstance(head, RequestHead)
        assert isinstance(expected, RequestHead)
        assert head.size == len(request)
        assert head._replace(size=0, forwarding=expected.forwarding) == expected._replace(size=0)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "line",
    [
        b"X-Forwarded-For: 192.0.2.7, 192.0.2.8",
        b"x-request-id:\ta ",
        b"TRACEPARENT: 00-a-b-01",
        b"Via:",
    ],
)
def test_what_proxies_add_is_left_out(line: bytes, count: int) -> None:
    request = get(b"/a", b"Accept: a", *[line] * count, b"X: y")
    assert without_added(headers_of(request)) == headers_of(get(b"/a", b"Accept: a", b"X: y"))


@pytest.mark.parametrize(
    "request_",
    [
        get(b"/a", b"X-Request-Id : a"),
        get(b"/a", b"X-Request-Id: a\x00"),
        get(b"/a", b"X-Request-Id: S\xc3\xa4ule"),
        get(b"/a", b"X-Request-Id: a\r"),
        get(b"/a", b"X-Request-Id: a\n"),
        get(b"/a", b"X-Request-Ids: a"),
        get(b"/a", b"Y-X-Request-Id: a"),
        get(b"/a", b" X-Request-Id: a"),
        get(b"/a", b"X-Request-Id: a")[:-2],
        get(b"/a") + b"X-Request-Id: a\r\n",
        get(b"/a") + b"X-Request-Id: a\r\n\r\n",
        get(b"/a") + get(b"/b", b"X-Request-Id: a"),
        get(b"/a", b"X-Request-Id: " + b"a" * MAX_HEAD),
        get(b"/a", *[b"Via: a"] * 100),
    ],
)
def test_nothing_else_is_left_out(request_: bytes) -> None:
    assert without_added(headers_of(request_)) != headers_of(get(b"/a"))


@pytest.mark.parametrize("size", [MAX_HEAD - 1, MAX_HEAD, MAX_HEAD + 1])
def test_a_head_may_have_so_many_bytes(size: int) -> None:
    data = get(b"/health", b"X: " + b"x" * (size - len(get(b"/health", b"X: "))))
    assert len(data) == size
    head = read_head(data)
    assert (head == "odd") is (size > MAX_HEAD)
    assert read_head(data[: MAX_HEAD - 1]) != "odd"
    assert read_head(data[:MAX_HEAD]) != "unfinished"


@pytest.mark.parametrize(
    "line",
    [
        b"X: x" + b" " * 7800 + b"x",
        b"X:" + b"\t" * 7800,
        b"X" * 7800,
        b"X: " + b"x" * 7800,
        b"\r\n".join(b"%x: " % number for number in range(1500)),
        b"Via:\r\n" * 1250,
        b"X-Request-Id:" + b"\t" * 7800,
    ],
    ids=["spaces", "tabs", "a name", "a value", "names", "added", "an id"],
)
@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\r\n", b"", b"\x00"])
def test_reading_takes_no_long_time(line: bytes, end: bytes) -> None:
    """A tenth of a millisecond is wanted; a pattern that backtracks would take 100."""
    data = get(b"/health")[:-2] + line + end
    spent = []
    for _ in range(5):
        started = time.perf_counter()
        read_head(data)
        without_added(headers_of(data))
        spent.append(time.perf_counter() - started)
    print(f"{min(spent) * 1e6:.0f} µs")  # noqa: T201 timings are printed
    assert min(spent) < 0.001

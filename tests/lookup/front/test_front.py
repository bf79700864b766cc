"""The front protocol: what it answers itself, what it hands over, and when it closes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from csms_redis.api.protocol import LINGERING
from csms_redis.lookup import answers
from csms_redis.lookup.answers import OK, UNAVAILABLE, tail
from csms_redis.lookup.front import protocol as front
from csms_redis.lookup.front.protocol import KEEPALIVE_AFTER_404, LINGER
from csms_redis.registry.stations import STATION
from tests.conftest import Reply
from tests.support.front_site import (
    KEEPALIVE_TIMEOUT,
    MAX_BODY,
    RECORDS,
    REQUEST_TIMEOUT,
    Client,
    Clock,
    Site,
    get,
    pass_time,
    post,
    running_site,
    settle,
    station,
)

CS001 = RECORDS[STATION, "cs001"]
CS002 = RECORDS[STATION, "cs002"]
NO_STATION = b'{"status":"Not Found","error":"There is no such charge station."}'
REGISTER = post(b"/api/v0/cs/new", b'{"securityProfile":2}')
HEALTH = get(b"/health")
SLOW = b"/api/v0/cs/slow/auth"
BUFFER = 65536  # bytes that may wait while a request is being answered
SEGMENT = 16384


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The front's clock."""
    clock = Clock()
    monkeypatch.setattr(front, "monotonic", clock)
    return clock


@pytest.fixture
async def site(clock: Clock) -> AsyncIterator[Site]:
    """A front that knows some records."""
    del clock
    async with running_site() as running:
        yield running


def bodies(replies: list[Reply]) -> list[bytes]:
    return [reply.body for reply in replies]


def statuses(replies: list[Reply]) -> list[int]:
    return [reply.status for reply in replies]


# What is answered here


async def test_a_hit_is_answered_in_one_write_without_aiohttp(site: Site) -> None:
    client = site.client()
    client.protocol.data_received(station("cs001"))
    [reply] = client.replies
    assert (reply.status, reply.reason, reply.body) == (200, "OK", CS001)
    assert list(reply.headers) == [
        *("Server", "Date", "Cache-Control", "Content-Type", "Content-Length")
    ]
    assert reply.headers["Content-Type"] == "application/json"
    assert site.handed_over == 0
    assert not client.transport.closed


async def test_a_hit_behind_known_headers_is_the_same(site: Site) -> None:
    client = site.client()
    first, second = await client.ask(station("cs001")), await client.ask(station("cs001"))
    assert first == second
    assert b"cs001" not in b"".join(site.front.known_headers)


async def test_an_unknown_station_is_answered_404_when_remembered(site: Site) -> None:
    site.lookups.forget(b"/api/v0/cs/nobody/auth")
    client = site.client()
    for _ in range(2):
        client.protocol.data_received(station("nobody"))
    assert bodies(client.replies) == [NO_STATION] * 2
    assert statuses(client.replies) == [404] * 2
    assert not client.transport.closed


async def test_what_is_no_id_is_answered_404(site: Site) -> None:
    client = site.client()
    for _ in range(2):
        client.protocol.data_received(station("%00"))
        client.protocol.data_received(station("s" * 49))
    assert bodies(client.replies) == [NO_STATION] * 4
    assert site.handed_over == 0


async def test_a_miss_is_answered_when_redis_has_answered(site: Site) -> None:
    site.lookups.slow.add(SLOW)
    client = site.client()
    for _ in range(2):
        assert await client.ask(station("slow")) == []
        already = len(client.received)
        site.lookups.answer(OK, tail(b'{"securityProfile":0}'))
        assert client.received[already:].endswith(b'\r\n\r\n{"securityProfile":0}')
    assert site.handed_over == 0


async def test_a_miss_without_redis_says_when_to_try_again(site: Site) -> None:
    site.lookups.slow.add(SLOW)
    client = site.client()
    await client.ask(station("slow"))
    site.lookups.answer(UNAVAILABLE, b"Retry-After: 1\r\n" + tail(b"{}"))
    [reply] = client.replies
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert not client.transport.closed


async def test_a_client_that_left_is_not_answered(site: Site) -> None:
    site.lookups.slow.add(SLOW)
    client = site.client()
    await client.send(station("slow"))
    client.transport.abort()
    await settle(client)
    site.lookups.answer(OK, tail(b"{}"))
    assert client.received == b""


async def test_other_spellings_of_an_id_find_the_record(site: Site) -> None:
    client = site.client()
    targets = [
        b"/api/v0/cs/%63s001/auth",
        b"/api/v0/cs/%7Ba%7d%2Fb%20c/auth",
        b"/api/v0/cs/{a}%2fb%20c/auth",
        b"/api/v0/cs/S%C3%A4ule/auth",
        b"/api/v0/cs/S%c3%a4ule/auth",
        b"/api/v0/token/abc123",
        b"/api/v0/token/a%2fB%20c",
        b"/api/v0/certificate/TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP+Ak%3d",
        b"/api/v0/certificate/TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak",
    ]
    for _ in range(2):
        answered = await client.ask(b"".join(get(target) for target in targets))
        assert [200] * len(targets) == statuses(answered)
    assert site.handed_over == 0


@pytest.mark.parametrize(
    "line",
    [
        b"GET /api/v0/token/a b HTTP/1.1\r\n",
        b"GET /api/v0/token/a\tb HTTP/1.1\r\n",
        b"GET /api/v0/token/a\x00b HTTP/1.1\r\n",
        b"GET /api/v0/token/a HTTP/1.0 HTTP/1.1\r\n",
        b"GET /api/v0/token/%b HTTP/1.1\r\n" % (b"%41" * 3000),
    ],
)
async def test_known_headers_excuse_no_bad_request_line(site: Site, line: bytes) -> None:
    await site.client().ask(station("cs001"))
    client = site.client()
    assert statuses(await client.ask(line + HEALTH.partition(b"\r\n")[2])) == [400]
    assert client.ended


async def test_known_headers_make_no_target_of_two_lines(site: Site) -> None:
    line, _, headers = station("cs001").partition(b"\r\n")
    await site.client().ask(line + b"\r\n" + headers)
    client = site.client()
    await client.ask(b"GET /api/v0/token/a\r\nX: b HTTP/1.1\r\n" + headers)
    assert site.handed_over == 1
    assert client.ended


async def test_what_proxies_add_makes_no_head_unknown(site: Site) -> None:
    """Though it is new with each lookup; nor do two lines make one odd (HAProxy's forwardfor)."""
    await site.client().ask(get(b"/api/v0/cs/cs001/auth", b"Accept: a", b"Via: 1.1 a"))
    client = site.client()
    for number in range(3):
        for _ in range(2):
            client.protocol.data_received(
                get(
                    b"/api/v0/cs/cs001/auth",
                    b"X-Forwarded-For: 198.51.100.%d" % number,
                    b"Accept: a",
                    b"traceparent: 00-%032x-%016x-01" % (number, number),
                    b"X-Forwarded-For: 203.0.113.%d" % number,
                )
            )
    assert bodies(client.replies) == [CS001] * 6
    assert {reply.headers.get("Connection") for reply in client.replies} == {None}
    assert site.handed_over == 0
    assert site.front.known_headers[b"1\r\nHost: registry\r\nAccept: a\r\n\r\n"].closes is False


@pytest.mark.parametrize(
    "line",
    [
        b"X-Request-Id : a",
        b"X-Request-Id: a\x00",
        b"X-Request-Id: a\r\n b",
        b"Via: a\r",
        b" Via: a",
    ],
)
async def test_known_headers_excuse_no_bad_line(site: Site, line: bytes) -> None:
    await site.client().ask(station("cs001"))
    client = site.client()
    assert statuses(await client.ask(get(b"/api/v0/cs/cs001/auth", line))) == [400]
    assert client.ended


async def test_a_line_behind_a_request_is_no_part_of_it(site: Site) -> None:
    await site.client().ask(station("cs001"))
    client = site.client()
    assert statuses(await client.ask(station("cs001") + b"Via: 1.1 a\r\n")) == [200, 400]
    assert client.ended


async def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    site.lookups.slow.add(SLOW)
    site.lookups.forget(b"/api/v0/cs/nobody/auth")
    client = site.client()
    await client.send(
        station("cs001")
        + station("slow")
        + REGISTER
        + station("cs002")
        + HEALTH
        + station("nobody")
        + station("slow")
        + station("cs001")
    )
    await settle(client)
    assert bodies(client.replies) == [CS001]
    site.lookups.answer(OK, tail(b"first"))
    await settle(client)
    assert bodies(client.replies) == [CS001, b"first", b"", CS002, b'{"status":"OK"}', NO_STATION]
    assert site.stations.registered == ["new"]
    site.lookups.answer(OK, tail(b"second"))
    assert bodies(client.replies)[6:] == [b"second", CS001]
    assert site.handed_over == 2


async def test_a_request_split_at_every_byte_is_one_request(site: Site) -> None:
    client = site.client()
    for request in (station("cs001"), REGISTER, station("cs002"), HEALTH):
        await client.send(*(request[at : at + 1] for at in range(len(request))))
        await settle(client)
    assert bodies(client.replies) == [CS001, b"", CS002, b'{"status":"OK"}']
    assert site.handed_over == 2


async def test_the_date_is_of_this_second(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.lookups.forget(b"/api/v0/cs/nobody/auth")
    client = site.client()
    for now, date in (
        (1760000000.9, "Thu, 09 Oct 2025 08:53:20 GMT"),
        (1760000001.4, "Thu, 09 Oct 2025 08:53:21 GMT"),
    ):
        monkeypatch.setattr(answers, "time", lambda now=now: now)
        pass_time(site, clock, 0.5)
        answered = await client.ask(station("cs001") + station("nobody"))
        assert [date, date] == [reply.headers["Date"] for reply in answered]


# Whether the connection stays


@pytest.mark.parametrize(
    ("version", "header", "answered", "stays"),
    [
        (b"1.1", b"", None, True),
        (b"1.1", b"Connection: keep-alive\r\n", None, True),
        (b"1.1", b"Connection: close\r\n", "close", False),
        (b"1.1", b"connection:CLOSE\r\n", "close", False),
        (b"1.0", b"", None, False),
        (b"1.0", b"Connection: close\r\n", None, False),
        (b"1.0", b"Connection: Keep-Alive\r\n", "keep-alive", True),
    ],
)
@pytest.mark.parametrize("target", [b"/api/v0/cs/cs001/auth", b"/api/v0/cs/no/auth", b"/health"])
async def test_the_version_and_connection_decide(
    site: Site, version: bytes, header: bytes, answered: str | None, *, stays: bool, target: bytes
) -> None:
    request = b"GET %b HTTP/%b\r\nHost: h\r\n%b\r\n" % (target, version, header)
    for _ in range(2):  # the headers are known the second time
        client = site.client()
        [reply] = await client.ask(request)
        assert answered == reply.headers.get("Connection")
        assert client.received.startswith(b"HTTP/%b " % version)
        assert stays is not client.ended
    if stays:
        assert statuses(await client.ask(request.replace(target, b"/health"))) == [200]


async def test_nothing_is_answered_after_close(site: Site) -> None:
    client = site.client()
    request = get(b"/api/v0/cs/cs001/auth", b"Connection: close")
    assert bodies(await client.ask(request + station("cs002"))) == [CS001]
    assert client.ended


@pytest.mark.parametrize("between", [REGISTER, HEALTH, get(b"/nowhere"), get(b"/api/v0/cs//auth")])
async def test_the_connection_comes_back_from_aiohttp(site: Site, between: bytes) -> None:
    client = site.client()
    for round_ in range(1, 4):
        await client.ask(between)
        assert round_ == site.handed_over
        for _ in range(3):
            assert bodies(await client.ask(station("cs001"))) == [CS001]
        assert round_ == site.handed_over


async def test_a_pooled_http_1_0_connection_stays_hot(site: Site) -> None:
    client = site.client()
    keep = b" HTTP/1.0\r\nConnection: keep-alive\r\n"
    lookup, health, write = (
        request.replace(b" HTTP/1.1\r\n", keep) for request in (station("cs001"), HEALTH, REGISTER)
    )
    answered = [await client.ask(request) for request in (lookup, health, lookup, write, lookup)]
    assert [statuses(replies) for replies in answered] == [[200], [200], [200], [201], [200]]
    assert {"keep-alive"} == {reply.headers["Connection"] for [reply] in answered}
    assert site.handed_over == 2


async def test_a_body_may_come_in_many_segments(site: Site) -> None:
    body = b'{"securityProfile":2%b}' % (b" " * 3000)
    request = post(b"/api/v0/cs/new", body) + station("cs001")
    client = site.client()
    await client.send(*(request[at : at + 7] for at in range(0, len(request), 7)))
    await settle(client)
    assert bodies(client.replies) == [b"", CS001]
    assert site.stations.registered == ["new"]
    assert site.handed_over == 1


async def test_a_body_that_is_too_long_is_413_and_the_next_request_is_answered(
    site: Site,
) -> None:
    request = post(b"/api/v0/cs/new", b" " * (MAX_BODY + 1)) + station("cs001")
    for segments in ([request], [request[at : at + 1000] for at in range(0, len(request), 1000)]):
        client = site.client()
        await client.send(*segments)
        await settle(client)
        assert statuses(client.replies) == [413, 200]
        assert "server.max_body" in client.replies[0].error
        assert bodies(await client.ask(station("cs002"))) == [CS002]
    assert site.stations.registered == []


@pytest.mark.parametrize("size", [1, 20, 1000])
async def test_what_a_body_says_is_no_request(site: Site, size: int) -> None:
    """An answer may come before the end of the body, and the rest look like a request."""
    inner = station("cs001")
    request = post(b"/nowhere", b"x" * 10 + inner)
    client = site.client()
    assert statuses(await client.ask(request[: -len(inner)])) == [404]
    await client.ask(*(inner[at : at + size] for at in range(0, len(inner), size)))
    assert statuses(client.replies) == [404]
    assert bodies(await client.ask(station("cs002"))) == [CS002]
    assert site.handed_over == 1
    assert not client.transport.closed


async def test_an_answer_that_closes_lets_the_body_arrive_before_it_does(site: Site) -> None:
    client = site.client()
    request = post(b"/nowhere", b" " * 1000, b"Connection: close")
    assert statuses(await client.ask(request[:-500])) == [404]
    assert not client.ended
    await client.ask(request[-500:])
    assert client.ended


def test_a_connection_is_not_cut_while_aiohttp_reads_on() -> None:
    assert LINGERING < LINGER


# Flow control


async def test_nothing_is_answered_to_a_client_that_reads_nothing(site: Site) -> None:
    site.lookups.know(2000)
    client = site.client()
    client.transport.stuck = True
    requests = [station(f"n{number}") for number in range(2000)]
    stream = b"".join(requests)
    sent = 0
    while client.transport.reading and sent < len(stream):
        await client.send(stream[sent : sent + SEGMENT])
        sent += SEGMENT
    await settle(client)
    answered = len(client.received)
    assert BUFFER < answered < BUFFER + 500
    assert not client.transport.reading
    assert BUFFER < len(client.protocol._buffer) <= BUFFER + SEGMENT  # type: ignore[attr-defined]

    client.transport.stuck = False
    client.transport.catch_up()
    await settle(client)
    assert client.transport.reading
    await client.send(stream[sent:])
    await settle(client)
    expected = [b'{"securityProfile":%d}' % number for number in range(2000)]
    assert expected == bodies(client.replies)


@pytest.mark.parametrize("first", [station("slow"), REGISTER], ids=["lookup", "write"])
async def test_what_waits_behind_a_request_is_bounded(site: Site, first: bytes) -> None:
    site.lookups.slow.add(SLOW)
    site.lookups.know(3000)
    requests = [station(f"n{number}") for number in range(3000)]
    stream = first + b"".join(requests)
    client = site.client()
    sent = 0
    while client.transport.reading and sent < len(stream):
        client.protocol.data_received(stream[sent : sent + SEGMENT])
        sent += SEGMENT
    assert sent <= BUFFER + 2 * SEGMENT
    await settle(client)
    if site.lookups.waiting:
        site.lookups.answer(OK, tail(b""))
    while sent < len(stream):
        await settle(client)
        assert client.transport.reading
        client.protocol.data_received(stream[sent : sent + SEGMENT])
        sent += SEGMENT
    await settle(client)
    expected = [b'{"securityProfile":%d}' % number for number in range(3000)]
    assert [b"", *expected] == bodies(client.replies)


async def test_reading_pauses_again_where_aiohttp_resumed_it(site: Site) -> None:
    """It pauses and resumes for its own body, whatever waits behind that."""
    site.lookups.slow.add(SLOW)
    client = site.client()
    client.protocol.data_received(station("slow"))
    client.protocol.data_received(b"x" * BUFFER)
    assert client.transport.reading
    client.protocol.data_received(b"x")
    assert not client.transport.reading
    client.transport.resume_reading()
    client.protocol.data_received(b"x")
    assert not client.transport.reading


async def test_a_client_that_does_not_take_a_page_is_cut_off(site: Site, clock: Clock) -> None:
    client = site.client()
    client.transport.stuck = True
    await client.ask(get(b"/docs/swagger-ui-bundle.js"))
    assert len(client.received) > BUFFER
    pass_time(site, clock, KEEPALIVE_TIMEOUT - 1)
    assert not client.transport.closed
    pass_time(site, clock, 2)
    assert client.transport.aborted


@pytest.mark.parametrize("then", [b"G", HEALTH])
async def test_nothing_that_it_sends_makes_up_for_that(
    site: Site, clock: Clock, then: bytes
) -> None:
    """A request of odd form, after which aiohttp has the connection for good."""
    client = site.client()
    client.transport.stuck = True
    await client.ask(get(b"/docs/swagger-ui-bundle.js", b"TE: trailers"))
    pass_time(site, clock, KEEPALIVE_TIMEOUT - 1)
    await client.ask(then)
    assert not client.transport.closed
    pass_time(site, clock, 2)
    assert client.transport.aborted


async def test_a_client_that_takes_a_page_slowly_gets_it(site: Site, clock: Clock) -> None:
    client = site.client()
    client.transport.stuck = True
    request = get(b"/docs/swagger-ui-bundle.js")
    await client.send(request)
    for _ in range(100):
        await settle(client)
        pass_time(site, clock, KEEPALIVE_TIMEOUT / 2)
        client.transport.catch_up()
    await settle(client)
    reply = client.replies[0]
    assert int(reply.headers["Content-Length"]) == len(reply.body)


@pytest.mark.parametrize("header", [b"Connection: close", b"X: y"])
async def test_a_connection_cannot_be_kept_by_reading_nothing(
    site: Site, clock: Clock, header: bytes
) -> None:
    client = site.client()
    client.transport.stuck = True
    await client.ask(get(b"/api/v0/cs/cs001/auth", header))
    pass_time(site, clock, KEEPALIVE_TIMEOUT + LINGER + 2)
    await settle(client)
    assert client.transport.aborted


async def test_a_connection_that_aiohttp_has_closed_is_cut_off(clock: Clock) -> None:
    """It does so after an early answer, whose client reads as little as it sends."""
    async with running_site(lingering=0.001) as site:
        client = site.client()
        client.transport.stuck = True
        await client.ask(post(b"/nowhere", b" " * 1000)[:-500])
        async with asyncio.timeout(5):
            while not client.transport.closed:  # noqa: ASYNC110 the transport has no event
                await asyncio.sleep(0.001)
        await settle(client)
        assert not client.ended
        pass_time(site, clock, 3 * LINGER)
        await settle(client)
        assert client.transport.aborted


async def test_a_handler_has_the_time_that_it_takes(site: Site, clock: Clock) -> None:
    """Its own time-outs are its own matter."""
    client = site.client()
    await client.ask(REGISTER[:-1])
    pass_time(site, clock, 2 * KEEPALIVE_TIMEOUT)
    assert statuses(await client.ask(REGISTER[-1:])) == [201]


# A client that says no more


@pytest.mark.parametrize("follows", [[], [station("cs002")], [station("cs002"), HEALTH]])
async def test_what_was_asked_before_the_end_of_the_stream_is_answered(
    site: Site, follows: list[bytes]
) -> None:
    site.lookups.slow.add(SLOW)
    client = site.client()
    await client.send(station("slow") + b"".join(follows))
    await client.finish()
    assert not client.transport.closed
    site.lookups.answer(OK, tail(b"slow"))
    await settle(client)
    expected = [b"slow", CS002, b'{"status":"OK"}']
    assert expected[: 1 + len(follows)] == bodies(client.replies)
    assert client.ended


@pytest.mark.parametrize("request_", [REGISTER, HEALTH])
async def test_a_request_for_aiohttp_is_answered_after_the_end_of_the_stream(
    site: Site, request_: bytes
) -> None:
    client = site.client()
    await client.send(request_)
    await client.finish()
    assert [reply.status // 100 * 100 for reply in client.replies] == [200]
    assert client.ended


@pytest.mark.parametrize("unfinished", [b"GET /", REGISTER[:-1], b"bare\n", b"\r\n"])
@pytest.mark.parametrize("before", [b"", station("cs001"), station("slow")])
async def test_the_end_of_the_stream_ends_what_cannot_be_finished(
    site: Site, before: bytes, unfinished: bytes
) -> None:
    site.lookups.slow.add(SLOW)
    client = site.client()
    await client.send(before + unfinished)
    await client.finish()
    if site.lookups.waiting:
        site.lookups.answer(OK, tail(b""))
        await settle(client)
    assert client.ended
    assert [200] * bool(before) == [s for s in statuses(client.replies) if s != 400]


async def test_a_paused_client_that_says_no_more_is_answered(site: Site) -> None:
    site.lookups.know(1000)
    client = site.client()
    client.transport.stuck = True
    await client.send(b"".join(station(f"n{number}") for number in range(1000)))
    await client.finish()
    client.transport.stuck = False
    client.transport.catch_up()
    await settle(client)
    assert len(client.replies) == 1000
    assert client.ended


# Time


@pytest.mark.parametrize(
    "begun",
    [
        b"G",
        b"GET /api/v0/cs/cs001/auth HTTP/1.1\r\nHost: h\r\n",
        b"\r\n",
        b"GET /health HTTP/1.1\nHost: h\n",
        b"POST /api/v0/cs/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n",
    ],
)
@pytest.mark.parametrize("before", [b"", station("cs001"), HEALTH])
async def test_a_head_that_does_not_arrive_in_time_is_408(
    site: Site, clock: Clock, before: bytes, begun: bytes
) -> None:
    client = site.client()
    await client.ask(before)
    clock.now += 3
    await client.ask(begun)
    answered = statuses(client.replies)
    if answered[-1:] == [400]:  # aiohttp's parser sees at once that it will not do
        return
    for _ in range(9):
        pass_time(site, clock, REQUEST_TIMEOUT / 10)
        await client.ask(b"")
    assert not client.transport.closed
    pass_time(site, clock, REQUEST_TIMEOUT / 10 + 0.5)
    await settle(client)
    [*_, reply] = client.replies
    assert (reply.status, reply.headers["Connection"]) == (408, "close")
    assert "in time" in reply.error
    assert client.ended


async def test_a_head_that_trickles_is_408_as_well(site: Site, clock: Clock) -> None:
    client = site.client()
    request = station("cs001")
    for at in range(int(REQUEST_TIMEOUT) + 1):
        await client.send(request[at : at + 1])
        pass_time(site, clock, 1)
    await settle(client)
    assert statuses(client.replies) == [408]


async def test_a_late_body_gets_one_answer_and_no_408_behind_it(site: Site, clock: Clock) -> None:
    client = site.client()
    head = b"POST /nowhere HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert statuses(await client.ask(head)) == [404]
    pass_time(site, clock, KEEPALIVE_TIMEOUT)
    await settle(client)
    assert statuses(client.replies) == [404]
    assert client.ended


@pytest.mark.parametrize("before", [b"", station("cs001"), HEALTH])
async def test_an_idle_connection_is_closed_after_the_keep_alive_time_out(
    site: Site, clock: Clock, before: bytes
) -> None:
    client = site.client()
    await client.ask(before)
    pass_time(site, clock, KEEPALIVE_TIMEOUT - 1)
    assert not client.transport.closed
    pass_time(site, clock, 1.5)
    await settle(client)
    assert client.ended
    assert not client.transport.aborted
    assert len(client.replies) == bool(before)


async def test_a_busy_connection_is_not_idle(site: Site, clock: Clock) -> None:
    client = site.client()
    for _ in range(10):
        await client.ask(station("cs001"))
        pass_time(site, clock, KEEPALIVE_TIMEOUT / 2)
    assert not client.transport.closed


async def test_a_connection_is_closed_soon_after_a_404(site: Site, clock: Clock) -> None:
    site.lookups.forget(b"/api/v0/cs/nobody/auth")
    remembered, asked, invalid, good = (site.client() for _ in range(4))
    await remembered.ask(station("nobody"))
    await remembered.ask(station("nobody"))
    await asked.ask(station("unheard-of"))
    await invalid.ask(station("%00"))
    await good.ask(station("nobody"))
    await good.ask(station("cs001"))
    clients = [remembered, asked, invalid, good]
    pass_time(site, clock, KEEPALIVE_AFTER_404 - 1)
    assert [client.transport.closed for client in clients] == [False] * 4
    pass_time(site, clock, 1.5)
    await settle(*clients)
    assert [client.ended for client in clients] == [True, True, True, False]


async def test_a_lookup_under_way_outlives_the_time_outs(site: Site, clock: Clock) -> None:
    site.lookups.slow.add(SLOW)
    client = site.client()
    await client.send(station("slow"))
    pass_time(site, clock, 2 * KEEPALIVE_TIMEOUT)
    site.lookups.answer(OK, tail(b"{}"))
    assert statuses(client.replies) == [200]


async def test_running_sweeps_by_itself(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "_SWEEP", 0.001)
    client = site.client()
    clock.now += KEEPALIVE_TIMEOUT + 1
    running = asyncio.create_task(site.front.run())
    async with asyncio.timeout(5):
        while not client.ended:  # noqa: ASYNC110 the transport has no event to wait for
            await asyncio.sleep(0.001)
    running.cancel()


# Many connections


class TestMaxConnections:
    """`server.max_connections` is kept by closing what has waited longest."""

    @pytest.fixture
    async def site(self, clock: Clock) -> AsyncIterator[Site]:
        """A front that takes three connections."""
        del clock
        async with running_site(max_connections=3) as running:
            yield running

    async def connect(self, site: Site, clock: Clock, *requests: bytes) -> list[Client]:
        """Open connections, a second apart, and send a request on each."""
        clients = []
        for request in requests:
            client = site.client()
            await client.ask(request)
            clients.append(client)
            clock.now += 1
        return clients

    async def test_the_longest_idle_is_closed(self, site: Site, clock: Clock) -> None:
        clients = await self.connect(site, clock, *[station("cs001")] * 3)
        await clients[0].ask(station("cs001"))
        clock.now += 1
        clients += await self.connect(site, clock, station("cs002"), station("cs002"))
        assert [client.ended for client in clients] == [False, True, True, False, False]

    @pytest.mark.parametrize(
        "longest", [b"", HEALTH, REGISTER, b"GET /", b"odd\r\n", station("no"), station("cs001")]
    )
    async def test_whatever_it_waits_for(self, site: Site, clock: Clock, longest: bytes) -> None:
        clients = await self.connect(site, clock, longest, station("cs001"), HEALTH, HEALTH)
        assert [client.ended for client in clients] == [True, False, False, False]

    @pytest.mark.parametrize("new", [station("cs001"), HEALTH])
    async def test_the_new_one_is_not_the_longest(
        self, site: Site, clock: Clock, new: bytes
    ) -> None:
        clients = await self.connect(site, clock, station("no"), b"GET /", b"GET /", new)
        assert [client.ended for client in clients] == [True, False, False, False]
        assert statuses(clients[-1].replies) == [200]

    async def test_no_request_under_way_is_cut_off(self, site: Site, clock: Clock) -> None:
        site.lookups.slow.add(SLOW)
        unfinished = REGISTER[:-1]
        clients = await self.connect(site, clock, station("slow"), unfinished, station("slow"))
        clients += await self.connect(site, clock, station("cs001"))
        assert [client.ended for client in clients] == [False, False, False, True]
        site.lookups.answer(OK, tail(b"{}"))
        site.lookups.answer(OK, tail(b"{}"))
        await clients[1].ask(REGISTER[-1:])
        assert [statuses(client.replies) for client in clients[:3]] == [[200], [201], [200]]

    async def test_who_reads_nothing_is_cut_off(self, site: Site, clock: Clock) -> None:
        """At once, for what was written to it may never leave."""
        clients = []
        for header in (b"X: y", b"TE: trailers"):
            clients.append(site.client())
            clients[-1].transport.stuck = True
            await clients[-1].ask(get(b"/docs/swagger-ui-bundle.js", header))
            clock.now += 1
        clients += await self.connect(site, clock, HEALTH, HEALTH, HEALTH)
        assert [client.transport.aborted for client in clients] == [True, True] + [False] * 3
        assert [client.ended for client in clients] == [True, True] + [False] * 3

    async def test_it_may_be_idle_again_after_an_answer(self, site: Site, clock: Clock) -> None:
        clients = await self.connect(site, clock, HEALTH, REGISTER, station("cs001"))
        for client in clients:
            await client.ask(station("cs002"))
        clients += await self.connect(site, clock, HEALTH)
        assert len([client for client in clients if not client.ended]) == 3


# The end


async def test_drain_closes_what_is_idle(site: Site) -> None:
    clients = [site.client() for _ in range(3)]
    await clients[1].ask(station("cs001"))
    await clients[2].ask(HEALTH)
    await site.front.drain(5)
    assert [client.ended for client in clients] == [True] * 3


@pytest.mark.parametrize("follows", [b"", station("cs001"), REGISTER])
async def test_drain_answers_the_lookup_under_way_and_closes(site: Site, follows: bytes) -> None:
    site.lookups.slow.add(SLOW)
    client = site.client()
    await client.send(station("slow") + follows)
    drain = asyncio.create_task(site.front.drain(5))
    await settle(client)
    site.lookups.answer(OK, tail(b"{}"))
    await drain
    [reply] = client.replies
    assert (reply.status, reply.headers["Connection"]) == (200, "close")


async def test_drain_answers_the_request_that_arrives_and_closes(site: Site) -> None:
    requests = [station("cs001"), REGISTER, HEALTH]
    clients = [site.client() for _ in requests]
    for client, request in zip(clients, requests, strict=True):
        await client.send(request[:-3])
    drain = asyncio.create_task(site.front.drain(5))
    await settle(*clients)
    for client, request in zip(clients, requests, strict=True):
        await client.send(request[-3:])
    await drain
    assert [statuses(client.replies) for client in clients] == [[200], [201], [200]]
    assert [client.replies[0].headers["Connection"] for client in clients] == ["close"] * 3


async def test_drain_closes_after_a_body_whose_answer_was_early(site: Site) -> None:
    request = post(b"/nowhere", b" " * 100)
    client = site.client()
    await client.ask(request[:-10])
    drain = asyncio.create_task(site.front.drain(5))
    await settle(client)
    await client.send(request[-10:])
    await drain
    assert statuses(client.replies) == [404]
    assert not client.transport.aborted


async def test_drain_ends_what_does_not_end_by_itself(site: Site) -> None:
    site.lookups.slow.add(SLOW)
    clients = [site.client() for _ in range(3)]
    await clients[0].send(station("slow"))
    await clients[1].send(REGISTER[:-1])
    await clients[2].send(b"GET /")
    await site.front.drain(0.01)
    await settle(*clients)
    assert [client.transport.aborted for client in clients] == [True] * 3


# Requests of odd form


ODD = {
    "bare line feeds": b"GET /api/v0/cs/cs001/auth HTTP/1.1\nHost: h\n\n",
    "an empty line before it": b"\r\n" + station("cs001"),
    "an absolute target": get(b"http://h/api/v0/cs/cs001/auth"),
    "a header twice": get(b"/api/v0/cs/cs001/auth", b"Accept: a", b"Accept: b"),
    "an expectation": get(b"/api/v0/cs/cs001/auth", b"Expect: 100-continue"),
    "an upgrade": get(b"/api/v0/cs/cs001/auth", b"Connection: Upgrade", b"Upgrade: h2c"),
    "a chunked body": get(b"/api/v0/cs/cs001/auth", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "a header that is not ASCII": get(b"/api/v0/cs/cs001/auth", b"X-Name: S\xc3\xa4ule"),
    "a space before the colon": get(b"/api/v0/cs/cs001/auth", b"Authorization : Basic eDp5"),
    "65 headers": get(b"/api/v0/cs/cs001/auth", *(b"X-%d: x" % n for n in range(64))),
    "Proxy-Connection": get(b"/api/v0/cs/cs001/auth", b"Proxy-Connection: close"),
}


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_request_is_answered_by_aiohttp_and_closes(site: Site, name: str) -> None:
    client = site.client()
    replies = await client.ask(ODD[name])
    assert site.handed_over == 1
    [reply] = replies
    if name in {"bare line feeds", "a space before the colon"}:
        assert reply.status == 400
    else:
        assert (reply.status, reply.body) == (200, CS001)
        assert reply.headers["Connection"] == "close"
    assert client.ended


async def test_an_odd_request_behind_others_is_answered_in_order(site: Site) -> None:
    client = site.client()
    odd = ODD["an absolute target"]
    assert bodies(await client.ask(station("cs002") + REGISTER + odd)) == [CS002, b"", CS001]
    assert client.ended


@pytest.mark.parametrize("expectation", [b"wonders", b"S\xc3\xa4ule", b"\x80"])
async def test_an_expectation_that_cannot_be_met_is_417(site: Site, expectation: bytes) -> None:
    client = site.client()
    [reply] = await client.ask(get(b"/api/v0/cs/cs001/auth", b"Expect: " + expectation))
    assert reply.status == 417
    assert "100-continue" in reply.error
    assert expectation not in client.received


async def test_an_error_is_a_status_that_quotes_nothing(site: Site) -> None:
    client = site.client()
    [reply] = await client.ask(get(b"/api/v0/cs/xyzzy/auth", b"xyzzy : xyzzy"))
    assert reply.status == 400
    assert "RFC 9112" in reply.error
    assert b"xyzzy" not in client.received

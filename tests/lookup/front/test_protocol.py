"""Plain lookups, which the front answers itself: from memory, or when Redis has answered."""

import pytest

from csms_redis.lookup.answers import OK, UNAVAILABLE, tail
from csms_redis.lookup.front import response_heads
from csms_redis.lookup.front.response_heads import Style
from tests.support.front_bytes import HEALTH, REGISTER, SLOW, bodies, get, station, statuses
from tests.support.front_client import settle
from tests.support.front_site import CS001, CS002, Clock, Site, pass_time

NO_STATION = b'{"status":"Not Found","error":"There is no such charge station."}'


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
    assert b"cs001" not in b"".join(site.lookup_server.known_headers.styles)


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
    known = b"1\r\nHost: registry\r\nAccept: a\r\n\r\n"
    assert site.lookup_server.known_headers.styles[known] is Style.KEEP_11


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
        monkeypatch.setattr(response_heads, "time", lambda now=now: now)
        pass_time(site, clock, 0.5)
        answered = await client.ask(station("cs001") + station("nobody"))
        assert [date, date] == [reply.headers["Date"] for reply in answered]

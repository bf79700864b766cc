"""Requests that are handed over to aiohttp, after which the connection comes back."""

import pytest

from csms_redis.api.protocol import LINGERING
from csms_redis.lookup.front.connections import LINGER
from tests.support.front_bytes import (
    HEALTH,
    MAX_BODY,
    REGISTER,
    bodies,
    get,
    post,
    station,
    statuses,
)
from tests.support.front_client import settle
from tests.support.front_site import CS001, CS002, Site


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

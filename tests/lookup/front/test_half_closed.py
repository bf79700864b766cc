"""Clients that end their side of the stream: what they asked before is answered."""

import pytest

from csms_redis.lookup.answers import OK, tail
from tests.support.front_bytes import HEALTH, REGISTER, SLOW, bodies, station, statuses
from tests.support.front_client import settle
from tests.support.front_site import CS002, Site


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

"""Clients that do not take what was written, or send more than is answered."""

import asyncio

import pytest

from csms_redis.lookup.answers import OK, tail
from csms_redis.lookup.front.connections import LINGER
from tests.support.front_bytes import HEALTH, REGISTER, SLOW, bodies, get, post, station, statuses
from tests.support.front_client import BUFFER, SEGMENT, settle
from tests.support.front_site import KEEPALIVE_TIMEOUT, Clock, Site, pass_time, running_site


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

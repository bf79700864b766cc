"""When a connection is closed: a slow head, an idle connection, one after a 404."""

import asyncio

import pytest

from csms_redis.lookup.answers import OK, tail
from csms_redis.lookup.front import server
from csms_redis.lookup.front.connections import KEEPALIVE_AFTER_404
from tests.support.front_bytes import HEALTH, SLOW, station, statuses
from tests.support.front_client import settle
from tests.support.front_site import KEEPALIVE_TIMEOUT, REQUEST_TIMEOUT, Clock, Site, pass_time


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
    monkeypatch.setattr(server, "SWEEP", 0.001)
    client = site.client()
    clock.now += KEEPALIVE_TIMEOUT + 1
    running = asyncio.create_task(site.lookup_server.run())
    async with asyncio.timeout(5):
        while not client.ended:  # noqa: ASYNC110 the transport has no event to wait for
            await asyncio.sleep(0.001)
    running.cancel()

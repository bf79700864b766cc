"""Whatever a client sends, reads or leaves unread: answers in their order, and an end.

At each time the front waits for one thing of a connection: it is in one of the queues.
"""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csms_redis.lookup.answers import OK, tail
from csms_redis.lookup.front.connection import TRANSITIONS, State
from csms_redis.lookup.front.connections import LINGER
from csms_redis.lookup.front.protocol import LookupProtocol
from tests.support.front_bytes import answers, get, station
from tests.support.front_client import Client, MockTransport, settle
from tests.support.front_requests import STREAMS, cut, mutated
from tests.support.front_site import KEEPALIVE_TIMEOUT, Clock, Site, pass_time, running_site

BUFFER = 65536  # bytes that may wait
SEGMENT = 8192
SLOW = station("slow")
PAGE = get(b"/docs/swagger-ui-bundle.js")
ODD_PAGE = get(b"/docs/swagger-ui-bundle.js", b"TE: trailers")

Step: TypeAlias = tuple[str, Any]

_streams = st.one_of(
    st.binary(max_size=200),
    STREAMS,
    mutated(),
    st.sampled_from([SLOW, PAGE, SLOW + PAGE, PAGE + SLOW, ODD_PAGE, station("cs001") * 1500]),
)
_steps = st.one_of(
    _streams.flatmap(cut).map(lambda segments: ("send", segments)),
    st.sampled_from(
        [("settle", None), ("answer", None), ("stick", None), ("catch up", None), ("finish", None)]
    ),
    st.sampled_from([0.4, 6.0, 11.0, 80.0]).map(lambda seconds: ("wait", seconds)),
    st.just(("drain", None)),
)


@pytest.fixture
async def site(clock: Clock) -> AsyncIterator[Site]:
    """A front that knows some records."""
    del clock
    async with running_site(lingering=0.001) as running:
        running.lookups.slow.add(b"/api/v0/cs/slow/auth")
        yield running


async def send(client: Client, data: bytes) -> None:
    """Send bytes as a socket would give them, and look at what is kept of them."""
    protocol = cast("LookupProtocol", client.protocol)
    for at in range(0, len(data), SEGMENT):
        await client.send(data[at : at + SEGMENT])
        assert len(protocol._buffer) <= BUFFER + SEGMENT


def answer(site: Site) -> None:
    """Redis answers whatever it was asked."""
    while site.lookups.waiting:
        site.lookups.answer(OK, tail(b"{}"))


def each_waits_for_one_thing(site: Site) -> None:
    """See that each connection is in one queue, but for lookups under way and what is cut."""
    queues = [queue for queue, _ in site.lookup_server.connections._timeouts]
    for each in site.lookup_server.connections._open:
        connection = cast("LookupProtocol", each)
        transport = cast("MockTransport", connection._transport)
        found = [queue for queue in queues if connection in queue]
        assert len(found) == (connection._state is not State.LOOKING_UP and not transport.aborted)
        assert connection._queue is (found[0] if found else None)
    assert sum(map(len, queues)) <= len(site.lookup_server.connections._open)


async def take(site: Site, clock: Clock, client: Client, step: Step) -> None:
    """Do one of the things that can happen to a connection."""
    match step:
        case "send", segments:
            for segment in segments:
                await send(client, segment)
                each_waits_for_one_thing(site)
        case "settle", _:
            await settle(client)
        case "answer", _:
            answer(site)
        case "stick", _:
            client.transport.stuck = True
        case "catch up", _:
            client.transport.stuck = False
            client.transport.catch_up()
        case "finish", _:
            await client.finish()
        case "wait", seconds:
            pass_time(site, clock, seconds)
        case "drain", _:
            site.lookup_server.begin_drain()
            cast("LookupProtocol", client.protocol).drain(clock.now)


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(_steps, min_size=1, max_size=8))
async def test_every_connection_ends(
    site: Site, clock: Clock, transitions: set[tuple[State, State]], steps: list[Step]
) -> None:
    site.lookup_server.connections.draining = site.lookup_server.known_headers._closed = False
    client = site.client()
    for step in steps:
        await take(site, clock, client, step)
        each_waits_for_one_thing(site)
    await settle(client)
    answer(site)
    await settle(client)
    for _ in range(4):
        clock.now += KEEPALIVE_TIMEOUT + LINGER
        site.lookup_server.sweep()
        answer(site)
        await settle(client)
        if site.lookup_server.connections.answering:  # a handler waits for a body, by another clock
            await client.finish()
        each_waits_for_one_thing(site)
    assert client.ended
    assert site.lookup_server.connections._open == set()
    assert not any(queue for queue, _ in site.lookup_server.connections._timeouts)
    assert site.loop_errors == []
    for before, after in transitions:
        assert after in TRANSITIONS[before]
    if not client.transport.aborted:
        answers(client.received)

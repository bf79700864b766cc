"""The same bytes get the same answers from the front protocol as from plain aiohttp.

aiohttp is the reference. It gets one request at a time, as `read_head` delimits them, and what is
of odd form in the segments in which it arrives. There are these differences, and no others:

- The front closes after a request of odd form, saying so, where aiohttp might not: nobody but
  aiohttp knows where such a request ends. What follows it may be left unanswered.
- What follows a request that closes is ignored (RFC 9112, 9.6). aiohttp answers 400 in the place of
  the request where both arrive at once; so it is never sent both here.
- aiohttp answers 400 to half a head where it sees that no end can mend it, the front when the end
  has come (or 408 when it has not). So the end is sent here.
- aiohttp drops a request under way when the client closes its end, the front answers it. Here
  nobody closes before the answers; tests/lookup/front/test_front.py shows it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csms_redis.lookup.front.request_heads import MAX_HEAD, read_head
from tests.support.front_bytes import Answer, answers, get, station
from tests.support.front_client import Client, settle
from tests.support.front_corpus import CORPUS
from tests.support.front_requests import ADDED, STREAMS, cut, mutated
from tests.support.front_site import Site, running_site

LINGERING = 0.1  # seconds
QUIET = 3.0  # seconds; all wait at once, on a machine that may be busy
AUTH = b"/api/v0/cs/cs001/auth"
_GENERATED = settings(
    deadline=None,
    max_examples=250,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass(frozen=True)
class Outcome:
    """What became of a connection."""

    answers: list[Answer]
    ended: bool


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A service, to be reached both ways."""
    async with running_site(lingering=LINGERING) as running:
        yield running


async def say(
    client: Client, requests: list[bytes], segments: list[bytes], *, waits: bool
) -> tuple[int, Outcome]:
    """Send requests one by one, then segments.

    Args:
        client: which says it.
        requests: each is answered before the next.
        segments: sent behind them.
        waits: whether to wait for answers after each segment as well.

    Returns:
        How many answers there were to the requests, and what became of the connection.
    """
    for request in requests:
        await client.send(request)
        await settle(client)
    before = len(answers(client.received))
    for segment in segments:
        await client.send(segment)
        if waits:
            await settle(client)
    await settle(client)
    return before, Outcome(answers(client.received), client.ended)


async def leave(client: Client) -> None:
    """Be gone."""
    client.transport.abort()
    await settle(client)


async def ends(client: Client) -> None:
    """Wait for an end that aiohttp puts off for as long as it reads on."""
    async with asyncio.timeout(20 * LINGERING):
        while not client.ended:  # noqa: ASYNC110 the transport has no event to wait for
            await asyncio.sleep(LINGERING / 20)


def delimit(segments: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The requests in the narrow form, one by one, then the segments of what follows them."""
    framed: list[bytes] = []
    rest = b""
    for number, segment in enumerate(segments):
        rest += segment
        while rest:
            head = read_head(rest)
            if head == "unfinished":
                break
            if head == "odd":
                return framed, [rest, *segments[number + 1 :]]
            size = head.size + (head.body or 0)
            if len(rest) < size:
                break
            framed.append(rest[:size])
            rest = rest[size:]
    return framed, [rest] if rest else []


async def compare(site: Site, segments: list[bytes], *, waits: bool = True) -> None:
    """Send the same bytes both ways."""
    framed, rest = delimit(segments)
    reference, client = site.aiohttp_client(), site.client()
    before, expected = await say(reference, framed, rest, waits=waits)
    _, actual = await say(client, [], segments, waits=waits)
    begun = bool(rest) and read_head(rest[0]) == "unfinished"
    if begun and [answer.status for answer in expected.answers[before:]] == [400]:
        assert actual.answers == expected.answers[:before]
        _, actual = await say(client, [], [b"\r\n\r\n"], waits=True)
    odd = actual.answers[before:]
    if not odd or read_head(rest[0]) != "odd":
        assert actual == expected
    else:
        assert actual.answers[:before] == expected.answers[:before]
        meant = expected.answers[before : before + len(odd)]
        assert odd[:-1] == meant[:-1]
        assert odd[-1] in {meant[-1], meant[-1].closing}
        await ends(client)
    await leave(reference)
    await leave(client)
    assert site.loop_errors == []


@pytest.mark.parametrize("name", CORPUS)
async def test_one_request(site: Site, name: str) -> None:
    """Alone, split at every byte, and among others."""
    request = CORPUS[name]
    for _ in range(2):  # the headers may be known the second time
        await compare(site, [request])
    if len(request) < 1000:
        await compare(site, [request[at : at + 1] for at in range(len(request))], waits=False)
    middle = len(request) // 2
    await compare(site, [request[:middle], request[middle:]])
    before, after = station("cs001") + get(b"/health"), station("cs002")
    await compare(site, [before, request])
    await compare(site, [before + request])
    await compare(site, [before + request + after])


async def over_a_socket(port: int, request: bytes) -> list[Answer]:
    """Send a request, and read until the other side closes or says no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    received = b""
    with suppress(TimeoutError):
        while data := await asyncio.wait_for(reader.read(65536), QUIET):
            received += data
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return answers(received)


async def compare_over_sockets(requests: list[bytes]) -> None:
    """Send requests to two listeners, each on a connection of its own, and all at once."""
    async with running_site() as site, AsyncExitStack() as listeners:
        loop = asyncio.get_running_loop()
        ports = []
        for protocol in (site.aiohttp_protocol, site.lookup_server.new_protocol):
            listener = await loop.create_server(protocol, "127.0.0.1", 0, backlog=1000)
            listeners.callback(listener.close)
            ports.append(listener.sockets[0].getsockname()[1])
        expected, actual = [
            await asyncio.gather(*(over_a_socket(port, request) for request in requests))
            for port in ports
        ]
        await site.lookup_server.drain(0)
    for request, meant, found in zip(requests, expected, actual, strict=True):
        if read_head(request) == "odd" and meant:
            assert found in (meant, [*meant[:-1], meant[-1].closing]), request
        else:
            assert found == meant, request


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_corpus_over_sockets(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    # a longer one can be answered before it has been read, and the answer be lost with the rest
    requests = [request for request in CORPUS.values() if len(request) < MAX_HEAD]
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(compare_over_sockets([r for r in requests if read_head(r) != "unfinished"]))


@_GENERATED
@given(data=st.data(), stream=STREAMS)
async def test_some_requests(site: Site, data: st.DataObject, stream: bytes) -> None:
    site.lookup_server.known_headers.styles.clear()
    await compare(site, data.draw(cut(stream)))


@_GENERATED
@given(
    data=st.data(),
    lines=st.lists(ADDED, max_size=4),
    ending=st.sampled_from([b""] * 4 + [b"X-Request-Id: a\r\n", b"\r\n", station("cs002")]),
)
async def test_what_proxies_add_to_a_known_head(
    site: Site, data: st.DataObject, lines: list[bytes], ending: bytes
) -> None:
    for known in ([], [b"Accept: a"]):
        await compare(site, [get(AUTH, *known)])
        at = data.draw(st.integers(0, len(known)))
        request = get(AUTH, *known[:at], *lines, *known[at:]) + ending
        for _ in range(2):
            await compare(site, [request])


@_GENERATED
@given(data=st.data(), stream=mutated())
async def test_some_bytes(site: Site, data: st.DataObject, stream: bytes) -> None:
    site.lookup_server.known_headers.styles.clear()
    await compare(site, data.draw(cut(stream)))

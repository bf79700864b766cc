"""A connection gets the same bytes on its plain socket as from the event loop's transport."""

import asyncio
import gc
import re
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any, TypeAlias

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csms_redis.lookup.answers import OK, tail
from csms_redis.lookup.counts import ROUTE_AT
from csms_redis.lookup.front.connections import KEEPALIVE_AFTER_404, Connection
from csms_redis.lookup.front.protocol import LookupProtocol
from csms_redis.lookup.front.request_heads import MAX_HEAD, read_head
from tests.support.front_bytes import HASH, HEALTH, REGISTER, SLOW, get, station
from tests.support.front_corpus import CORPUS
from tests.support.front_requests import STREAMS, cut, mutated
from tests.support.front_site import (
    KEEPALIVE_TIMEOUT,
    Clock,
    Site,
    pass_time,
    running_site,
    set_clock,
)

AUTH = b"/api/v0/cs/cs001/auth"
CLOSE = get(AUTH, b"Connection: close")
CERTIFICATE = b"/api/v0/certificate/" + HASH.encode()
PATIENCE = 10.0  # seconds
QUIET = 0.1  # seconds in which nothing comes
VERY_QUIET = 2.0  # the same, where a busy machine may have taken longer
AT_ONCE = 50
TURNS = 30  # of the event loop, in which a request is answered, also after a move
BIG = b'{"certificate":"%b"}' % (b"x" * 2**20)

Run: TypeAlias = Callable[[Callable[[Site], Coroutine[Any, Any, None]]], None]
Connect: TypeAlias = Callable[[Site, socket.socket], Awaitable[None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test with a site, in an event loop of a kind."""

    async def with_site(test: Callable[[Site], Coroutine[Any, Any, None]]) -> None:
        async with running_site() as site:
            for known in (station("cs001"), CLOSE):  # else each needs a protocol to read it
                await said(site, transported, [known])
            site.lookups.counts.hit[AUTH[ROUTE_AT]] = 0
            await test(site)
            site.lookup_server.connections.abort()
            await asyncio.sleep(QUIET)

    def run_it(test: Callable[[Site], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(with_site(test))

    return run_it


async def plain(site: Site, accepted: socket.socket) -> None:
    """Serve a connection as the listener has it served."""
    site.lookup_server.plain_sockets.begin(accepted)


async def transported(site: Site, accepted: socket.socket) -> None:
    """Serve a connection by the event loop's transport from its begin."""
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(site.lookup_server.new_protocol, accepted)


def pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """The client's end of a connection, and ours."""
    client, accepted = socket.socketpair()
    for end in (client, accepted):
        end.settimeout(0)
    return stack.enter_context(client), accepted


async def received(client: socket.socket, quiet: float = QUIET) -> tuple[bytes, str]:
    """What comes, and how it ends: the other end closes, resets, or says no more."""
    loop = asyncio.get_running_loop()
    found = b""
    try:
        while data := await asyncio.wait_for(loop.sock_recv(client, 65536), quiet):
            found += data
    except TimeoutError:
        return found, "open"
    except ConnectionError:
        return found, "reset"
    return found, "closed"


async def said(
    site: Site,
    connect: Connect,
    segments: list[bytes],
    *,
    before: bytes = b"",
    quiet: float = QUIET,
) -> tuple[bytes, str]:
    """Send segments, each when the one before was read; without what is new in each answer.

    Args:
        site: which answers.
        connect: how it serves the connection.
        segments: what is sent.
        before: what is sent before the connection is accepted.
        quiet: seconds without a byte after which no more is expected.
    """
    with ExitStack() as stack:
        client, accepted = pair(stack)
        if before:
            client.sendall(before)
        await connect(site, accepted)
        for segment in [b"", *segments] if before else segments:
            with suppress(ConnectionError):  # what came before it may have closed
                client.sendall(segment)
            for _ in range(TURNS):
                await asyncio.sleep(0)
        found, end = await received(client, quiet)
    return re.sub(rb"\r\n(Date|X-Request-Id): [^\r]*", b"", found), end


async def compare(site: Site, request: bytes, cuts: list[int]) -> None:
    """Send a request in two segments, cut at each of these, on both kinds of connections."""
    for start in range(0, len(cuts), AT_ONCE):
        some = cuts[start : start + AT_ONCE]
        expected = await asyncio.gather(
            *(said(site, transported, [request[:at], request[at:]]) for at in some)
        )
        actual = await asyncio.gather(
            *(said(site, plain, [request[at:]], before=request[:at]) for at in some)
        )
        for at, one, other in zip(some, expected, actual, strict=True):
            if one != other:
                cut = [request[:at], request[at:]]
                repeated = await said(site, transported, cut, quiet=VERY_QUIET)
                assert repeated == await said(
                    site, plain, cut[1:], before=cut[0], quiet=VERY_QUIET
                ), at


def small(name: str) -> bool:
    """Whether a request can be sent at once, and its end is told by its bytes."""
    return len(CORPUS[name]) < MAX_HEAD


def test_every_request_of_the_corpus(run: Run) -> None:
    """Cut once in its middle, and whole."""

    async def test(site: Site) -> None:
        names = list(filter(small, CORPUS))
        for start in range(0, len(names), AT_ONCE):
            await asyncio.gather(
                *(
                    compare(site, CORPUS[name], [len(CORPUS[name]) // 2, len(CORPUS[name])])
                    for name in names[start : start + AT_ONCE]
                )
            )

    run(test)


@pytest.mark.parametrize(
    "request_",
    [
        station("cs001"),
        CLOSE,
        station("nobody"),
        REGISTER,
        HEALTH,
        station("cs001") + station("cs002") + CLOSE,
        station("cs001") + REGISTER + station("nobody"),
        get(AUTH, b"Connection: close", version=b"1.0") + b"more",
    ],
)
def test_cut_at_every_byte(run: Run, request_: bytes) -> None:
    run(lambda site: compare(site, request_, list(range(1, len(request_) + 1))))


@pytest.mark.slow
def test_the_corpus_cut_at_every_byte(run: Run) -> None:
    async def test(site: Site) -> None:
        for name in filter(small, CORPUS):
            request = CORPUS[name]
            if len(request) < 1000 and read_head(request) != "unfinished":
                await compare(site, request, list(range(1, len(request) + 1)))

    run(test)


@pytest.mark.slow
@settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(segments=st.one_of(STREAMS, mutated()).flatmap(cut), early=st.booleans())
def test_whatever_comes_in_whatever_segments(
    run: Run, segments: list[bytes], *, early: bool
) -> None:
    """The first before the connection is accepted, or after."""

    async def test(site: Site) -> None:
        before = segments[0] if early and segments else b""
        for quiet in (QUIET, VERY_QUIET):
            expected = await said(site, transported, segments, quiet=quiet)
            rest = segments[1:] if before else segments
            if await said(site, plain, rest, before=before, quiet=quiet) == expected:
                return
        pytest.fail(f"another answer than {expected}")

    run(test)


def test_requests_one_after_the_other(run: Run) -> None:
    """Lookups stay on the plain socket; the first other request moves it for good."""

    async def test(site: Site) -> None:
        segments = [station("cs001"), station("nobody"), HEALTH, station("cs002"), REGISTER, CLOSE]
        expected = await said(site, transported, segments)
        assert await said(site, plain, segments) == expected
        assert expected[0].count(b"HTTP/1.1 ") == len(segments)
        assert expected[1] == "closed"

    run(test)


@pytest.mark.parametrize("request_", [get(AUTH), CLOSE])
def test_an_answer_that_the_kernel_does_not_take_whole(run: Run, request_: bytes) -> None:
    """What is left follows when the client reads."""

    async def test(site: Site) -> None:
        site.lookups.cache.put(site.lookups.source.generation, CERTIFICATE, tail(BIG))
        request = request_.replace(AUTH, CERTIFICATE)
        expected = await said(site, transported, [request])
        assert expected[0].endswith(BIG)
        assert await said(site, plain, [request]) == expected
        assert await said(site, plain, [], before=request) == expected
        more = [request_.replace(AUTH, CERTIFICATE), station("cs002")]
        assert await said(site, plain, more) == await said(site, transported, more)

    run(test)


@pytest.mark.parametrize(
    ("request_", "queue"),
    [
        (get(CERTIFICATE, b"Connection: close"), "closing"),
        (get(CERTIFICATE), "idle"),
        (station("gone"), "idle_after_404"),
    ],
)
def test_what_is_not_taken_whole_waits_as_long_as_any_answer(
    run: Run, request_: bytes, queue: str
) -> None:
    """The end of its time is that of an answer that was taken."""

    async def test(site: Site) -> None:
        site.lookups.cache.put(site.lookups.source.generation, CERTIFICATE, tail(BIG))
        site.lookups.forget(b"/api/v0/cs/gone/auth")
        connections = site.lookup_server.connections
        with ExitStack() as stack:
            client, accepted = pair(stack)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            client.sendall(request_)
            await plain(site, accepted)
            for _ in range(100):
                if any(isinstance(each, LookupProtocol) for each in connections._open):
                    break  # it was not taken whole
                client.sendall(request_)
                for _ in range(8):
                    await asyncio.sleep(0)
            await asyncio.sleep(QUIET)
            (connection,) = connections._open
            assert isinstance(connection, LookupProtocol)
            assert list(getattr(connections, queue)) == [connection]
            found, end = await received(client)
            assert found.count(b"HTTP/1.1 ") >= 1
            assert end == ("closed" if queue == "closing" else "open")

    run(test)


@pytest.mark.parametrize("before", [get(CERTIFICATE), get(SLOW)])
@pytest.mark.parametrize("turns", [0, 8])
def test_who_leaves_with_more_to_be_answered_is_no_fault(
    run: Run, before: bytes, turns: int
) -> None:
    """The answer before cannot be written, and aiohttp is given nothing more."""

    async def test(site: Site) -> None:
        site.lookups.cache.put(site.lookups.source.generation, CERTIFICATE, tail(BIG))
        site.lookups.slow.add(SLOW)
        connections = site.lookup_server.connections
        for prelude in (b"", HEALTH):  # the second with a transport of the event loop
            with ExitStack() as stack:
                client, accepted = pair(stack)
                client.sendall(prelude or before + REGISTER)
                await plain(site, accepted)
                if prelude:
                    assert (await received(client))[1] == "open"
                    client.sendall(before + REGISTER)
                for _ in range(turns):
                    await asyncio.sleep(0)
                client.close()
                async with asyncio.timeout(PATIENCE):
                    while len(connections):
                        if site.lookups.waiting:
                            site.lookups.answer(OK, tail(b"{}"))
                        await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0)
        assert site.loop_errors == []

    run(test)


def test_nothing_is_answered_to_a_client_that_does_not_read(run: Run) -> None:
    """Not either after the event loop's transport was given more than it likes to keep."""

    async def test(site: Site) -> None:
        site.lookups.cache.put(site.lookups.source.generation, CERTIFICATE, tail(BIG))
        for connect in (transported, plain):
            with ExitStack() as stack:
                client, accepted = pair(stack)
                client.sendall(get(CERTIFICATE))
                await connect(site, accepted)
                await asyncio.sleep(QUIET)
                client.sendall(get(CERTIFICATE) * 3)
                await asyncio.sleep(QUIET)
                assert site.lookups.counts.hit[CERTIFICATE[ROUTE_AT]] == 1
                found, end = await received(client)
                assert found.count(BIG) == 4
                assert end == "open"
            site.lookups.counts.hit[CERTIFICATE[ROUTE_AT]] = 0

    run(test)


def test_a_client_that_sends_no_more_is_answered(run: Run) -> None:
    """Also when the answer comes later."""

    async def test(site: Site) -> None:
        site.lookups.slow.add(SLOW)
        for connect in (transported, plain):
            with ExitStack() as stack:
                client, accepted = pair(stack)
                client.sendall(get(SLOW))
                client.shutdown(socket.SHUT_WR)
                await connect(site, accepted)
                await asyncio.sleep(0.01)
                site.lookups.answer(OK, tail(b"{}"))
                found, end = await received(client)
                assert found.endswith(b"\r\n\r\n{}")
                assert end == "closed"

    run(test)


def test_a_client_that_leaves_is_forgotten(run: Run) -> None:
    """While it is idle, while its lookup is under way, and before the event loop's transport."""

    async def test(site: Site) -> None:
        site.lookups.slow.add(SLOW)
        connections = site.lookup_server.connections
        for before in (b"", station("cs001"), station("cs001")[:-1], get(SLOW), REGISTER):
            with ExitStack() as stack:
                client, accepted = pair(stack)
                if before:
                    client.sendall(before)
                await plain(site, accepted)
                assert len(connections) == 1
                client.close()
                for _ in range(20):
                    await asyncio.sleep(0)
                if before == get(SLOW):
                    site.lookups.answer(OK, tail(b"{}"))
                async with asyncio.timeout(PATIENCE):
                    while len(connections):  # noqa: ASYNC110 nothing tells
                        await asyncio.sleep(0.01)
        assert not any((connections.idle, connections.reading, connections.closing))

    run(test)


def test_there_may_be_as_many_as_the_limit_says(run: Run) -> None:
    """The longest waiting one is closed, on the plain socket too."""

    async def test(site: Site) -> None:
        connections = site.lookup_server.connections
        connections.max_connections = 2
        with ExitStack() as stack:
            clients = []
            for _ in range(3):
                client, accepted = pair(stack)
                client.sendall(station("cs001"))
                await plain(site, accepted)
                clients.append(client)
            assert len(connections) == 2
            ends = [end for _, end in [await received(client) for client in clients]]
            assert ends == ["closed", "open", "open"]

    run(test)


def test_each_is_counted_once(run: Run) -> None:
    """Whether it closes with its answer, stays, or turns out to need more than a plain socket."""

    async def test(site: Site) -> None:
        connections = site.lookup_server.connections
        with ExitStack() as stack:
            for requests in (
                [CLOSE],
                [station("cs001")],
                [station("cs001"), station("nobody")],
                [],
            ):
                client, accepted = pair(stack)
                if requests:
                    client.sendall(requests[0])
                await plain(site, accepted)
                for request in requests[1:]:
                    client.sendall(request)
                    for _ in range(8):
                        await asyncio.sleep(0)
            assert connections.accepted == 4
            assert len(connections) == 3

    run(test)


@pytest.mark.parametrize(
    ("id_", "seconds"), [("cs001", KEEPALIVE_TIMEOUT), ("gone", KEEPALIVE_AFTER_404)]
)
def test_an_idle_one_closes_when_its_time_is_over(
    run: Run, monkeypatch: pytest.MonkeyPatch, id_: str, seconds: float
) -> None:
    """The time since its last answer, and how long depends on that."""
    clock = Clock()
    set_clock(monkeypatch, clock)

    async def test(site: Site) -> None:
        site.lookups.forget(b"/api/v0/cs/gone/auth")
        with ExitStack() as stack:
            client, accepted = pair(stack)
            client.sendall(station("cs001"))
            await plain(site, accepted)
            for _ in range(2):
                pass_time(site, clock, seconds - 1)
                client.sendall(station(id_))
                for _ in range(8):
                    await asyncio.sleep(0)
            pass_time(site, clock, seconds - 1)
            found, end = await received(client)
            assert (found.count(b"HTTP/1.1 "), end) == (3, "open")
            pass_time(site, clock, 2)
            assert await received(client) == (b"", "closed")
        assert len(site.lookup_server.connections) == 0

    run(test)


@pytest.mark.parametrize("connect", [plain, transported])
@pytest.mark.parametrize("before", [station("gone"), station("nobody")])
def test_what_has_arrived_at_the_end_of_its_time_is_answered(
    run: Run, monkeypatch: pytest.MonkeyPatch, connect: Connect, before: bytes
) -> None:
    """Though nobody has read it yet; and the connection stays."""
    clock = Clock()
    set_clock(monkeypatch, clock)

    async def test(site: Site) -> None:
        site.lookups.forget(b"/api/v0/cs/gone/auth")
        for request in (station("cs001"), CLOSE):
            with ExitStack() as stack:
                client, accepted = pair(stack)
                client.sendall(before)
                await connect(site, accepted)
                assert (await received(client))[1] == "open"
                client.sendall(request)
                clock.now += KEEPALIVE_TIMEOUT
                site.lookup_server.sweep()
                found, end = await received(client)
                assert found.count(b"HTTP/1.1 ") == 1
                assert end == ("closed" if request == CLOSE else "open")
                clock.now += KEEPALIVE_TIMEOUT
                site.lookup_server.sweep()
                assert await received(client) == (b"", "closed")
        assert len(site.lookup_server.connections) == 0

    run(test)


@pytest.mark.parametrize("kept", [False, True])
def test_a_fault_of_memory_ends_one_connection(
    run: Run, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    async def test(site: Site) -> None:
        def fault(*_: object) -> None:
            raise RuntimeError("a fault")

        with ExitStack() as stack:
            client, accepted = pair(stack)
            if kept:
                client.sendall(station("cs001"))
                await plain(site, accepted)
                assert (await received(client))[1] == "open"
            monkeypatch.setattr(site.lookup_server.memory, "answer", fault)
            client.sendall(station("cs001"))
            if not kept:
                await plain(site, accepted)
            assert await received(client) == (b"", "closed")
        assert len(site.lookup_server.connections) == 0
        (reported,) = site.loop_errors
        assert str(reported["exception"]) == "a fault"
        site.loop_errors.clear()

    run(test)


@pytest.mark.parametrize("before", [station("cs001"), station("nobody"), b""])
def test_a_fault_of_the_registry_ends_one_connection(
    run: Run, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    """As of one that had to give way for it."""

    async def test(site: Site) -> None:
        connections = site.lookup_server.connections
        count = connections.opened

        def opened(connection: Connection) -> None:
            count(connection)
            raise RuntimeError("a fault")

        monkeypatch.setattr(connections, "opened", opened)
        with ExitStack() as stack:
            client, accepted = pair(stack)
            if before:
                client.sendall(before)
            await plain(site, accepted)
            assert (await received(client))[1] == "closed"
        assert len(connections) == 0
        assert not connections.idle
        (reported,) = site.loop_errors
        assert str(reported["exception"]) == "a fault"
        site.loop_errors.clear()

    run(test)


@pytest.mark.parametrize("connect", [plain, transported])
@pytest.mark.parametrize("before", [station("cs001"), station("nobody")])
@pytest.mark.parametrize("request_", [get(SLOW), REGISTER])
def test_a_drain_answers_what_has_arrived(
    run: Run, connect: Connect, before: bytes, request_: bytes
) -> None:
    """Though nobody has read it yet when the idle connections are closed."""

    async def test(site: Site) -> None:
        site.lookups.slow.add(SLOW)
        connections = site.lookup_server.connections
        with ExitStack() as stack:
            client, accepted = pair(stack)
            client.sendall(before)
            await connect(site, accepted)
            assert (await received(client))[1] == "open"
            site.lookup_server.begin_drain()
            client.sendall(request_)
            (connection,) = connections._open
            connection.drain(monotonic())
            await asyncio.sleep(QUIET)
            if request_ == get(SLOW):
                site.lookups.answer(OK, tail(b"{}"))
            found, end = await received(client)
            assert found[9:12] == (b"201" if request_ == REGISTER else b"200")
            assert b"\r\nConnection: close\r\n" in found
            assert end == "closed"
        assert len(connections) == 0

    run(test)


def test_a_drain_closes_them(run: Run) -> None:
    """The idle at once, the others with their answer; whoever moves is answered first."""

    async def test(site: Site) -> None:
        site.lookups.slow.add(SLOW)
        with ExitStack() as stack:
            clients = []
            for before in (station("cs001"), get(SLOW), REGISTER):
                client, accepted = pair(stack)
                client.sendall(before)
                await plain(site, accepted)
                clients.append(client)
            drain = asyncio.create_task(site.lookup_server.drain(PATIENCE))
            await asyncio.sleep(0.01)
            site.lookups.answer(OK, tail(b"{}"))
            await drain
            found = [await received(client) for client in clients]
            assert [end for _, end in found] == ["closed"] * 3
            assert [answer[9:12] for answer, _ in found] == [b"200", b"200", b"201"]
            assert [b"Connection: close" in answer for answer, _ in found] == [False, True, True]

    run(test)


def test_a_fault_ends_one_connection(run: Run) -> None:
    """And is reported; the others go on."""

    async def test(site: Site) -> None:
        def fault(*_: object) -> None:
            raise RuntimeError("a fault")

        with ExitStack() as stack:
            client, accepted = pair(stack)
            client.sendall(station("nobody"))
            site.lookups.read = fault  # type: ignore[assignment,method-assign]
            await plain(site, accepted)
            assert await received(client) == (b"", "closed")
        assert len(site.lookup_server.connections) == 0
        (reported,) = site.loop_errors
        assert str(reported["exception"]) == "a fault"
        site.loop_errors.clear()

    run(test)

"""Connections that are in TLS' handshake: they count, and end like any other."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from typing import Any, TypeAlias, cast

import pytest
import uvloop

from csms_redis.access.control import AccessControl
from csms_redis.lookup.front.connections import LINGER
from csms_redis.lookup.front.server import LookupServer
from tests.support.front_site import (
    KEEPALIVE_TIMEOUT,
    REQUEST_TIMEOUT,
    Clock,
    HandFilled,
    set_clock,
)

MAX_CONNECTIONS = 5
PATIENCE = 10.0  # seconds

Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test in an event loop of a kind."""

    def run_it(test: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(test)

    return run_it


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The front's clock; the handshake's own time-out goes by the event loop's."""
    clock = Clock()
    set_clock(monkeypatch, clock)
    return clock


def make_server() -> LookupServer:
    """A front with TLS; nobody comes as far as to see a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return LookupServer(
        HandFilled(),
        lambda _: cast("Any", None),
        AccessControl(),
        keepalive_timeout=KEEPALIVE_TIMEOUT,
        request_timeout=REQUEST_TIMEOUT,
        max_connections=MAX_CONNECTIONS,
        tls=lambda: context,
    )


def mute(server: LookupServer, clock: Clock, stack: ExitStack) -> socket.socket:
    """A client that connects and says nothing, a second after the one before."""
    ours, accepted = socket.socketpair()
    stack.enter_context(ours)
    for end in (ours, accepted):
        end.settimeout(0)
    server.handshakes.begin(accepted)
    clock.now += 1
    return ours


def is_closed(client: socket.socket) -> bool:
    """Whether the other end is."""
    with suppress(BlockingIOError):
        return client.recv(10) == b""
    return False


async def settle(server: LookupServer, left: int) -> None:
    """Wait until no more than so many connections are left, and then for nothing more to happen."""
    async with asyncio.timeout(PATIENCE):
        while len(server.connections) > left:  # noqa: ASYNC110 there is no event for it
            await asyncio.sleep(0.001)
    for _ in range(20):
        await asyncio.sleep(0)


def test_who_says_nothing_is_closed_by_the_sweep(run: Run, clock: Clock) -> None:
    """It looks before the handshake's own time-out where the event loop was held up."""

    async def test() -> None:
        server = make_server()
        with ExitStack() as stack:
            first, second = (mute(server, clock, stack) for _ in range(2))
            await asyncio.sleep(0)
            clock.now += REQUEST_TIMEOUT - 2
            server.sweep()
            await settle(server, 1)
            assert [is_closed(client) for client in (first, second)] == [True, False]
            third = mute(server, clock, stack)
            server.sweep()  # in the turn in which it was accepted
            clock.now += REQUEST_TIMEOUT
            server.sweep()
            await settle(server, 0)
            assert [is_closed(client) for client in (second, third)] == [True, True]
            assert not server.connections.reading

    run(test())


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_no_more_shake_hands_than_may_be_connected(run: Run, clock: Clock, turns: int) -> None:
    """However many are accepted at once; the longest waiting ones go."""

    async def test() -> None:
        server = make_server()
        with ExitStack() as stack:
            clients = []
            for _ in range(100):
                clients.append(mute(server, clock, stack))
                for _ in range(turns):
                    await asyncio.sleep(0)
            await settle(server, MAX_CONNECTIONS)
            assert len(server.connections) == MAX_CONNECTIONS
            kept = [not is_closed(client) for client in clients]
            assert kept == [False] * (100 - MAX_CONNECTIONS) + [True] * MAX_CONNECTIONS
            server.connections.abort()
            await settle(server, 0)

    run(test())


def test_drain_ends_handshakes(run: Run, clock: Clock) -> None:
    async def test() -> None:
        server = make_server()
        with ExitStack() as stack:
            clients = [mute(server, clock, stack) for _ in range(3)]
            await asyncio.sleep(0)
            clock.now += LINGER + 1
            await server.drain(PATIENCE)
            assert len(server.connections) == 0
            await settle(server, 0)
            assert [is_closed(client) for client in clients] == [True] * 3

    run(test())

"""Names and connections to what they stand for."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from csms_redis.redis import names
from csms_redis.redis.names import NotResolved, Place, blamed, connect, places

HOST = "127.0.0.1"
NAME = "redis.test"

LookUp = Callable[[str, int], list[Place]]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with closing(socket.create_server((HOST, 0))) as listening:
        yield listening


@pytest.fixture
def look_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[LookUp], None]:
    """Lets something else be the name server."""

    def use(look_up: LookUp) -> None:
        monkeypatch.setattr(names, "_look_up", look_up)

    return use


def at(*hosts: str) -> LookUp:
    families = {True: socket.AF_INET6, False: socket.AF_INET}
    return lambda _, port: [(families[":" in host], (host, port)) for host in hosts]


async def arrives(listening: socket.socket, name: str) -> bool:
    """Whether a connection to a name does."""
    port = listening.getsockname()[1]
    with closing(await connect(name, port)) as connected:
        accepted, peer = listening.accept()
        with accepted:
            return bool(peer == connected.getsockname())


async def test_addresses_and_names(listening: socket.socket) -> None:
    assert await arrives(listening, HOST)
    assert await arrives(listening, "localhost")


async def test_each_address_of_a_name_is_tried(
    listening: socket.socket, look_up: Callable[[LookUp], None]
) -> None:
    """IPv6 as well as IPv4, whether the one before refuses or is silent."""
    port = listening.getsockname()[1]
    look_up(at("127.0.0.2", "::1", HOST))
    assert await arrives(listening, NAME)
    with closing(socket.create_server(("127.0.0.2", port), backlog=0)) as silent:
        fill = [socket.socket() for _ in range(4)]
        for one in fill:
            one.setblocking(False)  # noqa: FBT003 its only argument
            one.connect_ex(silent.getsockname())
        assert await arrives(listening, NAME)
        for one in fill:
            one.close()


async def test_nobody_at_any_address(look_up: Callable[[LookUp], None]) -> None:
    look_up(at("127.0.0.2", "127.0.0.3"))
    with pytest.raises(ConnectionRefusedError) as refused:
        await connect(NAME, 1)
    assert refused.value.strerror == "Connection refused"  # and not the address once more


@pytest.mark.parametrize("name", ["no.invalid", "a" * 64 + ".test", "a..b"])
async def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(NotResolved, match="its name is not resolved"):
        await places(name, 1)


async def test_a_silent_name_server_holds_one_thread_and_is_blamed(
    look_up: Callable[[LookUp], None],
) -> None:
    """However often it is waited for; what it says in the end is used."""
    answer, asked = threading.Event(), []

    def silent(host: str, port: int) -> list[Place]:
        asked.append(threading.current_thread())
        answer.wait()
        return at(HOST)(host, port)

    look_up(silent)
    for _ in range(3):
        with pytest.raises(TimeoutError) as waited:
            async with asyncio.timeout(0.02):
                await places(NAME, 6379)
        assert isinstance(blamed(NAME, 6379, waited.value), NotResolved)
        assert blamed("other", 6379, waited.value) is waited.value
    (thread,) = asked
    assert thread.daemon
    answer.set()
    thread.join()
    assert await places(NAME, 6379) == [(socket.AF_INET, (HOST, 6379))]
    assert len(asked) == 1
    await places(NAME, 6379)
    assert len(asked) == 2

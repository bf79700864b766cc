"""Three sentinels, a name server, and how often the sentinels are asked."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from csms_redis.redis import names as names_module
from csms_redis.redis import topology
from tests.support.sentinel_peers import NEVER, Fake, Names, acquaint
from tests.support.topologies.node import free_port


@pytest.fixture
async def three() -> AsyncIterator[list[Fake]]:
    """Three sentinels that know one another."""
    fakes = [Fake(number) for number in range(3)]
    acquaint(fakes)
    async with AsyncExitStack() as stack:
        for fake in fakes:
            await fake.start()
            stack.push_async_callback(fake.stop)
        yield fakes


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what sentinels tell makes a second look."""
    monkeypatch.setattr(topology, "POLL", NEVER)


@pytest.fixture
def quick_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "POLL", 0.02)


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    server = Names()
    monkeypatch.setattr(names_module, "_look_up", server.look_up)
    return server


@pytest.fixture
async def behind_a_name() -> AsyncIterator[list[Fake]]:
    """Three that are found at one port and do not know one another."""
    port = free_port()
    fakes = [Fake(number, host=f"127.0.0.{number + 1}", port=port) for number in range(3)]
    for fake in fakes:
        await fake.start()
    yield fakes
    for fake in fakes:
        await fake.stop()

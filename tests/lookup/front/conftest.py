"""A front without a socket, and the time that it sees."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from csms_redis.lookup.front.connection import ClientConnection, State
from tests.support.front_site import Clock, Site, running_site, set_clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The front's clock."""
    clock = Clock()
    set_clock(monkeypatch, clock)
    return clock


@pytest.fixture
async def site(clock: Clock) -> AsyncIterator[Site]:
    """A front that knows some records."""
    del clock
    async with running_site() as running:
        yield running


@pytest.fixture
def transitions(monkeypatch: pytest.MonkeyPatch) -> set[tuple[State, State]]:
    """Which state of a connection followed which."""
    seen: set[tuple[State, State]] = set()
    slot: Any = ClientConnection.__dict__["_state"]

    def change(connection: ClientConnection, state: State) -> None:
        if hasattr(connection, "_state"):
            seen.add((slot.__get__(connection), state))
        slot.__set__(connection, state)

    monkeypatch.setattr(ClientConnection, "_state", property(slot.__get__, change))
    return seen

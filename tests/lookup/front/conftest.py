"""A front without a socket, and the time that it sees."""

from collections.abc import AsyncIterator

import pytest

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

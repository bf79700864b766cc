"""A service that has a client for each role."""

from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from csms_redis.access import throttle
from tests.support.callers import PROXY, clients
from tests.support.front_site import Site, running_site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A service that has a client for each role, and never lets one wait."""
    async with running_site(trusted_proxies=[ip_network(PROXY)]) as running:
        running.access_control.use(clients())
        yield running


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No failure is slowed."""
    monkeypatch.setattr(throttle, "BURST", 10**9)

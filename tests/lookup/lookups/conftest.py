"""Lookups of one Redis whose other end is the test."""

from time import monotonic

import pytest

from csms_redis.lookup import lookups as lookups_module
from csms_redis.lookup.known import near_cache, unknown_cache
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading import deadlines, flights, sources
from tests.support.wire import (
    Client,
    Clock,
    Wire,
    connect,
    short_lookups,
)


@pytest.fixture
async def lookups() -> Lookups:
    return short_lookups()


@pytest.fixture
async def client(lookups: Lookups) -> Client:
    return Client(lookups)


@pytest.fixture
async def wire(lookups: Lookups) -> Wire:
    return connect(lookups)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    turned = Clock(monotonic())
    for module in (lookups_module, deadlines, flights, sources, near_cache, unknown_cache):
        monkeypatch.setattr(module, "monotonic", turned)
    return turned

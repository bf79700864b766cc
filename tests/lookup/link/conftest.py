"""A Valkey that really runs, one that misbehaves, and probes that come often."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import Redis

from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading import link as module
from csms_redis.settings import LookupSettings
from tests.conftest import Valkey, short_directory
from tests.support.fake_redis import FakeRedis, fake_redis
from tests.support.supervised import INTERVAL, PROBE_TIMEOUT
from tests.support.wire import (
    make_lookups,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe twenty times a second, and give up after a fifth of one."""
    monkeypatch.setattr(module, "_PROBE_INTERVAL", INTERVAL)
    monkeypatch.setattr(module, "_PROBE_TIMEOUT", PROBE_TIMEOUT)


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture
async def fake(home: Path) -> AsyncIterator[FakeRedis]:
    async with fake_redis(home / "redis.sock") as running:
        yield running


@pytest.fixture
def admin(valkey: Valkey) -> Iterator[Redis]:
    with Redis(unix_socket_path=valkey.socket) as client:
        yield client


@pytest.fixture
def lookups() -> Lookups:
    return make_lookups(LookupSettings(preload=False))

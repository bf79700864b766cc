"""A clock that the test turns."""

import pytest

from csms_redis.lookup.known import near_cache, unknown_cache
from tests.support.wire import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    turned = Clock()
    monkeypatch.setattr(near_cache, "monotonic", turned)
    monkeypatch.setattr(unknown_cache, "monotonic", turned)
    return turned

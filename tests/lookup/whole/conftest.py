"""A process with two stations to read, and one that has read them."""

from collections.abc import AsyncIterator

import pytest

from csms_redis.lookup.reading import preload as preload_module
from tests.support.preloading import Site, make_site, preloading
from tests.support.wire import record


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look twenty times a second whether something is to be read again."""
    monkeypatch.setattr(preload_module, "_TICK", 0.05)
    monkeypatch.setattr(preload_module, "_LONGEST", 0.05)


@pytest.fixture
async def site() -> Site:
    made = make_site()
    made.records = {b"cs:a": record(1), b"cs:b": record(2)}
    return made


@pytest.fixture
async def whole(site: Site) -> AsyncIterator[Site]:
    """One that has read all records."""
    async with preloading(site):
        await site.serve()
        assert site.stations.is_whole
        site.asked.clear()
        yield site

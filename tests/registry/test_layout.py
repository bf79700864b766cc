"""Who is admitted while the storage layout's version is known, unknown or another's."""

import asyncio
from typing import Any, cast

import pytest

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient
from csms_redis.registry.layout import Layout, UnknownLayout

HAS_IT, OTHER = Address(host="has-it.test"), Address(host="other.test")
SILENCE = object()


class Store:
    """A cluster whose one master has the version, or does not answer."""

    def __init__(self) -> None:
        self.value: Any = b"1"
        self.looks = 0
        self.spoken = asyncio.Event()

    def owner(self, key: bytes) -> Address:
        assert key == b"p:layout"
        return HAS_IT

    async def read(self, key: bytes, *command: Any) -> Any:
        assert command == ("GET", key)
        self.looks += 1
        value = self.value
        while value is SILENCE:
            await self.spoken.wait()
            value = self.value
        await asyncio.sleep(0)
        if isinstance(value, Exception):
            raise value
        return value

    async def write(self, key: bytes, *command: Any) -> Any:
        assert command == ("SET", key, 1, "NX")
        self.value = b"%d" % command[2]

    def away(self) -> None:
        self.value = Unavailable("away")


@pytest.fixture
async def store() -> Store:
    return Store()


@pytest.fixture
async def layout(store: Store) -> Layout:
    return Layout(cast("RedisClient", store), b"p:")


async def refused(layout: Layout, master: Address | None) -> type[Exception] | None:
    """What a master's user is told; None when it is admitted."""
    try:
        await asyncio.wait_for(layout.admit(master), 5)
    except Unavailable as unavailable:
        return type(unavailable)
    return None


async def test_known_it_is_not_asked_for_again(store: Store, layout: Layout) -> None:
    told = await asyncio.gather(*(refused(layout, each) for each in (HAS_IT, OTHER, None)))
    assert told == [None, None, None]
    assert await refused(layout, HAS_IT) is None
    assert store.looks == 1


async def test_away_it_holds_up_its_own_master_only(store: Store, layout: Layout) -> None:
    """And is asked for by whoever comes."""
    store.away()
    for _ in range(3):
        assert await refused(layout, OTHER) is None
        assert await refused(layout, HAS_IT) is Unavailable
        assert await refused(layout, None) is Unavailable
    store.value = b"2"
    assert await refused(layout, HAS_IT) is UnknownLayout
    assert await refused(layout, OTHER) is UnknownLayout


async def test_silent_it_is_waited_for_once(store: Store, layout: Layout) -> None:
    """Others do not wait at each write for a master that does not answer."""
    store.away()
    assert await refused(layout, OTHER) is None
    store.value = SILENCE
    assert await refused(layout, OTHER) is None
    store.value = b"2"
    store.spoken.set()
    assert await refused(layout, HAS_IT) is UnknownLayout


async def test_others_are_found_out_without_its_own_master(store: Store, layout: Layout) -> None:
    """What nobody waits for is heeded all the same."""
    store.away()
    assert await refused(layout, OTHER) is None
    store.value = b"2"
    assert await refused(layout, OTHER) is None, "it is asked for meanwhile"
    await asyncio.sleep(0.01)
    assert await refused(layout, OTHER) is UnknownLayout


async def test_refused_it_stays_so_while_it_is_away(store: Store, layout: Layout) -> None:
    """Until it was read again, and is this program's."""
    store.value = b"2"
    assert await refused(layout, OTHER) is UnknownLayout
    store.away()
    for master in (OTHER, HAS_IT, OTHER):
        assert await refused(layout, master) is UnknownLayout
    store.value = b"1"
    assert await refused(layout, OTHER) is None
    assert await refused(layout, HAS_IT) is None


async def test_changed_it_is_read_before_anything_is_sent(store: Store, layout: Layout) -> None:
    assert await refused(layout, OTHER) is None
    store.value = b"2"
    layout.changed()
    assert await refused(layout, OTHER) is UnknownLayout


async def test_changed_while_it_is_read(store: Store, layout: Layout) -> None:
    """What was read may be older than the change."""
    store.value = SILENCE
    admitting = asyncio.create_task(refused(layout, OTHER))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    store.value = b"1"
    store.spoken.set()
    await asyncio.sleep(0)
    store.value = b"2"
    layout.changed()

    assert await admitting is UnknownLayout
    assert store.looks == 2


async def test_unwatched_it_is_read_again(store: Store, layout: Layout) -> None:
    """Where it is; the others do not wait for that."""
    assert await refused(layout, HAS_IT) is None
    layout.unwatched(OTHER)
    assert await refused(layout, HAS_IT) is None
    assert store.looks == 1
    layout.unwatched(HAS_IT)
    store.value = SILENCE
    assert await refused(layout, OTHER) is None
    store.value = b"2"
    store.spoken.set()
    assert await refused(layout, HAS_IT) is UnknownLayout
    assert await refused(layout, OTHER) is UnknownLayout


async def test_flushed_it_is_written_again(store: Store, layout: Layout) -> None:
    assert await refused(layout, HAS_IT) is None
    store.value = None
    layout.changed()
    assert await refused(layout, HAS_IT) is None
    assert store.value == b"1"

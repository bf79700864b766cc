"""Ids of which it is not known for certain whether they have a record."""

import asyncio

import pytest

from csms_redis.contract.errors import OutcomeUnknown
from csms_redis.lookup.reading import preload as preload_module
from csms_redis.registry.stations import STATION
from tests.support.preloading import FOUND, NOT_FOUND, Site, make_site, preloading
from tests.support.wire import NO_RECORD, array, invalidation, record, until

WRONGTYPE = b"-WRONGTYPE Operation against a key\r\n"


class TestOpen:
    """What is not known for certain asks Redis."""

    async def test_what_changed_is_read_again_unasked(self, whole: Site) -> None:
        """And until then asks Redis."""
        whole.records[b"cs:c"] = record(1)
        whole.wire.receive(invalidation(b"cs:c"))
        assert list(whole.stations.open) == [b"/api/v0/cs/c/auth"]
        await whole.follow()
        assert await whole.lookup("c") == FOUND[1]
        assert [command[:2] for command in whole.asked] == [[b"HMGET", b"cs:c"]]

    async def test_a_lookup_joins_that_read(self, whole: Site) -> None:
        """One read for all who wait."""
        whole.records[b"cs:c"] = record(1)
        whole.wire.receive(invalidation(b"cs:c"))
        assert await whole.lookup("c") is None
        await whole.follow()
        assert whole.client.take() == [FOUND[1]]
        assert len(whole.asked) == 1

    async def test_an_own_write_is_open_before_redis_tells_of_it(self, whole: Site) -> None:
        """Who registers a station through this process, and asks it at once, is not told 404."""
        assert await whole.lookup("c") == NOT_FOUND
        with whole.lookups.changing(STATION, "c"):
            whole.records[b"cs:c"] = record(1)
        assert await whole.lookup("c") is None
        await whole.serve()
        assert whole.client.take() == [FOUND[1]]

    async def test_so_is_one_of_unknown_outcome(self, whole: Site) -> None:
        """It may have been carried out."""
        with pytest.raises(OutcomeUnknown), whole.lookups.changing(STATION, "c"):
            raise OutcomeUnknown("no reply")
        assert await whole.lookup("c") is None

    async def test_a_lookup_from_before_a_change_does_not_close_it(self, whole: Site) -> None:
        """Its reply may be from before."""
        whole.wire.receive(invalidation(b"cs:c"))
        assert await whole.lookup("c") is None
        await whole.wire.sent()
        whole.wire.receive(invalidation(b"cs:c"), NO_RECORD)
        assert whole.client.take() == [NOT_FOUND]
        assert list(whole.stations.open) == [b"/api/v0/cs/c/auth"]

    @pytest.mark.parametrize(
        "reply",
        [WRONGTYPE, b"-ERR strange\r\n", b"-TRYAGAIN Multiple keys\r\n"],
        ids=["type", "error", "again"],
    )
    async def test_what_cannot_be_read(self, site: Site, reply: bytes) -> None:
        """It is not known not to be there."""
        site.records[b"cs:a"] = reply
        async with preloading(site):
            await site.serve()
            assert site.stations.is_whole
            assert await site.lookup("a") is None
            assert await site.lookup("b") == FOUND[2]

    async def test_what_becomes_unreadable(self, whole: Site) -> None:
        """A record that was held is another program's now."""
        whole.records[b"cs:a"] = WRONGTYPE
        whole.wire.receive(invalidation(b"cs:a"))
        await whole.follow()
        assert await whole.lookup("a") is None

    async def test_what_is_too_large_to_be_held(self) -> None:
        """It is asked for each time."""
        site = make_site(cache_bytes=100_000)
        site.records = {b"cs:a": record(1)}
        async with preloading(site):
            await site.serve()
            site.records[b"cs:a"] = array(b"1", b'"%b"' % (b"x" * 200_000), None, None)
            site.wire.receive(invalidation(b"cs:a"))
            await site.follow()
            assert await site.lookup("a") is None

    async def test_what_ends_may_have_another_in_its_place(self, whole: Site) -> None:
        """A field that ends leaves a record without it: that is no 404."""
        whole.lookups.cache.put(
            whole.source.generation, b"/api/v0/cs/a/auth", b"old", asyncio.get_running_loop().time()
        )
        whole.records[b"cs:a"] = record(2)
        whole.lookups._end_timer.reset()
        await until(lambda: b"/api/v0/cs/a/auth" not in whole.source.fresh)
        assert await whole.lookup("a") is None
        await whole.serve()
        assert whole.client.take() == [FOUND[2]]

    async def test_is_tried_again(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """A record that could not be read is held once it can be, though nobody asks."""
        monkeypatch.setattr(preload_module, "_TRY_OPEN", 1)
        site.records[b"cs:a"] = b"-ERR strange\r\n"
        async with preloading(site):
            await site.serve()
            site.records[b"cs:a"] = record(1)
            await until(lambda: b"/api/v0/cs/a/auth" in site.lookups.events.following.waiting)
            await site.follow()
            assert await site.lookup("a") == FOUND[1]

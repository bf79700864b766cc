"""What ends it that all records are known, and how they come to be known again."""

import pytest

from csms_redis.lookup import targets
from csms_redis.lookup.known import whole as whole_module
from csms_redis.lookup.known.whole import MAY_HAVE_CHANGED
from csms_redis.registry.tokens import TOKEN
from tests.support.preloading import FOUND, NOT_FOUND, Site, make_site, preloading
from tests.support.wire import NO_RECORD, connect, invalidation, prove, record, until


class TestEnd:
    """When it is not whole any more, until all is read anew."""

    async def again(self, site: Site) -> None:
        """Let it be read anew."""
        await until(lambda: site.stations.reading)
        await site.serve()
        assert site.stations.is_whole

    async def test_when_all_may_have_changed(self, whole: Site) -> None:
        """A flush, also of another database, or another data set."""
        whole.wire.receive(invalidation())
        assert whole.stations.problem == MAY_HAVE_CHANGED
        assert await whole.lookup("nobody") is None
        whole.wire.receive(NO_RECORD) if await whole.wire.sent() else None
        await self.again(whole)
        assert await whole.lookup("nobody else") == NOT_FOUND
        assert await whole.lookup("a") == FOUND[1]

    async def test_in_the_middle_of_a_scan(self, site: Site) -> None:
        """What was read by then was forgotten."""
        async with preloading(site):
            await site.serve(before=b"HMGET")
            site.wire.receive(invalidation())
            site.answer_held()
            await site.serve()
            assert not site.stations.is_whole
            await self.again(site)
            assert await site.lookup("a") == FOUND[1]

    async def test_when_the_near_cache_drops_something(self) -> None:
        """To make room for what is looked up."""
        site = make_site(cache_entries=20)
        site.records = {b"cs:%d" % number: record(1) for number in range(18)}
        async with preloading(site):
            await site.serve()
            assert site.stations.is_whole
            put, generation = site.lookups.cache.put, site.source.generation
            for number in range(3):
                put(generation, targets.wanted(TOKEN, f"{number}")[2], b"tail")
            assert not site.stations.is_whole
            assert await site.lookup("0") is None

    async def test_when_too_much_changes_at_once(
        self, whole: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is not read again by then is not, and Redis is left alone."""
        monkeypatch.setattr(whole_module, "MOST_OPEN", 5)
        whole.wire.receive(invalidation(*(b"cs:%d" % number for number in range(50))))
        assert not whole.stations.is_whole
        assert not whole.stations.open
        await whole.follow()
        assert whole.asked == []
        assert await whole.lookup("a") == FOUND[1]

    async def test_then_only_what_is_not_held_is_read(self, whole: Site) -> None:
        """What is held was kept true."""
        whole.stations.end("for a test")
        whole.records[b"cs:c"] = record(1)
        await self.again(whole)
        read = [command[1] for command in whole.asked if command[0] == b"HMGET"]
        assert read == [b"cs:c"]

    async def test_without_the_lease(self, whole: Site) -> None:
        """Nobody knows whether Redis still tells of changes."""
        prove(whole.lookups, whole.wire, at=-1000.0)
        assert await whole.lookup("nobody") is None
        prove(whole.lookups, whole.wire)
        assert await whole.lookup("nobody else") == NOT_FOUND

    async def test_with_the_connection(self, whole: Site) -> None:
        """What is known is served, what is not waits; a new connection reads all anew."""
        whole.wire.lose()
        assert await whole.lookup("a") == FOUND[1]
        assert await whole.lookup("nobody") is None

    async def test_what_was_deleted_meanwhile_is_not_known_any_more(self, whole: Site) -> None:
        """No scan names it: it is read once more, or the next outage would serve it."""
        whole.wire.lose()
        other = Site(whole.lookups, connect(whole.lookups))
        other.records = {b"cs:b": record(2)}
        async with preloading(other):
            await other.serve()
            await until(
                lambda: (
                    len(whole.lookups.cache.stale_targets()) == 0
                    or bool(other.wire.transport.written)
                )
            )
            await other.serve()
        assert whole.lookups.cache.stale_targets() == []
        assert await other.lookup("a") == NOT_FOUND

"""What preloading must leave alone, and when a process that preloads is ready."""

import pytest

from csms_redis.lookup.reading.record_scan import FULL
from csms_redis.registry.tokens import TOKEN
from csms_redis.settings import LookupSettings
from tests.support.preloading import FOUND, Site, make_site, preloading
from tests.support.wire import connect, invalidation, make_lookups, record, until


class TestLimits:
    """Preloading evicts nothing, and takes nobody's place."""

    async def test_stops_before_the_near_cache_is_full(self) -> None:
        """What does not fit asks Redis, as without it."""
        site = make_site(cache_entries=20)
        site.records = {b"cs:%02d" % number: record(1) for number in range(40)}
        async with preloading(site) as preload:
            await site.serve()
            assert site.stations.problem == FULL
            assert site.lookups.cache.evictions == 0
            assert len(site.lookups.cache) == 18
            assert await site.lookup("00") == FOUND[1]
            assert await site.lookup("39") is None
            assert site.stations.complete_once
            assert FULL in (preload.problem or "")

    async def test_lookups_are_not_refused_for_it(self) -> None:
        """`lookup.max_in_flight` bounds what was asked for."""
        site = make_site(max_in_flight=4)  # one is its last command
        site.records = {b"cs:%02d" % number: record(1) for number in range(40)}
        async with preloading(site):
            await site.serve(before=b"HMGET")
            assert len(site.held) == 41
            for number in range(3):
                assert await site.lookup(f"other{number}") is None
            assert await site.lookup("one too many") == (503, b"")

    async def test_a_wrong_answer_to_scan_is_told(self, site: Site) -> None:
        """A proxy, or a user without the right: everything works as without it."""
        for reply, reason in (
            (b"-NOPERM no permissions to run the 'scan' command\r\n", "refuses SCAN (NOPERM)"),
            (b"-ERR unknown command 'SCAN'\r\n", "refuses SCAN (ERR)"),
            (b"+OK\r\n", "something else than keys"),
        ):
            site.refuses = {b"SCAN": reply}
            async with preloading(site) as preload:
                await site.serve()
                assert reason in (preload.problem or "")
                assert site.stations.complete_once
            assert await site.lookup("a") is None
            await site.serve()
            assert site.client.take() == [FOUND[1]]
            site.wire.receive(invalidation(b"cs:a"))

    async def test_no_right_to_a_kind(self, site: Site) -> None:
        """The others are whole all the same."""
        site.records[b"token:A"] = b"-NOPERM no permissions to access a key\r\n"
        async with preloading(site):
            await site.serve()
            assert site.stations.is_whole
            assert site.whole(TOKEN).problem == "Redis refuses to read a token (NOPERM)"

    async def test_without_tracking(self) -> None:
        """Nothing may be kept, so nothing is read."""
        lookups = make_lookups(LookupSettings())
        site = Site(lookups, connect(lookups, tracked=False))
        async with preloading(site):
            await site.serve()
            assert site.asked == []
            assert site.stations.complete_once

    @pytest.mark.parametrize("settings", [{"preload": False}, {"cache_entries": 0}])
    async def test_switched_off(self, settings: dict[str, float]) -> None:
        """By its setting, or with the near cache."""
        assert make_site(**settings).lookups.preload(lambda: True) is None


class TestReadiness:
    """A process that has just started is ready when it has read everything."""

    async def test_waits_until_all_is_read(self, site: Site) -> None:
        """And stays ready while it reads again."""
        async with preloading(site, ready=True) as preload:
            await site.serve(before=b"HMGET")
            assert preload.is_awaited
            site.answer_held()
            await site.serve()
            assert not preload.is_awaited
            site.wire.receive(invalidation())
            assert not preload.is_awaited
            assert not preload.ready_in_part

    async def test_waits_for_redis_itself(self, site: Site) -> None:
        """Before it can be read, there is nothing to wait for."""
        async with preloading(site) as preload:
            assert preload.is_awaited

    async def test_does_not_wait_for_ever(self) -> None:
        """Then it is ready in part."""
        site = make_site(preload_wait=0.05)
        async with preloading(site, ready=True) as preload:
            assert preload.is_awaited
            await until(lambda: not preload.is_awaited)
            assert preload.ready_in_part

"""All records are read at the start, and none falls between.

A wrong 404 turns a station away, a wrong 200 lets a stranger in.
"""

import asyncio

from csms_redis.lookup import targets
from csms_redis.lookup.known.whole import BEING_READ
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN
from csms_redis.settings import LookupSettings
from tests.support.fake_redis import MASTER as HELLO
from tests.support.preloading import FOUND, NOT_FOUND, REJECTED, Site, make_site, preloading
from tests.support.wire import array, connect, invalidation, make_lookups, record

HASH = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="


class TestScan:
    """All records are read, and nothing falls between."""

    async def test_everybody_is_answered_from_memory(self, whole: Site) -> None:
        """Who has a record, and who has none; Redis is asked nothing."""
        assert [await whole.lookup(cs_id) for cs_id in ("a", "b", "nobody", "nobody")] == [
            FOUND[1],
            FOUND[2],
            NOT_FOUND,
            NOT_FOUND,
        ]
        assert await whole.wire.sent() == []

    async def test_asks_redis_before_it_is_whole(self, site: Site) -> None:
        """An id that is not held yet may have a record."""
        async with preloading(site):
            await site.serve(before=b"HMGET")
            assert await site.lookup("nobody") is None
            assert site.stations.problem == BEING_READ

    async def test_is_not_whole_before_a_reply_after_the_last_key(self, site: Site) -> None:
        """What Redis says of the turn of its last reply comes after that reply."""
        async with preloading(site):
            await site.serve(before=b"HMGET")
            reads, barrier = site.held[:2], site.held[2:]
            assert [command[0] for command in reads] == [b"HMGET", b"HMGET"]
            site.held = reads
            site.answer_held()
            barrier += await site.wire.sent()
            assert [command[0] for command in barrier] == [b"HELLO"]
            assert not site.stations.is_whole
            site.wire.receive(invalidation(b"cs:new"), HELLO)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert site.stations.is_whole
            assert await site.lookup("new") is None

    async def test_an_empty_last_page_needs_that_reply_too(self) -> None:
        """Nothing was read after it."""
        site = make_site()
        async with preloading(site):
            for _ in range(2):
                await site.serve(before=b"HELLO")
                assert not site.stations.is_whole
                site.answer_held()
            await site.serve()
            assert site.stations.is_whole

    async def test_reads_by_pages(self, site: Site) -> None:
        """As often as the cursor says."""
        site.records = {b"cs:%d" % number: record(1) for number in range(50)}
        site.page = 7
        async with preloading(site):
            await site.serve()
        assert len(site.lookups.cache) == 50
        assert site.stations.records == 50

    async def test_a_key_that_comes_meanwhile_is_read(self, site: Site) -> None:
        """In a part that SCAN has passed: Redis names it."""
        site.records = {b"cs:%d" % number: record(1) for number in range(10)}
        site.page = 2
        async with preloading(site):
            await site.serve(before=b"HMGET")
            site.records[b"cs:-came"] = record(2)
            site.wire.receive(invalidation(b"cs:-came"))
            site.answer_held()
            await site.serve()
            await site.follow()
            assert site.stations.is_whole
            assert not site.stations.open
            assert await site.lookup("-came") == FOUND[2]

    async def test_a_reply_from_before_a_change_is_not_kept(self, site: Site) -> None:
        """The change is told while the read is under way; the id is read once more."""
        async with preloading(site):
            await site.serve(before=b"HMGET")
            old = [site.reply(command) for command in site.held]
            site.records[b"cs:a"] = record(2)
            site.wire.receive(invalidation(b"cs:a"), *old)
            assert await site.lookup("a") is None
            await site.serve()
            await site.follow()
            assert site.client.take() == [FOUND[2]]
            assert await site.lookup("a") == FOUND[2]

    async def test_a_reply_from_before_an_own_write_is_not_kept(self, site: Site) -> None:
        """Who wrote through this process reads it from it, though Redis has not told of it yet.

        Not even where something ends the scan, so that it is not known any more what was open.
        """
        async with preloading(site):
            await site.serve(before=b"HMGET")
            old = [site.reply(command) for command in site.held]
            with site.lookups.changing(STATION, "a"):
                site.records[b"cs:a"] = record(2)
            site.stations.end("for a test")
            site.wire.receive(*old)
            assert await site.lookup("a") is None

    async def test_a_connection_that_ends_meanwhile(self, site: Site) -> None:
        """As in a failover: what was read is stale, and the next connection reads all of its."""
        async with preloading(site):
            await site.serve(before=b"HMGET")
            site.wire.receive(site.reply(site.held[0]))
            site.wire.lose()
        other = Site(site.lookups, connect(site.lookups))
        other.records = {b"cs:b": record(1)}
        async with preloading(other):
            await other.serve()
            assert await other.lookup("b") == FOUND[1]
            assert await other.lookup("a") == NOT_FOUND

    async def test_a_server_that_hangs_up_on_scan(self, site: Site) -> None:
        """Twice in a row: then it is not asked for it any more, for a while."""
        for times in range(3):
            made = Site(site.lookups, connect(site.lookups))
            async with preloading(made, preload=site.preload) as preload:
                await made.serve(before=b"SCAN")
                asked = [command[0] for command in made.asked]
                assert asked == ([b"HELLO"] if times < 2 else [])
                if times < 2:
                    made.wire.lose()
                    await asyncio.sleep(0.01)
                else:
                    assert "hangs up" in (preload.problem or "")

    async def test_a_deleted_one_is_not_read_for_ever(self, site: Site) -> None:
        """Named by SCAN, gone before it was read."""
        async with preloading(site):
            await site.serve(before=b"HMGET")
            del site.records[b"cs:a"]
            site.wire.receive(invalidation(b"cs:a"))
            site.answer_held()
            await site.serve()
            await site.follow()
            assert await site.lookup("a") == NOT_FOUND
            assert not site.stations.open

    async def test_a_blocked_station_is_not_found(self, site: Site) -> None:
        """It is held as such, and that takes no room."""
        site.records[b"cs:a"] = REJECTED
        async with preloading(site):
            await site.serve()
            assert await site.lookup("a") == NOT_FOUND
            assert len(site.lookups.cache) == 1

    async def test_only_what_a_lookup_can_ask_for_is_kept(self, site: Site) -> None:
        """The target of another spelling's key would be asked for as it stands: a wrong 200."""
        token = array(b'"GB"', *[b"1"] * (len(TOKEN.asked) - 1))
        pem = array(b'"pem"')
        site.records = {
            b"token:ABC": token,
            b"token:abc": token,
            b"token:": token,
            b"cs:" + b"x" * 49: record(1),
            b"cs:\x01": record(1),
            b"certificate:" + HASH.encode(): pem,
            b"certificate:" + HASH.rstrip("=").encode(): pem,
            b"certificate:nothing": pem,
        }
        async with preloading(site):
            await site.serve()
            for key in list(site.records):
                site.wire.receive(invalidation(key))
            await site.follow()

        assert sorted(site.source.fresh) == sorted(
            [targets.wanted(TOKEN, "ABC")[2], targets.wanted(CERTIFICATE, HASH)[2]]
        )
        read = {command[1] for command in site.asked if command[0] == b"HMGET"}
        assert read == {b"token:ABC", b"certificate:" + HASH.encode()}

    async def test_other_spellings_find_it(self, site: Site) -> None:
        """A uid in lower case, a hash without padding: they are looked up by their canonical id."""
        token = array(b'"GB"', *[b"1"] * (len(TOKEN.asked) - 1))
        site.records = {b"token:ABC": token}
        async with preloading(site):
            await site.serve()
            answers: list[int] = []
            for target in (b"/api/v0/token/abc", b"/api/v0/token/%41bC", b"/api/v0/token/abd"):
                wanted = targets.read(target)
                assert wanted is not None
                site.lookups.ask(wanted, lambda status, _: answers.append(status))
            assert answers == [200, 200, 404]
            assert await site.wire.sent() == []

    async def test_stars_in_a_prefix_are_no_pattern(self) -> None:
        """SCAN names what begins with the prefix as it stands."""
        lookups = make_lookups(LookupSettings(), b"a*[b]:")
        site = Site(lookups, connect(lookups))
        async with preloading(site):
            await site.serve()
        patterns = [command[3] for command in site.asked if command[0] == b"SCAN"]
        assert patterns[0] == rb"a\*\[b\]:cs:*"

    async def test_stations_come_before_certificates_before_tokens(self, site: Site) -> None:
        """By their claim to the near cache's room."""
        async with preloading(site):
            await site.serve()
        patterns = [command[3] for command in site.asked if command[0] == b"SCAN"]
        assert patterns == [b"cs:*", b"certificate:*", b"token:*"]

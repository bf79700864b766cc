"""What a process knows that has read all records, and what it must not believe that it knows.

A wrong 404 turns a station away, a wrong 200 lets a stranger in. The other end of the read
connection is the test (`wire`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from math import inf

import pytest

from csms_redis.contract.errors import OutcomeUnknown
from csms_redis.lookup import targets
from csms_redis.lookup.known import whole as whole_module
from csms_redis.lookup.known.whole import BEING_READ, MAY_HAVE_CHANGED, MOVING, Whole
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading import preload as preload_module
from csms_redis.lookup.reading.preload import Preload
from csms_redis.lookup.reading.record_scan import FULL
from csms_redis.redis.address import Address
from csms_redis.redis.own_slots import read_own_slots
from csms_redis.redis.topology import Topology
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.resource import Resource
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN
from csms_redis.settings import LookupSettings
from tests.support.fake_redis import MASTER as HELLO
from tests.support.wire import (
    MASTER,
    NO_RECORD,
    PROFILE,
    Client,
    Wire,
    array,
    bulk,
    connect,
    invalidation,
    make_lookups,
    prove,
    record,
    until,
)

FOUND = {profile: (200, body) for profile, body in PROFILE.items()}
NOT_FOUND = (404, b"")
HASH = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="
REJECTED = array(b"1", None, None, b'"Rejected"')
WRONGTYPE = b"-WRONGTYPE Operation against a key\r\n"
BLANK = {b"HELLO": HELLO, b"PTTL": b":-1\r\n", b"HPTTL": array(), b"CLUSTER": b"$0\r\n\r\n"}


class Site:
    """Lookups, their connection to a Redis that the test plays, and what that has."""

    def __init__(self, lookups: Lookups, wire: Wire) -> None:
        self.lookups = lookups
        self.wire = wire
        self.client = Client(lookups)
        self.source = lookups.sources.all[-1]
        self.records: dict[bytes, bytes] = {}
        self.refuses: dict[bytes, bytes] = {}  # replies by command
        self.asked: list[list[bytes]] = []  # commands that were answered
        self.page = 1000  # keys of one SCAN
        self.preload = lookups.preload(lambda: False)

    @property
    def stations(self) -> Whole:
        return self.whole(STATION)

    def whole(self, resource: Resource) -> Whole:
        return self.source.wholes[targets.wanted(resource, "")[2][9]]

    def reply(self, command: list[bytes]) -> bytes:
        """What Redis answers."""
        if command[0] in self.refuses:
            return self.refuses[command[0]]
        if command[0] == b"SCAN":
            pattern = command[3].decode().replace("\\", "")
            keys = sorted(key for key in self.records if fnmatchcase(key.decode(), pattern))
            start = int(command[1])
            after = start + self.page
            cursor = b"0" if after >= len(keys) else b"%d" % after
            return b"*2\r\n" + bulk(cursor) + array(*keys[start:after])
        if command[0] == b"HMGET":
            missing = array(*[None] * (len(command) - 2))
            return self.records.get(command[1], missing)
        return BLANK.get(command[0], b"+OK\r\n")

    async def serve(self, *, before: bytes = b"") -> None:
        """Answer all that is asked until nothing is; of `before`, and later, nothing."""
        while commands := await self.wire.sent():
            for number, command in enumerate(commands):
                if before and command[0] == before:
                    self.held = commands[number:]
                    return
                self.asked.append(command)
                self.wire.receive(self.reply(command))

    held: list[list[bytes]]
    """What was asked and is not answered yet."""

    def answer_held(self) -> None:
        """Answer that."""
        for command in self.held:
            self.wire.receive(self.reply(command))
        self.held = []

    async def lookup(self, cs_id: str) -> tuple[int, bytes] | None:
        """Look a station up; None where Redis was asked, which does not answer yet."""
        self.client.ask(cs_id)
        answers = self.client.take()
        return answers[0] if answers else None

    async def follow(self) -> None:
        """Let what changed be read again."""
        await until(lambda: not self.lookups.events.following.waiting)
        await self.serve()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look twenty times a second whether something is to be read again."""
    monkeypatch.setattr(preload_module, "_TICK", 0.05)
    monkeypatch.setattr(preload_module, "_LONGEST", 0.05)


@asynccontextmanager
async def preloading(
    site: Site, *, ready: bool = False, preload: Preload | None = None
) -> AsyncIterator[Preload]:
    """Read all records of the site while the block runs."""
    preload = preload or site.lookups.preload(lambda: ready)
    assert preload is not None
    task = asyncio.create_task(preload.run(site.source))
    try:
        yield preload
        if task.done():
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def make_site(**settings: float) -> Site:
    lookups = make_lookups(LookupSettings.model_validate({"timeout": 5, **settings}))
    return Site(lookups, connect(lookups))


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


class Slots(Topology):
    """A cluster of one master, whose slots the test says."""

    clustered = True

    def __init__(self) -> None:
        super().__init__()
        self.masters = (MASTER,)
        self.its = {0, 1, 2}

    def owner(self, key: bytes) -> Address | None:
        del key
        return MASTER

    def confirmed(self, master: Address) -> float:
        del master
        return inf

    def slots_of(self, master: Address) -> set[int]:
        del master
        return self.its

    async def look(self) -> None:
        """Nothing is found out."""


def nodes(epoch: int = 1, slots: str = "0-2") -> bytes:
    return bulk(f"id h:1@2 myself,master - 0 0 {epoch} connected {slots}\n".encode())


@pytest.fixture
async def clustered() -> Site:
    lookups = Lookups(LookupSettings(timeout=5), b"", Slots())
    site = Site(lookups, connect(lookups))
    site.records = {b"cs:a": record(1)}
    site.refuses[b"CLUSTER"] = nodes()
    return site


class TestSlots:
    """On a cluster it is whole only while the master's slots stay what they are."""

    def probe(self, site: Site, reply: bytes) -> None:
        """A probe tells the slots."""
        own = read_own_slots(reply.partition(b"\r\n")[2])
        site.lookups.events.own_slots(site.wire.connection, own)

    async def test_whole(self, clustered: Site) -> None:
        async with preloading(clustered):
            await clustered.serve()
            self.probe(clustered, nodes())
            self.probe(clustered, nodes())
            assert await clustered.lookup("nobody") == NOT_FOUND

    @pytest.mark.parametrize(
        "after",
        [nodes(slots="0-1"), nodes(slots="0-3"), nodes(epoch=2), nodes(slots="0-2 [2->-other]")],
        ids=["fewer", "more", "given away and back", "moving"],
    )
    async def test_slots_that_change(self, clustered: Site, after: bytes) -> None:
        """A key may be where it was not looked for."""
        async with preloading(clustered):
            await clustered.serve()
            self.probe(clustered, nodes())
            self.probe(clustered, after)
            assert clustered.stations.problem == MOVING
            assert await clustered.lookup("nobody") is None
            assert await clustered.lookup("a") == FOUND[1]

    @pytest.mark.parametrize(
        "after", [nodes(slots="0-1"), nodes(epoch=2), nodes(slots="0-2 [2->-other]")]
    )
    async def test_slots_that_change_in_a_scan(self, clustered: Site, after: bytes) -> None:
        """What is read is held all the same."""
        async with preloading(clustered):
            await clustered.serve(before=b"HMGET")
            clustered.refuses[b"CLUSTER"] = after
            clustered.answer_held()
            await clustered.serve()
            assert not clustered.stations.is_whole
            assert clustered.stations.complete_once
            assert await clustered.lookup("a") == FOUND[1]
            assert await clustered.lookup("nobody") is None

    async def test_slots_of_the_map_that_the_master_does_not_have(self, clustered: Site) -> None:
        """Its keys are another's, whatever the map says."""
        topology = clustered.lookups.topology
        assert isinstance(topology, Slots)
        topology.its = {0, 1, 2, 3}
        async with preloading(clustered):
            await clustered.serve()
            assert clustered.stations.problem == MOVING

    async def test_slots_that_the_map_gives_it(self, clustered: Site) -> None:
        """Nobody told of the keys that they brought along."""
        async with preloading(clustered):
            await clustered.serve()
            assert clustered.stations.is_whole
            clustered.lookups.events.slots_changed({3})
            assert await clustered.lookup("nobody") is None

    async def test_a_master_that_does_not_tell(self, clustered: Site) -> None:
        """No right to CLUSTER NODES: never whole."""
        clustered.refuses[b"CLUSTER"] = b"-NOPERM no permissions\r\n"
        async with preloading(clustered) as preload:
            await clustered.serve()
            assert "which slots it has (NOPERM)" in (preload.problem or "")

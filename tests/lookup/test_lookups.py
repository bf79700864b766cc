"""What is asked of Redis, what is kept, and what is answered when Redis is not there.

The other end of the read connection is the test (`wire`).
"""

import asyncio
from time import monotonic

import pytest

from csms_redis.contract.errors import (
    BadRequest,
    NotFound,
    OutcomeUnknown,
    Problem,
    Unavailable,
)
from csms_redis.lookup import lookups as lookups_module
from csms_redis.lookup.known import near_cache, unknown_cache
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading import deadlines, flights, sources
from csms_redis.registry.stations import STATION
from csms_redis.settings import LookupSettings
from tests.lookup.wire import (
    LEASE,
    NO_RECORD,
    PROFILE,
    Client,
    Clock,
    Wire,
    array,
    connect,
    invalidation,
    lease_of,
    make_lookups,
    outcome,
    prove,
    record,
    station,
    until,
    wire_of,
)

TIMEOUT = 0.06
IN_FLIGHT = 20
FOUND = {profile: (200, body) for profile, body in PROFILE.items()}
NOT_FOUND = (404, b"")
AWAY = (503, b"")


def make(**settings: float) -> Lookups:
    """Lookups with a short time-out and few in flight."""
    given = {"timeout": TIMEOUT, "max_in_flight": IN_FLIGHT} | settings
    return make_lookups(LookupSettings.model_validate(given))


@pytest.fixture
async def lookups() -> Lookups:
    return make()


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


async def fill(client: Client, wire: Wire, cs_id: str, reply: bytes) -> tuple[int, bytes]:
    """Look a station up and let Redis answer."""
    client.ask(cs_id)
    assert await wire.asked() == [b"cs:" + cs_id.encode()]
    wire.receive(reply)
    (answer,) = client.take()
    return answer


def rests(lookups: Lookups) -> bool:
    """Whether nothing is under way."""
    return not (lookups._attached.by_target or lookups._dispatch.backlog)


class TestFlights:
    """One read of Redis for all who wait for the same record."""

    async def test_reads_the_record(self, client: Client, wire: Wire, lookups: Lookups) -> None:
        """One HMGET of the fields that an answer may show; the answer is kept."""
        client.ask("a")
        assert await wire.sent() == [
            [
                b"HMGET",
                b"cs:a",
                b"securityProfile",
                b"base64SHA256Password",
                b"invalidUsernameAllowed",
                b"registrationStatus",
            ]
        ]
        wire.receive(record(1))
        client.ask("a")

        assert client.take() == [FOUND[1], FOUND[1]]
        assert await wire.sent() == []
        assert rests(lookups)

    async def test_is_joined(self, client: Client, wire: Wire) -> None:
        """A key on its way is not asked for again."""
        for _ in range(5):
            client.ask("a")
        client.ask("b")
        assert await wire.asked() == [b"cs:a", b"cs:b"]
        client.ask("a")
        assert await wire.asked() == []
        wire.receive(record(1), record(2))

        assert client.take() == [FOUND[1]] * 6 + [FOUND[2]]

    async def test_unknown_is_remembered(self, client: Client, wire: Wire) -> None:
        """For its time, under the lease."""
        assert await fill(client, wire, "a", NO_RECORD) == NOT_FOUND
        client.ask("a")

        assert client.take() == [NOT_FOUND]
        assert await wire.asked() == []

    async def test_unknown_expires(self, clock: Clock) -> None:
        """After `unknown_ttl` Redis is asked again."""
        lookups = make(unknown_ttl=1)
        client, wire = Client(lookups), connect(lookups)
        await fill(client, wire, "a", NO_RECORD)
        clock.now += 1.01

        assert await fill(client, wire, "a", record(1)) == FOUND[1]

    async def test_rejected_is_unknown(self, client: Client, wire: Wire, lookups: Lookups) -> None:
        """A blocked station is answered 404, and its block is not kept as a record."""
        rejected = array(b"1", None, None, b'"Rejected"')

        assert await fill(client, wire, "a", rejected) == NOT_FOUND
        assert len(lookups.cache) == 0

    async def test_no_id_needs_no_redis(self, lookups: Lookups) -> None:
        """What cannot be an id is not found, also without a connection."""
        with pytest.raises(NotFound):
            await lookups.find(STATION, None)

    async def test_the_number_in_flight_is_bounded(self, client: Client, wire: Wire) -> None:
        """Beyond it 503 at once; who joins is not counted."""
        for number in range(IN_FLIGHT):
            client.ask(f"{number}")
        client.ask("one too many")
        assert client.take() == [AWAY]

        client.ask("0")
        wire.receive(record(1) * IN_FLIGHT)
        assert client.take() == [FOUND[1]] * (IN_FLIGHT + 1)

    async def test_nothing_is_kept_without_tracking(self) -> None:
        """With `cache_entries = 0` each lookup reads Redis."""
        lookups = make(cache_entries=0)
        client, wire = Client(lookups), connect(lookups, tracked=False)
        for reply, answer in ((record(1), FOUND[1]), (record(2), FOUND[2]), (NO_RECORD, NOT_FOUND)):
            assert await fill(client, wire, "a", reply) == answer
            assert await fill(client, wire, "b", reply) == answer

        assert not lookups.caches
        assert len(lookups.cache) == 0
        assert not any(source.unknown.until for source in lookups.sources.all)

    async def test_find_gives_the_body(self, lookups: Lookups, wire: Wire) -> None:
        """The aiohttp handlers' way to the same answers."""
        finding = [asyncio.create_task(lookups.find(STATION, name)) for name in ("a", "a", "b")]
        assert await wire.asked() == [b"cs:a", b"cs:b"]
        wire.receive(record(1), NO_RECORD)

        assert [await outcome(each) for each in finding] == [PROFILE[1], PROFILE[1], NotFound]

    async def test_a_cancelled_waiter_harms_no_other(self, lookups: Lookups, wire: Wire) -> None:
        """The flight goes on, and its answer is kept."""
        leaving, staying = (asyncio.create_task(lookups.find(STATION, "a")) for _ in range(2))
        assert await wire.asked() == [b"cs:a"]
        leaving.cancel()
        await asyncio.sleep(0)
        wire.receive(record(1))

        assert leaving.cancelled()
        assert await staying == PROFILE[1]
        assert len(lookups.cache) == 1
        assert rests(lookups)


class TestCoherence:
    """Nothing older than what Redis has told."""

    async def test_an_invalidation_drops_the_answer(self, client: Client, wire: Wire) -> None:
        """The next lookup reads Redis."""
        await fill(client, wire, "a", record(1))
        wire.receive(invalidation(b"cs:b", b"cs:a", b"token:A", b"other:a", b"cs:\xff"))

        assert await fill(client, wire, "a", record(2)) == FOUND[2]

    async def test_a_creation_drops_the_unknown(self, client: Client, wire: Wire) -> None:
        """It is found at once, not when the memory of its absence ends."""
        await fill(client, wire, "a", NO_RECORD)
        wire.receive(invalidation(b"cs:a"))

        assert await fill(client, wire, "a", record(1)) == FOUND[1]

    @pytest.mark.parametrize("push", [invalidation(b"cs:a"), invalidation()])
    async def test_an_invalidation_detaches_the_flight(
        self, push: bytes, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Who waited gets the older answer, who comes later does not, and it is not kept."""
        client.ask("a")
        assert await wire.asked() == [b"cs:a"]
        wire.receive(push)
        client.ask("a")
        assert await wire.asked() == [b"cs:a"]

        wire.receive(record(1))
        assert client.take() == [FOUND[1]]
        assert len(lookups.cache) == 0

        wire.receive(record(2))
        client.ask("a")
        assert client.take() == [FOUND[2], FOUND[2]]
        assert rests(lookups)

    async def test_a_push_between_reply_and_read(self, client: Client, wire: Wire) -> None:
        """Reply, invalidation, reply in one piece: the second is the one that stays."""
        client.ask("a")
        client.ask("b")
        await wire.sent()
        wire.receive(record(1), invalidation(b"cs:a"), record(1))
        client.take()

        assert await fill(client, wire, "a", record(2)) == FOUND[2]
        client.ask("b")
        assert client.take() == [FOUND[1]]

    @pytest.mark.parametrize(
        "error",
        [
            None,
            OutcomeUnknown("it may have been applied"),
            NotFound("someone else removed it"),
            KeyError(),
            asyncio.CancelledError(),
        ],
    )
    async def test_an_own_write_forgets(
        self, error: BaseException | None, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Before it is answered, when it may have been applied; a flight of before fills not."""
        await fill(client, wire, "a", record(1))
        try:
            with lookups.changing(STATION, "a"):
                lookups.events.forget(b"/api/v0/cs/a/auth")  # as if evicted: a read is under way
                client.ask("a")
                assert await wire.asked() == [b"cs:a"]
                if error is not None:
                    raise error
        except (Unavailable, NotFound, KeyError, asyncio.CancelledError):
            assert error is not None
        client.ask("a")
        assert await wire.asked() == [b"cs:a"]
        wire.receive(record(1), record(2))
        client.ask("a")

        assert client.take() == [FOUND[1], FOUND[2], FOUND[2]]

    async def test_a_fill_during_an_own_write_is_forgotten(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """It may have been read before the write."""
        with lookups.changing(STATION, "a"):
            await fill(client, wire, "a", record(1))

        assert await fill(client, wire, "a", record(2)) == FOUND[2]

    async def test_an_own_write_forgets_the_stale(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Its fate unknown and Redis away: 503 rather than what may be blocked."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        with pytest.raises(OutcomeUnknown), lookups.changing(STATION, "a"):
            raise OutcomeUnknown("its fate is unknown")
        client.ask("a")
        await client.answered(1)

        assert client.take() == [AWAY]

    @pytest.mark.parametrize(
        "error", [Unavailable("nothing was changed"), BadRequest("nothing was sent")]
    )
    async def test_an_own_write_that_changed_nothing_forgets_nothing(
        self, error: Problem, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Neither the fresh nor the unknown nor the stale; a read under way still fills."""
        await fill(client, wire, "a", record(1))
        await fill(client, wire, "b", NO_RECORD)
        client.ask("c")
        await wire.sent()
        for name in ("a", "b", "c"):
            with pytest.raises(type(error)), lookups.changing(STATION, name):
                raise error
        wire.receive(record(2))
        for name in ("a", "b", "c"):
            client.ask(name)
        assert client.take() == [FOUND[2], FOUND[1], NOT_FOUND, FOUND[2]]

        wire.lose()
        with pytest.raises(type(error)), lookups.changing(STATION, "a"):
            raise error
        client.ask("a")
        assert client.take() == [FOUND[1]]

    async def test_flushall_forgets_everything(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Fresh, stale and unknown."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        again = connect(lookups)
        await fill(client, again, "b", record(1))
        await fill(client, again, "c", NO_RECORD)
        again.receive(invalidation())

        assert len(lookups.cache) == 0
        assert not any(source.unknown.until for source in lookups.sources.all)

    async def test_a_key_prefix(self) -> None:
        """Keys behind it are ours, the same names elsewhere are not."""
        lookups = make_lookups(LookupSettings(), b"de%v:")
        client, wire = Client(lookups), connect(lookups)
        client.ask("a")
        assert await wire.asked() == [b"de%v:cs:a"]
        wire.receive(record(1), invalidation(b"cs:a", b"x", b"de%v:cs:b"))
        client.ask("a")
        assert client.take() == [FOUND[1], FOUND[1]]

        wire.receive(invalidation(b"de%v:cs:a"))
        client.ask("a")
        assert await wire.asked() == [b"de%v:cs:a"]
        wire.receive(record(2))
        assert client.take() == [FOUND[2]]


class TestLease:
    """What was filled is true only as long as the connection is proved."""

    async def test_without_it_redis_is_asked(
        self, client: Client, wire: Wire, clock: Clock
    ) -> None:
        """After a stall of this process, what is kept is checked first; an unknown one as well."""
        await fill(client, wire, "a", record(1))
        await fill(client, wire, "b", NO_RECORD)
        clock.now += LEASE + 0.1

        assert await fill(client, wire, "a", record(2)) == FOUND[2]
        assert await fill(client, wire, "b", record(1)) == FOUND[1]

    async def test_counts_from_when_the_probe_left(self, lookups: Lookups) -> None:
        """A reply that took its time proves nothing of the time since it was made."""
        connect(lookups, at=100.0)

        assert lease_of(lookups) == 100.0 + LEASE

    async def test_is_not_renewed_by_what_is_read(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """A demoted master would go on answering."""
        before = lease_of(lookups)
        await fill(client, wire, "a", record(1))

        assert lease_of(lookups) == before

    @pytest.mark.parametrize("code", ["LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "NOAUTH"])
    async def test_ends_when_redis_is_not_the_one_to_ask(
        self, code: str, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """The connection closes; what it had said is stale, what comes after that is not kept."""
        await fill(client, wire, "a", record(1))
        for cs_id in "bc":
            client.ask(cs_id)
        await wire.sent()
        wire.receive(b"-%b no\r\n" % code.encode(), record(2))
        wire.receive(record(2))

        assert wire.transport.aborted
        assert lease_of(lookups) == 0
        client.ask("a")
        assert client.take() == [AWAY, FOUND[1]], "b at once, a although Redis is away"

        again = connect(lookups)
        assert await again.asked() == [b"cs:c"], "it is asked again"
        again.receive(record(1))
        assert client.take() == [FOUND[1]]

    @pytest.mark.parametrize(
        "reply",
        [
            b":1\r\n",
            b"+OK\r\n",
            b"_\r\n",
            b"%1\r\n:1\r\n:2\r\n",
            b"*0\r\n",
            b"*-1\r\n",
            array(b"1"),
            array(b"1", None, None),  # would lack what may say that it is blocked
            array(b"1", None, None, None, None),
            array(None, None, None),
            b"*4\r\n:1\r\n_\r\n_\r\n_\r\n",
            b"*4\r\n$1\r\n1\r\n_\r\n_\r\n#f\r\n",
            b"*4\r\n$1\r\n1\r\n_\r\n_\r\n*0\r\n",
            b"*4\r\n$1\r\n1\r\n-ERR no\r\n_\r\n_\r\n",
            b"*4\r\n$1\r\n1\r\n_\r\n_\r\n-ERR no\r\n",
            b"*4\r\n_\r\n*0\r\n_\r\n_\r\n",
            b"*4\r\n*0\r\n_\r\n_\r\n_\r\n",
        ],
    )
    async def test_a_reply_of_another_kind_closes(
        self, reply: bytes, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Replies and reads are no more in step: nothing of it is served or kept."""
        for cs_id in "ab":
            client.ask(cs_id)
        wire.receive(reply, record(1))

        assert wire.transport.aborted
        assert client.take() == [AWAY]
        assert len(lookups.cache) == 0
        again = connect(lookups)
        assert await again.asked() == [b"cs:b"]
        again.receive(record(2))
        assert client.take() == [FOUND[2]]
        assert rests(lookups)

    @pytest.mark.parametrize("code", [b"WRONGTYPE", b"ERR", b"NOPERM"])
    async def test_another_error_fails_its_own_read_only(
        self, code: bytes, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """503 for that one, and the connection stays."""
        client.ask("a")
        client.ask("b")
        wire.receive(b"-%b no\r\n" % code, record(1))

        assert client.take() == [AWAY, FOUND[1]]
        assert not wire.transport.aborted
        assert lease_of(lookups) > 0


class TestStaleIfError:
    """While Redis cannot be read."""

    async def test_what_was_cached_is_served_at_once(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """And what never was is answered 503 within the time-out."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        client.ask("b")
        client.ask("a")
        assert client.take() == [FOUND[1]]

        await client.answered(1)
        assert client.take() == [AWAY]
        assert rests(lookups)

    async def test_ends(self, client: Client, wire: Wire, lookups: Lookups, clock: Clock) -> None:
        """After `stale_if_error` seconds: it waits as what was never known, and then 503."""
        await fill(client, wire, "a", record(1))
        prove(lookups, wire, at=clock.now)
        wire.lose()
        clock.now += 299
        client.ask("a")
        clock.now += 1.1
        client.ask("a")
        assert client.take() == [FOUND[1]]
        clock.now += TIMEOUT
        lookups._deadlines.sweep()

        assert client.take() == [AWAY]

    async def test_never_a_negative(self, client: Client, wire: Wire, lookups: Lookups) -> None:
        """That a station was unknown says nothing when Redis is away, nor after it."""
        await fill(client, wire, "a", NO_RECORD)
        wire.lose()
        client.ask("a")
        assert client.take() == []

        again = connect(lookups)
        again.receive(record(1))
        assert client.take() == [FOUND[1]]

    async def test_unknown_after_a_reconnect(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """What was created meanwhile is found: its invalidation was never heard."""
        await fill(client, wire, "a", NO_RECORD)
        wire.lose()

        assert await fill(client, connect(lookups), "a", record(1)) == FOUND[1]

    async def test_never_what_was_invalidated(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Not by this connection nor by a later one."""
        for cs_id in "ab":
            await fill(client, wire, cs_id, record(1))
        wire.receive(invalidation(b"cs:a"))
        wire.lose()
        again = connect(lookups)
        again.receive(invalidation(b"cs:b"))
        again.lose()
        for cs_id in "ab":
            client.ask(cs_id)
        await client.answered(2)

        assert client.take() == [AWAY, AWAY]

    async def test_never_what_is_found_gone(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Deleted or replaced by something else while Redis was away."""
        for cs_id in "ab":
            await fill(client, wire, cs_id, record(1))
        wire.lose()
        again = connect(lookups)
        await fill(client, again, "a", NO_RECORD)
        await fill(client, again, "b", b"-WRONGTYPE no\r\n")
        again.lose()

        assert len(lookups.cache) == 0

    async def test_fresh_is_read_again_after_a_reconnect(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """A stale answer is not served while Redis can be read."""
        await fill(client, wire, "a", record(1))
        wire.lose()

        assert await fill(client, connect(lookups), "a", record(2)) == FOUND[2]

    async def test_slow_redis(self, client: Client, wire: Wire, lookups: Lookups) -> None:
        """The connection is up, but the answer does not come: the stale one serves."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        again = connect(lookups)
        client.ask("a")
        client.ask("b")
        await client.answered(2)

        assert client.take() == [FOUND[1], AWAY]
        again.receive(record(2), record(2))
        client.ask("a")
        client.ask("b")
        assert client.take() == [FOUND[2], FOUND[2]], "replies that came too late are kept"
        assert rests(lookups)

    async def test_who_asks_again_joins_the_late_flight(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """A Redis that does not keep up is not asked twice for the same."""
        for asked in range(1, 4):
            client.ask("a")
            await client.answered(asked)
        assert client.take() == [AWAY] * 3
        assert await wire.asked() == [b"cs:a"]

        wire.receive(invalidation(b"cs:a"), record(1))
        assert len(lookups.cache) == 0, "late or not, an invalidation came before it"

    async def test_who_joins_has_a_time_of_their_own(self, clock: Clock) -> None:
        """Not what is left of the one who asked first, which may be next to nothing."""
        lookups = make()
        client, wire = Client(lookups), connect(lookups, at=clock.now)
        for _ in range(4):
            client.ask("a")
            clock.now += TIMEOUT * 0.6
        lookups._deadlines.sweep()
        assert client.take() == [AWAY] * 3
        assert await wire.asked() == [b"cs:a"]
        wire.receive(record(1))

        assert client.take() == [FOUND[1]]
        assert rests(lookups)

    async def test_who_joins_those_without_a_connection(self, clock: Clock) -> None:
        """Has a time of their own as well."""
        lookups = make()
        client = Client(lookups)
        client.ask("a")
        clock.now += TIMEOUT * 0.9
        client.ask("a")
        clock.now += TIMEOUT * 0.2
        lookups._deadlines.sweep()
        assert client.take() == [AWAY]
        wire = connect(lookups, at=clock.now)
        assert await wire.asked() == [b"cs:a"]
        wire.receive(record(1))

        assert client.take() == [FOUND[1]]
        assert rests(lookups)

    async def test_who_joins_what_is_late_has_the_stale_at_once(
        self, client: Client, wire: Wire, lookups: Lookups, clock: Clock
    ) -> None:
        """Redis is slow, and others waited in vain."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        connect(lookups, at=clock.now)
        client.ask("a")
        clock.now += 1.01 * TIMEOUT
        client.ask("a")

        assert client.take() == [FOUND[1]]
        assert lookups.stale_answers == 1

    async def test_a_flight_that_nobody_waited_for(
        self, client: Client, wire: Wire, lookups: Lookups, clock: Clock
    ) -> None:
        """Who joins what is read again after a loss waits no shorter."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        again = connect(lookups, at=clock.now)
        await lookups.events.reread_stale()
        lookups.cache.clear_old()
        clock.now += 2 * TIMEOUT
        client.ask("a")
        lookups._deadlines.sweep()
        assert client.take() == []
        assert await again.asked() == [b"cs:a"]
        again.receive(record(2))

        assert client.take() == [FOUND[2]]

    async def test_the_lease_ends_before_the_loss_is_seen(
        self, client: Client, wire: Wire, lookups: Lookups, clock: Clock
    ) -> None:
        """Who asked in between is answered as soon as it is, not at the time-out."""
        await fill(client, wire, "a", record(1))
        clock.now += LEASE + 0.1
        client.ask("a")
        assert await wire.asked() == [b"cs:a"]
        wire.lose()
        await asyncio.sleep(0)

        assert client.take() == [FOUND[1]]
        assert await connect(lookups).asked() == [], "nobody waits for it any more"

    @pytest.mark.parametrize(("stale_if_error", "answer"), [(10, FOUND[1]), (2, AWAY)])
    async def test_a_lease_that_ended_counts_as_away(
        self, stale_if_error: float, answer: tuple[int, bytes], clock: Clock
    ) -> None:
        """Nobody answers and nothing says that the connection is lost: as stale, as long."""
        lookups = make(stale_if_error=stale_if_error)
        client, wire = Client(lookups), connect(lookups, at=clock.now)
        await fill(client, wire, "a", record(1))
        clock.now += LEASE + 0.1
        client.ask("a")
        clock.now += TIMEOUT
        await client.answered(1)

        assert client.take() == [answer]

    async def test_is_read_again_after_the_loss(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Nobody told of what was changed and deleted meanwhile: at the next loss it is known."""
        for cs_id in "abc":
            await fill(client, wire, cs_id, record(1))
        wire.lose()
        again = connect(lookups)
        rereading = asyncio.create_task(lookups.events.reread_stale())
        assert await again.asked() == [b"cs:a", b"cs:b", b"cs:c"]
        client.ask("c")
        assert await again.asked() == [], "who asks meanwhile joins"
        again.receive(record(2), NO_RECORD, record(1))
        await rereading
        assert client.take() == [FOUND[1]]
        again.lose()
        for cs_id in "ab":
            client.ask(cs_id)
        await client.answered(2)

        assert client.take() == [FOUND[2], AWAY]
        assert rests(lookups)

    async def test_is_not_read_again_where_nothing_is_kept(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """A server that does not tell of changes is read for each lookup anyway."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        again = connect(lookups, tracked=False)
        await lookups.events.reread_stale()

        assert await again.asked() == []

    async def test_rereading_ends_with_the_connection(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Those who joined are answered from what is stale, and nothing is under way."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        again = connect(lookups)
        await lookups.events.reread_stale()
        client.ask("a")
        again.lose()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert client.take() == [FOUND[1]]
        await until(lambda: lookups._deadlines.timer is None)
        assert rests(lookups)
        assert lookups._deadlines.timer is None


class TestReconnect:
    """Between two connections."""

    async def test_what_was_under_way_is_asked_again(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """A connection that breaks fails no lookup if the next one is quick."""
        client.ask("a")
        client.ask("b")
        await wire.sent()
        wire.receive(record(1))
        wire.lose()
        client.ask("b")
        client.ask("c")
        again = connect(lookups)

        assert await again.asked() == [b"cs:b", b"cs:c"]
        again.receive(record(1), record(2))
        assert client.take() == [FOUND[1], FOUND[1], FOUND[1], FOUND[2]]
        assert rests(lookups)

    async def test_a_detached_flight_stays_detached(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Asked again it answers those who waited, but fills nothing and is not joined."""
        client.ask("a")
        wire.receive(invalidation(b"cs:a"))
        wire.lose()
        again = connect(lookups)
        client.ask("a")
        assert await again.asked() == [b"cs:a", b"cs:a"]
        again.receive(record(1))
        assert client.take() == [FOUND[1]]
        assert len(lookups.cache) == 0

        again.receive(record(2))
        assert client.take() == [FOUND[2]]
        assert len(lookups.cache) == 1

    async def test_the_first_connection_is_waited_for(self, lookups: Lookups) -> None:
        """A lookup that comes right after the start is answered when Redis is reached."""
        client = Client(lookups)
        client.ask("a")
        await asyncio.sleep(0.01)
        wire = connect(lookups)
        wire.receive(record(1))

        assert client.take() == [FOUND[1]]

    async def test_long_after_the_loss_the_next_connection_is_waited_for(
        self, client: Client, wire: Wire, lookups: Lookups, clock: Clock
    ) -> None:
        """As long as for a reply, however often it was tried since."""
        wire.lose()
        clock.now += 3600
        failed = wire_of(lookups)
        failed.lose()
        client.ask("a")
        assert client.take() == []
        connect(lookups, at=clock.now).receive(record(1))

        assert client.take() == [FOUND[1]]
        assert rests(lookups)

    async def test_many_who_wait_cost_nothing_until_their_time_is_over(
        self, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only the first in time are looked at; the end of all comes in portions."""
        many = 20_000
        lookups = make(max_in_flight=many)
        client, wire = Client(lookups), connect(lookups, at=clock.now)
        for number in range(many):
            client.ask(f"{number}")
        await wire.sent()
        wire.lose()
        looked_at: list[bytes] = []
        monkeypatch.setattr(lookups.topology, "owner", looked_at.append)
        lookups._deadlines.sweep()
        assert client.take() == []
        assert looked_at == []

        clock.now += TIMEOUT
        answered = []
        while lookups._deadlines.patient:
            lookups._deadlines.sweep()
            answered.append(len(client.take()))
        assert answered == [500] * 40
        assert rests(lookups)

    async def test_who_leaves_is_forgotten(self, wire: Wire, lookups: Lookups) -> None:
        """As a station that hangs up: before a connection is there nothing of it is left."""
        answers: list[int] = []
        waiters = [
            lookups.ask(station("a"), lambda status, _: answers.append(status)) for _ in "12"
        ]
        for waiter in waiters:
            assert waiter is not None
            lookups.leave(waiter)
        assert await wire.asked() == [b"cs:a"]
        assert not lookups._deadlines.patient
        wire.receive(record(1))
        assert answers == []
        assert len(lookups.cache) == 1, "what was sent is kept when it comes"

        wire.lose()
        waiter = lookups.ask(station("b"), lambda status, _: answers.append(status))
        assert waiter is not None
        lookups.leave(waiter)
        lookups.leave(waiter)
        assert rests(lookups)

    async def test_those_who_wait_are_bounded(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """As the reads in flight are, and they take no room once they were answered."""
        wire.lose()
        for number in range(IN_FLIGHT + 1):
            client.ask(f"{number}")
        assert client.take() == [AWAY]

        await client.answered(IN_FLIGHT)
        assert client.take() == [AWAY] * IN_FLIGHT
        assert rests(lookups)
        assert lookups._deadlines.timer is None, "nothing is left to be looked after"

        client.ask("again")
        connect(lookups).receive(record(1))
        assert client.take() == [FOUND[1]]

    async def test_a_connection_that_is_not_the_current_one(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Its end means nothing to what the current one filled."""
        other = wire_of(lookups)
        await fill(client, wire, "a", record(1))
        other.lose()
        client.ask("a")

        assert lease_of(lookups) > 0
        assert client.take() == [FOUND[1]]

    async def test_asked_in_the_turn_of_the_loss(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """A command that had not left when the connection ended leaves with the next."""
        client.ask("a")
        wire.lose()
        await asyncio.sleep(0)

        assert await connect(lookups).asked() == [b"cs:a"]

    async def test_a_loss_in_the_middle_of_many(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Each lookup is answered once, in time, whatever became of its connection."""
        for number in range(IN_FLIGHT):
            client.ask(f"{number}")
        await wire.sent()
        wire.receive(record(1) * (IN_FLIGHT // 2))
        wire.lose()
        connect(lookups).lose()
        await client.answered(IN_FLIGHT)

        assert client.take() == [FOUND[1]] * (IN_FLIGHT // 2) + [AWAY] * (IN_FLIGHT // 2)
        assert rests(lookups)


@pytest.mark.parametrize("connected", [True, False])
async def test_one_that_fails_does_not_keep_others_waiting(connected: bool) -> None:  # noqa: FBT001 a case
    """Whoever asks next to it, or later, is answered in time."""
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))
    lookups = make()
    client = Client(lookups)
    if connected:
        connect(lookups)

    def fail(status: int, tail: bytes) -> None:
        del status, tail
        raise RuntimeError

    lookups.ask(station("a"), fail)
    client.ask("b")
    await client.answered(1)
    client.ask("c")
    await client.answered(2)

    assert client.take() == [AWAY, AWAY]
    assert len(failures) == 1
    assert lookups._deadlines.timer is None or connected

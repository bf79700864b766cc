"""Records and fields with a time to live that others gave them, on servers that really run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic

import pytest
from redis import Redis

from csms_redis.lookup.reading.lifetimes import Lifetimes
from csms_redis.lookup.reading.read_connection import ReadConnection, ReadError
from csms_redis.settings import LookupSettings
from tests.conftest import Service, Valkey, password_hash, running_service, running_valkey, wait_for
from tests.support.topologies.software import EACH, Software
from tests.support.wire import Wire, bulk, make_lookups

LEFT = 1.5  # seconds that a record has left when it is looked up
BOUND = 2.0  # seconds after its end, then it is answered no more
OTHERS = 20_000  # keys with a time to live: the server's cycle finds ours late
RECORD = {"securityProfile": 1, "base64SHA256Password": password_hash("one day")}
FIELD = "base64SHA256Password"


@contextmanager
def registry(
    software: Software, *, others: int = 0, preload: bool = True
) -> Iterator[tuple[Service, Valkey, Redis]]:
    """A service on a server that has so many other keys with a time to live."""
    with (
        running_valkey(software=software) as server,
        Redis(unix_socket_path=server.socket) as redis,
    ):
        pipeline = redis.pipeline(transaction=False)
        for number in range(others):
            pipeline.set(f"other:{number}", "", ex=1000)
        pipeline.execute()
        settings = {"lookup__timeout": "1", "lookup__preload": str(preload)}
        with running_service(redis__url=server.url, **settings) as service:
            wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
            yield service, server, redis


def lookup(service: Service, cs_id: str) -> tuple[int, object]:
    """The status, and the body of a 200."""
    reply = service.get(f"/cs/{cs_id}/auth")
    return reply.status, reply.json if reply.status == 200 else None


def counted(redis: Redis, *names: str) -> int:
    """How often commands were called."""
    told = redis.info("commandstats")
    return sum(told.get(f"cmdstat_{name}", {}).get("calls", 0) for name in names)


def two_probes(redis: Redis) -> None:
    """Wait until the service has seen what is there now."""
    seen = counted(redis, "hello")
    wait_for(lambda: counted(redis, "hello") - seen >= 2, "two probes")


def sleep_until(moment: float) -> None:
    time.sleep(max(0, moment - monotonic()))


@pytest.mark.parametrize("software", EACH, ids=lambda software: software.name)
@pytest.mark.parametrize("others", [0, OTHERS])
def test_a_record_is_not_answered_after_its_end(software: Software, others: int) -> None:
    """However late the server notices; one without an end stays."""
    with registry(software, others=others) as (service, _, redis):
        for cs_id in ("day", "always"):
            assert service.post(f"/cs/{cs_id}", RECORD).status == 201
            assert lookup(service, cs_id) == (200, RECORD)
        redis.pexpire("cs:day", int(LEFT * 1000))
        end = monotonic() + LEFT
        assert lookup(service, "day") == (200, RECORD)

        sleep_until(end + BOUND)

        assert lookup(service, "day") == (404, None)
        assert lookup(service, "always") == (200, RECORD)


@pytest.mark.parametrize("software", EACH, ids=lambda software: software.name)
def test_a_password_is_not_answered_after_its_end(software: Software) -> None:
    """A field's end is one of the answer."""
    with registry(software, others=OTHERS) as (service, _, redis):
        software.must_know("HPEXPIRE")
        assert service.post("/cs/day", RECORD).status == 201
        assert lookup(service, "day") == (200, RECORD)
        redis.hpexpire("cs:day", int(LEFT * 1000), FIELD)
        end = monotonic() + LEFT
        assert lookup(service, "day") == (200, RECORD)

        sleep_until(end + BOUND)

        assert lookup(service, "day") == (200, {"securityProfile": 1})


@pytest.mark.parametrize("software", EACH, ids=lambda software: software.name)
@pytest.mark.parametrize("others", [0, OTHERS])
@pytest.mark.parametrize("command", ["PEXPIRE", "HPEXPIRE"])
def test_nor_while_redis_is_hung(software: Software, command: str, others: int) -> None:
    """It is not served stale either, though nothing had a time to live a moment before."""
    if command == "HPEXPIRE":
        software.must_know(command)
    with registry(software, others=others) as (service, server, redis):
        for cs_id in ("day", "always"):
            assert service.post(f"/cs/{cs_id}", RECORD).status == 201
            assert lookup(service, cs_id) == (200, RECORD)
        fields = ("FIELDS", "1", FIELD) if command == "HPEXPIRE" else ()
        redis.execute_command(command, "cs:day", int(LEFT * 1000), *fields)  # type: ignore[no-untyped-call]
        end = monotonic() + LEFT
        assert lookup(service, "day") == (200, RECORD)
        server.freeze()
        try:
            sleep_until(end + BOUND)

            assert lookup(service, "day") == (503, None)
            assert lookup(service, "always") == (200, RECORD)
        finally:
            server.thaw()


@pytest.mark.parametrize("software", EACH, ids=lambda software: software.name)
def test_without_any_time_to_live_none_is_asked_for(software: Software) -> None:
    """A lookup is one command; one more for each record, or two, where there is one."""
    records = 50
    with registry(software, preload=False) as (service, _, redis):
        for number in range(records):
            redis.hset(f"cs:{number}", "securityProfile", "2")
        two_probes(redis)
        asked = counted(redis, "pttl", "hpttl")
        for number in range(records):
            assert lookup(service, str(number)) == (200, {"securityProfile": 2})

        assert counted(redis, "pttl", "hpttl") == asked == 0

        redis.set("other", "", ex=1000)
        two_probes(redis)
        for number in range(records):
            assert lookup(service, f"none{number}") == (404, None)
        assert counted(redis, "pttl") == records
        assert counted(redis, "hpttl") == 0  # no field has one, nor has a record changed


FIELDS = (b"securityProfile", b"base64SHA256Password")


class TestLifetimes:
    """What the replies of `INFO keyspace` mean."""

    @pytest.mark.parametrize(
        ("line", "any_has_one"),
        [
            ("db0:keys=2,expires=0,avg_ttl=0", False),
            ("db0:keys=2,expires=1,avg_ttl=99675", True),
            ("db0:keys=2,expires=0,avg_ttl=0,subexpiry=3", True),
            ("db0:keys=2,expires=0,avg_ttl=0,keys_with_volatile_items=2", True),
            ("db10:keys=2,expires=1,avg_ttl=0", False),
            ("db0:keys=2,expires=0\r\ndb1:keys=2,expires=1", False),
            ("db0:keys=2,expires=many", True),
            ("", False),
        ],
    )
    def test_only_the_database_that_is_used_counts(self, line: str, any_has_one: bool) -> None:  # noqa: FBT001 a table's column
        lifetimes = Lifetimes(0)
        assert lifetimes.must_ask(b"cs:1")  # nothing is known yet
        lifetimes.replied(f"# Keyspace\r\n{line}\r\n".encode())
        assert lifetimes.must_ask(b"cs:1") == any_has_one
        assert lifetimes.problem is None

    def test_what_changed_since_may_have_one(self) -> None:
        """Until the next reply."""
        lifetimes = none_has_one()
        assert [lifetimes.changed([key]) for key in (b"cs:1", b"cs:2")] == [True, False]
        assert [lifetimes.must_ask(key) for key in (b"cs:1", b"cs:2", b"cs:3")] == [
            True,
            True,
            False,
        ]
        lifetimes.replied(NONE)
        assert not lifetimes.must_ask(b"cs:1")

    def test_after_a_flush_anything_may(self) -> None:
        lifetimes = none_has_one()
        assert lifetimes.changed(None)
        assert lifetimes.must_ask(b"cs:3")

    def test_fields_are_asked_for_apart(self) -> None:
        """Keys with one are no reason: fields that are counted are, and so is a change."""
        lifetimes = Lifetimes(0)
        assert asks_fields(lifetimes, b"cs:1")  # nothing is known yet
        lifetimes.replied(b"db0:keys=2,expires=1")
        assert not asks_fields(lifetimes, b"cs:1")
        lifetimes.changed([b"cs:1"])
        assert [asks_fields(lifetimes, key) for key in (b"cs:1", b"cs:2")] == [True, False]
        lifetimes.replied(b"db0:keys=2,expires=1,subexpiry=1")
        assert asks_fields(lifetimes, b"cs:2")
        lifetimes.replied(b"db0:keys=2,expires=1")
        lifetimes.changed(None)
        assert asks_fields(lifetimes, b"cs:2")

    async def test_a_reply_on_its_way_is_outdated(self) -> None:
        """When slots come: the next that is asked for counts."""
        lookups = make_lookups(LookupSettings())
        wire = Wire(
            ReadConnection(
                invalidated=lookups.events.invalidated,
                caught_up=lookups.flights.deliver,
                lost=lookups.events.lost,
            )
        )
        lifetimes = none_has_one()
        lifetimes.ask(wire.connection)
        assert await wire.sent() == [[b"INFO", b"keyspace"]]
        lifetimes.changed(None)
        wire.receive(bulk(NONE))
        assert lifetimes.must_ask(b"cs:1")
        lifetimes.ask(wire.connection)
        wire.receive(bulk(NONE))
        assert not lifetimes.must_ask(b"cs:1")

    def test_many_changes_are_not_kept(self) -> None:
        lifetimes = none_has_one()
        lifetimes.changed(b"cs:%d" % number for number in range(10_001))
        assert lifetimes.must_ask(b"cs:other")

    def test_who_may_not_ask(self) -> None:
        """Anything may have one, and the operator is told."""
        lifetimes = none_has_one()
        lifetimes.replied(ReadError("NOPERM User u has no permissions to run the 'info' command"))
        assert lifetimes.must_ask(b"cs:1")
        assert lifetimes.problem == "it refuses INFO (NOPERM)"

    def test_a_server_without_times_to_live_of_fields(self) -> None:
        """Is asked once."""
        lifetimes = none_has_one()
        lifetimes.changed([b"cs:1"])
        assert asks_fields(lifetimes, b"cs:1")
        assert lifetimes.end(ReadError("ERR unknown command 'HPTTL', with args ...")) == inf
        assert not asks_fields(lifetimes, b"cs:1")
        assert lifetimes.problem is None

    @pytest.mark.parametrize(
        ("reply", "left"),
        [(-1, inf), (-2, inf), (1500, 1.5), ([-1, 2000, 1000, -2], 1.0), ([], inf), (b"?", 0)],
    )
    def test_the_first_end_counts(self, reply: object, left: float) -> None:
        assert Lifetimes(0).end(reply) - monotonic() == pytest.approx(left, abs=0.5)

    def test_an_end_that_is_not_told(self) -> None:
        """The answer is kept for a second only."""
        lifetimes = none_has_one()
        end = lifetimes.end(ReadError("NOPERM User u has no permissions to run 'pttl'"))
        assert end - monotonic() == pytest.approx(1, abs=0.5)
        assert lifetimes.problem == "it refuses PTTL or HPTTL (NOPERM)"


NONE = b"# Keyspace\r\ndb0:keys=2,expires=0,avg_ttl=0\r\n"


def none_has_one() -> Lifetimes:
    """As of the last reply."""
    lifetimes = Lifetimes(0)
    lifetimes.replied(NONE)
    return lifetimes


def asks_fields(lifetimes: Lifetimes, key: bytes) -> bool:
    """Whether it asks for the time left of a record's fields."""
    return any(b"HPTTL" in question for question in lifetimes.questions(key, FIELDS))

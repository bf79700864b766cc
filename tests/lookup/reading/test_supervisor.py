"""The read connection's keeper, with a Valkey that really runs and with one that misbehaves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, cast

import pytest
from redis import Redis
from structlog.testing import capture_logs

from csms_redis.contract.errors import NotFound, Unavailable
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading import link as module
from csms_redis.lookup.reading.link import LEASE
from csms_redis.lookup.reading.read_connection import ReadConnection
from csms_redis.lookup.reading.shared import Shared
from csms_redis.lookup.reading.supervisor import Supervisor
from csms_redis.redis.address import Address
from csms_redis.redis.standalone import Standalone
from csms_redis.registry.layout import Layout
from csms_redis.registry.stations import STATION
from csms_redis.settings import LookupSettings
from tests.conftest import PATIENCE, Valkey, short_directory
from tests.lookup.fake_redis import FakeRedis, fake_redis, healthy
from tests.lookup.wire import (
    NO_RECORD,
    PROFILE,
    invalidation,
    lease_of,
    make_lookups,
    outcome,
    record,
)

INTERVAL = 0.05
PROBE_TIMEOUT = 0.2
PASSWORD = "Str0ng:p@ss/w#rd?"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe twenty times a second, and give up after a fifth of one."""
    monkeypatch.setattr(module, "_PROBE_INTERVAL", INTERVAL)
    monkeypatch.setattr(module, "_PROBE_TIMEOUT", PROBE_TIMEOUT)


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture
async def fake(home: Path) -> AsyncIterator[FakeRedis]:
    async with fake_redis(home / "redis.sock") as running:
        yield running


@pytest.fixture
def admin(valkey: Valkey) -> Iterator[Redis]:
    with Redis(unix_socket_path=valkey.socket) as client:
        yield client


@pytest.fixture
def lookups() -> Lookups:
    return make_lookups(LookupSettings())


@asynccontextmanager
async def supervised(
    lookups: Lookups,
    path: str | Path,
    *,
    user: str | None = None,
    password: str | None = None,
    prefix: bytes = b"",
    layout: "FakeLayout | None" = None,
) -> AsyncIterator[Supervisor]:
    """Keep `lookups` connected while the block runs; nothing of it stays behind."""
    before = asyncio.all_tasks()
    address = Address(path=str(path), username=user, password=password)
    topology = lookups.topology
    assert isinstance(topology, Standalone)
    topology.__init__(address)  # type: ignore[misc] # all parts of `lookups` have this one
    supervisor = Supervisor(
        Shared(lookups=lookups, prefix=prefix, timeout=1, layout=cast("Layout | None", layout))
    )
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert asyncio.all_tasks() - before == set()


class FakeLayout:
    """Admits, and keeps what it is told."""

    key = b"p:layout"

    def __init__(self) -> None:
        self.changes = 0
        self.unwatched_since: list[Address] = []

    async def admit(self, master: Address) -> None:
        del master

    def changed(self) -> None:
        self.changes += 1

    def is_at(self, master: Address) -> bool:
        del master
        return False

    def unwatched(self, master: Address) -> None:
        self.unwatched_since.append(master)


def may_only(admin: Redis, *commands: str) -> None:
    """Make the user `gate`, who may do this and no more."""
    made = admin.acl_setuser(
        "gate", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], commands=list(commands)
    )
    assert made


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, what
        await asyncio.sleep(0.005)


async def leased(lookups: Lookups) -> None:
    await until(lambda: lease_of(lookups) > monotonic(), "the connection is proved")


async def away(supervisor: Supervisor, problem: str | None) -> None:
    await until(
        lambda: supervisor.problem == problem, f"{problem!r}, but it is {supervisor.problem!r}"
    )


class TestHandshake:
    """What is said before the first read."""

    async def test_tracking_comes_before_any_read(self, fake: FakeRedis, home: Path) -> None:
        """HELLO, tracking of every prefix, a probe."""
        lookups = make_lookups(LookupSettings(), b"p:")
        async with supervised(lookups, home / "redis.sock", prefix=b"p:"):
            await leased(lookups)

        prefixes = [b"PREFIX", b"p:cs:", b"PREFIX", b"p:token:", b"PREFIX", b"p:certificate:"]
        assert fake.commands[:5] == [
            [b"HELLO", b"3", b"SETNAME", b"csms-redis"],
            [b"CLIENT", b"TRACKING", b"ON", b"BCAST", *prefixes],
            [b"INFO", b"keyspace"],
            [b"HMGET", b"p:cs:", b"securityProfile"],
            [b"HELLO", b"3"],
        ]

    async def test_slots_may_bring_times_to_live(
        self, fake: FakeRedis, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Until the next probe, what the master said of them before is not known any more."""
        monkeypatch.setattr(module, "_PROBE_INTERVAL", 1.5)
        lookups = make_lookups(LookupSettings())

        def answer(command: list[bytes]) -> bytes:
            if command[0] == b"HMGET" and len(command) > 3:
                return NO_RECORD
            return b":-1\r\n" if command[0] == b"PTTL" else healthy(command)

        async def asked(cs_id: str) -> list[bytes]:
            fake.commands.clear()
            with pytest.raises(NotFound):
                await lookups.find(STATION, cs_id)
            return [command[0] for command in fake.commands]

        fake.answer = answer
        async with supervised(lookups, home / "redis.sock"):
            await leased(lookups)
            assert await asked("a") == [b"HMGET"]
            lookups.topology._notify({1})
            assert await asked("b") == [b"PTTL", b"HPTTL", b"HMGET"]
            fake.commands.clear()
            await until(lambda: [b"HELLO", b"3"] in fake.commands, "the next probe")
            await asyncio.sleep(0.1)
            assert await asked("c") == [b"HMGET"]

    async def test_the_layout_is_tracked(self, fake: FakeRedis, home: Path) -> None:
        """Its change is told, and one that nobody could hear of is thought of at both ends."""
        lookups = make_lookups(LookupSettings(), b"p:")
        layout = FakeLayout()
        async with supervised(lookups, home / "redis.sock", prefix=b"p:", layout=layout):
            await leased(lookups)
            assert fake.commands[1][-2:] == [b"PREFIX", b"p:layout"]
            assert len(layout.unwatched_since) == 1
            (connection,) = fake.open
            for push in (invalidation(b"p:cs:a"), invalidation(b"p:cs:b", b"p:layout")):
                connection.write(push)
            await until(lambda: lookups.counts.invalidations == 3, "they are heard")
            assert layout.changes == 1
            connection.write(invalidation())
            await until(lambda: layout.changes == 2, "a flush is heard")
        assert len(layout.unwatched_since) == 2

    async def test_a_connection_that_ends_while_the_layout_is_read(
        self, fake: FakeRedis, home: Path, lookups: Lookups
    ) -> None:
        """Nothing is read through it, and nothing counts as filled by it."""

        class Slow(FakeLayout):
            asked = 0

            async def admit(self, master: Address) -> None:
                del master
                self.asked += 1
                if self.asked <= 3:
                    fake.close_connections()
                    await until(lambda: not fake.open, "the end is seen")
                    await asyncio.sleep(0.01)

        layout = Slow()
        async with supervised(lookups, home / "redis.sock", layout=layout):
            await leased(lookups)
            assert layout.asked >= 4
            assert lookups.counts.connected == 1
            assert lookups.counts.lost == 0
            assert len(lookups.cache._filling) == 1

    async def test_no_tracking_without_a_cache(self, fake: FakeRedis, home: Path) -> None:
        """`cache_entries = 0` reads each time, so nothing need be told."""
        lookups = make_lookups(LookupSettings(cache_entries=0))
        async with supervised(lookups, home / "redis.sock") as supervisor:
            await until(lambda: supervisor.problem is None, "reached")

        assert b"CLIENT" not in {command[0] for command in fake.commands}
        assert lease_of(lookups) == 0

    async def test_user_and_password(self, valkey: Valkey, admin: Redis, lookups: Lookups) -> None:
        """Of an ACL user that may only look up."""
        may_only(admin, "+hmget", "+client|tracking")
        async with supervised(lookups, valkey.socket, user="gate", password=PASSWORD) as supervisor:
            await leased(lookups)
            assert supervisor.problem is None

    async def test_a_password_alone(self, valkey: Valkey, admin: Redis, lookups: Lookups) -> None:
        """As `requirepass` wants it, once an operator has set it while this runs."""
        admin.config_set("requirepass", PASSWORD)
        async with supervised(lookups, valkey.socket, password=PASSWORD):
            await leased(lookups)

    @pytest.mark.parametrize(
        ("password", "problem"),
        [
            ("wrong-" + PASSWORD, "cannot be reached: it refuses the user or the password"),
            (None, "cannot be reached: it wants a password"),
        ],
    )
    async def test_a_wrong_password(
        self,
        password: str | None,
        problem: str,
        valkey: Valkey,
        admin: Redis,
        lookups: Lookups,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Said in one line of the log, however often it is tried, and without the password."""
        monkeypatch.setattr(module, "_LONGEST_DELAY", 0.01)
        admin.config_set("requirepass", PASSWORD)
        with capture_logs() as events:
            async with supervised(lookups, valkey.socket, password=password) as supervisor:
                await away(supervisor, problem)
                await asyncio.sleep(0.2)

        (event,) = events
        assert event["event"] == "Redis cannot be reached"
        assert event["reason"] == problem.removeprefix("cannot be reached: ")
        assert PASSWORD not in repr(events)
        assert "\n" not in repr(events)


class TestLimited:
    """Servers that cannot tell of changes: every lookup is read from them."""

    async def test_a_user_who_may_not_track(
        self, valkey: Valkey, admin: Redis, lookups: Lookups
    ) -> None:
        """Said once, with what is missing."""
        may_only(admin, "+hmget")
        admin.hset("cs:a", "securityProfile", "1")
        with capture_logs() as events:
            async with supervised(
                lookups, valkey.socket, user="gate", password=PASSWORD
            ) as supervisor:
                await away(supervisor, None)
                for profile in (1, 2, 1):
                    admin.hset("cs:a", "securityProfile", f"{profile}")
                    assert await lookups.find(STATION, "a") == PROFILE[profile]
                assert lease_of(lookups) == 0
                assert len(lookups.cache) == 0
                assert lookups.stale_answers == 0

        assert [(event["event"], event.get("reason")) for event in events] == [
            ("Redis reached", None),
            (
                "every lookup is read from Redis, none is kept",
                "it refuses CLIENT TRACKING (NOPERM)",
            ),
        ]

    @pytest.mark.parametrize(
        "refusal",
        [
            b"-ERR unknown command 'HELLO'\r\n",
            b"-NOPROTO unsupported protocol version\r\n",
            b"-ERR Protocol version is not an integer or out of range\r\n",
        ],
    )
    @pytest.mark.parametrize(
        "role", [b"*1\r\n$6\r\nmaster\r\n", b"-ERR unknown command 'ROLE'\r\n"]
    )
    async def test_no_resp3(
        self, refusal: bytes, role: bytes, fake: FakeRedis, home: Path, lookups: Lookups
    ) -> None:
        """An old server, or a proxy that knows few commands."""

        def old(command: list[bytes]) -> bytes:
            if command[0] == b"HMGET":
                return (
                    b"*1\r\n$-1\r\n" if len(command) == 3 else b"*4\r\n$1\r\n1\r\n" + b"$-1\r\n" * 3
                )
            return {b"HELLO": refusal, b"ROLE": role}.get(command[0], b"+OK\r\n")

        fake.answer = old
        async with supervised(lookups, home / "redis.sock", password=PASSWORD) as supervisor:
            await away(supervisor, None)
            assert await lookups.find(STATION, "a") == PROFILE[1]

        assert [b"AUTH", PASSWORD.encode()] in fake.commands
        assert b"CLIENT" not in {command[0] for command in fake.commands}

    async def test_no_resp3_and_a_replica(
        self, fake: FakeRedis, home: Path, lookups: Lookups
    ) -> None:
        """ROLE tells."""
        replica = {b"HELLO": b"-ERR unknown\r\n", b"ROLE": b"*1\r\n$5\r\nslave\r\n"}
        fake.answer = lambda command: replica.get(command[0], b"*1\r\n$-1\r\n")
        async with supervised(lookups, home / "redis.sock") as supervisor:
            await away(supervisor, "cannot be reached: it is a replica")


class TestLease:
    """The proof that the connection speaks for the truth."""

    async def test_is_renewed_while_redis_answers(
        self, valkey: Valkey, admin: Redis, lookups: Lookups
    ) -> None:
        """Each probe moves its end, and never further than its length."""
        async with supervised(lookups, valkey.socket):
            await leased(lookups)
            first = lease_of(lookups)
            await until(lambda: lease_of(lookups) > first + 3 * INTERVAL, "it is renewed")
            assert lease_of(lookups) <= monotonic() + LEASE

        assert lease_of(lookups) == 0
        clients = [client["name"] for client in admin.client_list()]
        await until(lambda: "csms-redis" not in clients, "the connection is closed")

    async def test_probes_keep_their_pace(self, fake: FakeRedis, home: Path) -> None:
        """A slow answer delays the next probe only where it takes longer than the interval."""
        lookups = make_lookups(LookupSettings())
        async with supervised(lookups, home / "redis.sock"):
            await leased(lookups)
            before = len(fake.commands)
            await asyncio.sleep(10 * INTERVAL)
            probes = (len(fake.commands) - before) / 3

        assert 2 < probes <= 11

    async def test_a_server_that_says_nothing(self, fake: FakeRedis, home: Path) -> None:
        """Is given up when the probe's time is over, and asked anew."""
        lookups = make_lookups(LookupSettings())
        async with supervised(lookups, home / "redis.sock") as supervisor:
            await leased(lookups)
            fake.answer = lambda _: None
            await away(supervisor, "cannot be reached: it does not answer")
            assert lease_of(lookups) == 0
            fake.answer = healthy
            await leased(lookups)
            assert supervisor.problem is None

    @pytest.mark.parametrize("command", [b"HMGET", b"HELLO"])
    async def test_half_an_answer_is_none(
        self, command: bytes, fake: FakeRedis, home: Path
    ) -> None:
        """The role without a read, or a read without the role, proves nothing."""
        lookups = make_lookups(LookupSettings())
        async with supervised(lookups, home / "redis.sock") as supervisor:
            await leased(lookups)
            fake.answer = lambda asked: None if asked[0] == command else healthy(asked)
            await away(supervisor, "cannot be reached: it does not answer")

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            (b"-LOADING Redis is loading\r\n", "it is loading its data"),
            (b"-CLUSTERDOWN Hash slot not served\r\n", "it answers CLUSTERDOWN"),
            (b"-\r\n", "it answers ERR"),
            (b"HTTP/1.1 400 Bad Request\r\n", "it closed the connection"),
        ],
    )
    async def test_an_error_is_no_proof(
        self, reply: bytes, reason: str, fake: FakeRedis, home: Path
    ) -> None:
        """A probe that is refused ends the lease."""
        lookups = make_lookups(LookupSettings())
        async with supervised(lookups, home / "redis.sock") as supervisor:
            await leased(lookups)
            fake.answer = lambda asked: reply if asked[0] == b"HMGET" else healthy(asked)
            await away(supervisor, f"cannot be reached: {reason}")
            assert lease_of(lookups) == 0

    @pytest.mark.parametrize(
        "hello", [b"+OK\r\n", b":1\r\n", b"_\r\n", b"*0\r\n", b"%0\r\n", b"%1\r\n+role\r\n:1\r\n"]
    )
    async def test_a_malformed_role_is_no_master(
        self, hello: bytes, fake: FakeRedis, home: Path
    ) -> None:
        """And ends nothing but the attempt."""
        fake.answer = lambda asked: hello if asked[0] == b"HELLO" else healthy(asked)
        lookups = make_lookups(LookupSettings())
        async with supervised(lookups, home / "redis.sock") as supervisor:
            await away(supervisor, "cannot be reached: it is a replica")
            fake.answer = healthy
            await leased(lookups)

    async def test_someones_key_under_the_bare_prefix(
        self, valkey: Valkey, admin: Redis, lookups: Lookups
    ) -> None:
        """Of whatever type: the probe reads it, and that Redis reads is all it asks."""
        admin.set("cs:", "not a hash")
        async with supervised(lookups, valkey.socket):
            await leased(lookups)

    async def test_ended_with_the_last_reply(
        self, valkey: Valkey, admin: Redis, lookups: Lookups, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first probe is answered and the connection is lost: no lookup is given to it."""
        attempts = 0

        class Ending(ReadConnection):
            async def call(self, *words: bytes | str | int) -> Any:
                nonlocal attempts
                reply = await super().call(*words)
                if words == ("HELLO", 3) and attempts < 3:
                    attempts += 1
                    self.abort()
                return reply

        monkeypatch.setattr(module, "ReadConnection", Ending)
        admin.hset("cs:a", "securityProfile", "1")
        with capture_logs() as events:
            async with supervised(lookups, valkey.socket):
                assert await lookups.find(STATION, "a") == PROFILE[1]

        assert attempts == 3
        assert [event["event"] for event in events] == ["Redis cannot be reached", "Redis reached"]


class TestDemotion:
    """A master that has become a replica goes on answering."""

    @pytest.mark.parametrize("user", ["default", "gate"], ids=["may ask ROLE", "may not"])
    async def test_is_noticed(
        self, user: str, valkey: Valkey, admin: Redis, lookups: Lookups
    ) -> None:
        """And so is its promotion."""
        may_only(admin, "+hmget", "+client|tracking")
        admin.hset("cs:a", "securityProfile", "1")
        password = PASSWORD if user == "gate" else None
        async with supervised(lookups, valkey.socket, user=user, password=password) as supervisor:
            await leased(lookups)
            assert await lookups.find(STATION, "a") == PROFILE[1]

            admin.replicaof("127.0.0.1", "1")
            await away(supervisor, "cannot be reached: it is a replica")
            assert lease_of(lookups) == 0
            assert await lookups.find(STATION, "a") == PROFILE[1], "stale"

            admin.replicaof("NO", "ONE")
            await leased(lookups)
            admin.hset("cs:a", "securityProfile", "2")
            await until(lambda: not len(lookups.cache), "the invalidation arrives")
            assert await lookups.find(STATION, "a") == PROFILE[2]


class TestReconnect:
    """Again and again, but not in step with all the others."""

    async def test_backoff(
        self, home: Path, lookups: Lookups, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Doubled with each attempt, capped at a second, and jittered below that."""
        delays: list[float] = []
        sleep = asyncio.sleep

        async def recorded(delay: float) -> None:
            delays.append(delay)
            await sleep(0)

        monkeypatch.setattr(asyncio, "sleep", recorded)
        async with supervised(lookups, home / "nobody.sock") as supervisor:
            while len(delays) < 60:
                await sleep(0)
            monkeypatch.setattr(asyncio, "sleep", sleep)
            assert supervisor.problem == "cannot be reached: no such file or directory"

        longest = [min(0.02 * 2**attempt, 1.0) for attempt in range(len(delays))]
        assert all(0.5 * most <= delay <= most for delay, most in zip(delays, longest, strict=True))
        assert len({round(delay, 6) for delay in delays[6:]}) > 10, "no jitter"

    async def test_a_killed_connection_is_replaced(self, valkey: Valkey, admin: Redis) -> None:
        """At once, so that a lookup meanwhile only waits; however often."""
        lookups = make_lookups(LookupSettings(timeout=0.4))
        async with supervised(lookups, valkey.socket):
            await leased(lookups)
            for number in range(8):
                await asyncio.sleep(0.05)
                admin.client_kill_filter(_type="normal", skipme=True)
                with pytest.raises(NotFound):
                    await lookups.find(STATION, f"{number}")
                await leased(lookups)

    async def test_a_host_that_cannot_be_a_name(self) -> None:
        """Ends nothing but the attempt."""
        address = Address(host="a" * 64)
        lookups = Lookups(LookupSettings(), b"", Standalone(address))
        supervisor = Supervisor(Shared(lookups=lookups, prefix=b"", timeout=1))
        task = asyncio.create_task(supervisor.run())
        await until(lambda: supervisor.problem != "has not been reached yet", "it is tried")
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_masters_are_followed_while_one_looks_for_what_has_moved(
    fake: FakeRedis, home: Path, lookups: Lookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes seconds where much is kept."""
    monkeypatch.setattr(lookups.events, "drop_disowned", asyncio.Event().wait)
    async with supervised(lookups, home / "redis.sock"), fake_redis(home / "other.sock"):
        await leased(lookups)
        lookups.topology._notify({1})
        await asyncio.sleep(INTERVAL)
        lookups.topology.masters = (Address(path=str(home / "other.sock")),)
        lookups.topology._notify({2})
        await until(lambda: not fake.open, "the former master is left")
        await leased(lookups)


async def test_probes_of_a_master_that_nobody_confirms_are_not_good(
    fake: FakeRedis, home: Path, lookups: Lookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So what a zombie said is stale from when others last took it for the master."""
    confirmed = monotonic() - 10
    monkeypatch.setattr(Standalone, "confirmed", lambda *_: confirmed)
    async with supervised(lookups, home / "redis.sock"):
        await until(lambda: len(fake.commands) > 10, "some probes have succeeded")
        (source,) = lookups.sources.all

        assert source.proved_at == confirmed
        assert source.lease_until < monotonic()


class TestUnconfirmed:
    """A master that answers, and may be cut off from those who have another one by now."""

    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "CONFIRMATION", 0.1)

    @pytest.fixture
    def word(self, fake: FakeRedis, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """When others last confirmed it; it has every station."""

        def answer(asked: list[bytes]) -> bytes:
            return record(1) if len(asked) > 3 and asked[0] == b"HMGET" else healthy(asked)

        fake.answer = answer
        said = [inf]
        monkeypatch.setattr(Standalone, "confirmed", lambda *_: said[0])
        return said

    @pytest.mark.parametrize("entries", [1000, 0])
    async def test_counts_as_stale_and_ends(
        self, entries: int, word: list[float], fake: FakeRedis, home: Path
    ) -> None:
        """As what was cached before it does: it may be as old."""
        lookups = make_lookups(LookupSettings(cache_entries=entries, stale_if_error=2, timeout=1))
        refusal = "is read no more: for 2 s nobody else has confirmed that it is the master"

        async def found(cs_id: str) -> Any:
            return await outcome(asyncio.create_task(lookups.find(STATION, cs_id)))

        with capture_logs() as events:
            async with supervised(lookups, home / "redis.sock") as supervisor:
                await away(supervisor, None)
                assert await found("a") == PROFILE[1]
                assert lookups.stale_answers == 0

                word[0] = monotonic()
                while not lookups.stale_answers:
                    assert monotonic() < word[0] + PATIENCE
                    assert await found("a") == PROFILE[1]
                    await asyncio.sleep(0.01)

                await away(supervisor, refusal)
                assert monotonic() >= word[0] + 2
                await until(lambda: not fake.open, "it is left")
                assert await found("a") is Unavailable
                assert await found("b") is Unavailable

                word[0] = inf
                await away(supervisor, None)
                before = lookups.stale_answers
                assert await found("b") == PROFILE[1]
                assert lookups.stale_answers == before

        said = [(event["event"], event.get("reason", "")) for event in events]
        assert said == [
            ("Redis reached", ""),
            ("what Redis answers counts as stale", "nobody else confirms that it is the master"),
            ("Redis is not used", refusal),
            ("Redis reached", ""),
        ]

    async def test_a_reconnect_is_no_confirmation(
        self, word: list[float], fake: FakeRedis, home: Path
    ) -> None:
        """The count goes on where it was."""
        lookups = make_lookups(LookupSettings(stale_if_error=1))
        async with supervised(lookups, home / "redis.sock") as supervisor:
            await away(supervisor, None)
            word[0] = monotonic()
            while supervisor.problem is None or "no more" not in supervisor.problem:
                fake.close_connections()
                assert monotonic() < word[0] + PATIENCE
                await asyncio.sleep(0.05)
            # else each of the many would have begun it anew
            connections = fake.connections
            await asyncio.sleep(0.3)
            assert fake.connections == connections

    async def test_one_that_was_never_confirmed(self, word: list[float], home: Path) -> None:
        """It counts from when it was named, as by a node of a cluster that sends there."""
        word[0] = -inf
        lookups = make_lookups(LookupSettings(stale_if_error=1))
        async with supervised(lookups, home / "redis.sock") as supervisor:
            await away(supervisor, None)
            assert await lookups.find(STATION, "a") == PROFILE[1]
            await away(
                supervisor,
                "is read no more: for 1 s nobody else has confirmed that it is the master",
            )

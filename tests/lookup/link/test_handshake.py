"""What is said before the first read, and to servers that cannot do all of it."""

import asyncio
from pathlib import Path

import pytest
from redis import Redis
from structlog.testing import capture_logs

from csms_redis.contract.errors import NotFound
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading import link as module
from csms_redis.redis.address import Address
from csms_redis.registry.stations import STATION
from csms_redis.settings import LookupSettings
from tests.conftest import Valkey
from tests.support.fake_redis import FakeRedis, healthy
from tests.support.supervised import (
    PASSWORD,
    FakeLayout,
    away,
    leased,
    may_only,
    supervised,
    until,
)
from tests.support.wire import (
    NO_RECORD,
    PROFILE,
    invalidation,
    lease_of,
    make_lookups,
)


class TestHandshake:
    """What is said before the first read."""

    async def test_tracking_comes_before_any_read(self, fake: FakeRedis, home: Path) -> None:
        """HELLO, tracking of every prefix, a probe."""
        lookups = make_lookups(LookupSettings(preload=False), b"p:")
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
        lookups = make_lookups(LookupSettings(preload=False))

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
        lookups = make_lookups(LookupSettings(preload=False), b"p:")
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
        lookups = make_lookups(LookupSettings(preload=False, cache_entries=0))
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

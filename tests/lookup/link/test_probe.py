"""The proof that the connection speaks for the truth."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from redis import Redis
from structlog.testing import capture_logs

from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading import link as module
from csms_redis.lookup.reading.link import LEASE
from csms_redis.lookup.reading.read_connection import ReadConnection
from csms_redis.registry.stations import STATION
from csms_redis.settings import LookupSettings
from tests.conftest import Valkey
from tests.support.fake_redis import FakeRedis, healthy
from tests.support.supervised import (
    INTERVAL,
    PASSWORD,
    away,
    leased,
    may_only,
    supervised,
    until,
)
from tests.support.wire import (
    PROFILE,
    lease_of,
    make_lookups,
)


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
        lookups = make_lookups(LookupSettings(preload=False))
        async with supervised(lookups, home / "redis.sock"):
            await leased(lookups)
            before = len(fake.commands)
            await asyncio.sleep(10 * INTERVAL)
            probes = (len(fake.commands) - before) / 3

        assert 2 < probes <= 11

    async def test_a_server_that_says_nothing(self, fake: FakeRedis, home: Path) -> None:
        """Is given up when the probe's time is over, and asked anew."""
        lookups = make_lookups(LookupSettings(preload=False))
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
        lookups = make_lookups(LookupSettings(preload=False))
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
        lookups = make_lookups(LookupSettings(preload=False))
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
        lookups = make_lookups(LookupSettings(preload=False))
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

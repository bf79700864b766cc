"""A master that answers, and that nobody else takes for the master."""

import asyncio
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from structlog.testing import capture_logs

from csms_redis.contract.errors import Unavailable
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading import link as module
from csms_redis.redis.standalone import Standalone
from csms_redis.registry.stations import STATION
from csms_redis.settings import LookupSettings
from tests.conftest import PATIENCE
from tests.support.fake_redis import FakeRedis, healthy
from tests.support.supervised import (
    away,
    supervised,
    until,
)
from tests.support.wire import (
    PROFILE,
    make_lookups,
    outcome,
    record,
)


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
        lookups = make_lookups(
            LookupSettings(preload=False, cache_entries=entries, stale_if_error=2, timeout=1)
        )
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
        lookups = make_lookups(LookupSettings(preload=False, stale_if_error=1))
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
        lookups = make_lookups(LookupSettings(preload=False, stale_if_error=1))
        async with supervised(lookups, home / "redis.sock") as supervisor:
            await away(supervisor, None)
            assert await lookups.find(STATION, "a") == PROFILE[1]
            await away(
                supervisor,
                "is read no more: for 1 s nobody else has confirmed that it is the master",
            )

"""Masters are connected to again and again, and followed."""

import asyncio
from pathlib import Path

import pytest
from redis import Redis

from csms_redis.contract.errors import NotFound
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.shared import Shared
from csms_redis.lookup.reading.supervisor import Supervisor
from csms_redis.redis.address import Address
from csms_redis.redis.standalone import Standalone
from csms_redis.registry.stations import STATION
from csms_redis.settings import LookupSettings
from tests.conftest import Valkey
from tests.support.fake_redis import FakeRedis, fake_redis
from tests.support.supervised import (
    INTERVAL,
    leased,
    supervised,
    until,
)
from tests.support.wire import (
    make_lookups,
)


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
        lookups = make_lookups(LookupSettings(preload=False, timeout=0.4))
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
        lookups = Lookups(LookupSettings(preload=False), b"", Standalone(address))
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

"""What every topology does while it is followed: look again, and say what changed."""

import asyncio
from contextlib import suppress
from math import inf

import pytest
from structlog.testing import capture_logs

from csms_redis.redis import topology as module
from csms_redis.redis.address import Address
from csms_redis.redis.topology import Topology

A, B = Address(host="a.test"), Address(host="b.test")


class Scripted(Topology):
    """Finds out what the test says."""

    def __init__(self, *findings: tuple[tuple[Address, ...], str | None]) -> None:
        super().__init__()
        self._findings = list(findings)
        self.looks = 0
        self.done = asyncio.Event()

    def __str__(self) -> str:
        return "redis+scripted://"

    def owner(self, key: bytes) -> Address | None:
        del key
        return None

    def confirmed(self, master: Address) -> float:
        del master
        return inf

    async def look(self) -> None:
        self.looks += 1
        if not self._findings:
            self.done.set()
            return
        self.masters, self.problem = self._findings.pop(0)


async def follow(topology: Scripted) -> None:
    """Until there is nothing more to be found."""
    following = asyncio.create_task(topology.run())
    async with asyncio.timeout(10):
        await topology.done.wait()
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once."""
    monkeypatch.setattr(module, "POLL", 0.001)


async def test_changes_are_said_once() -> None:
    """However often it looks."""
    away = "1 of 3 sentinels answers"
    topology = Scripted(
        ((), away), ((), away), ((A,), None), ((A,), None), ((A,), away), ((B,), None), ((B,), None)
    )
    with capture_logs() as events:
        await follow(topology)

    assert [(event["event"], event.get("masters") or event.get("reason")) for event in events] == [
        ("Redis's masters are in doubt", away),
        ("Redis's masters", "redis://a.test:6379/0"),
        ("Redis's masters are certain", None),
        ("Redis's masters are in doubt", away),
        ("Redis's masters", "redis://b.test:6379/0"),
        ("Redis's masters are certain", None),
    ]


async def test_doubt_is_looked_into_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for the next poll, yet not so often that it keeps the servers busy."""
    monkeypatch.setattr(module, "POLL", 3600)
    topology = Scripted()
    following = asyncio.create_task(topology.run())
    while topology.looks < 3:
        topology.doubt()
        await asyncio.sleep(0.001)
    started = asyncio.get_running_loop().time()
    while topology.looks < 6:
        topology.doubt()
        await asyncio.sleep(0.001)
    assert asyncio.get_running_loop().time() - started > 2 * module._SHORTEST
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following

"""Real sentinels: a killed master is replaced, and they themselves come and go."""

# ruff: noqa: T201 some of what is measured here is told

import asyncio
from collections.abc import Iterator
from time import monotonic

import pytest

from csms_redis.redis.address import Address
from csms_redis.redis.sentinel import Sentinel
from tests.support.sentinel_peers import SECRET, asking, following, until
from tests.support.topologies.node import Node
from tests.support.topologies.sentinels import SentinelGroup


@pytest.fixture(scope="module")
def group() -> Iterator[SentinelGroup]:
    """A master, two replicas and three sentinels, with passwords."""
    with SentinelGroup(password=SECRET, sentinel_password="theirs") as running:
        yield running


def real(group: SentinelGroup) -> list[Address]:
    return [
        Address(host=node.address.host, port=node.address.port, password="theirs")
        for node in group.sentinels
    ]


def knows(sentinel: Sentinel, node: Node) -> bool:
    return [(one.host, one.port) for one in sentinel.masters] == [node.address]


async def time_until_replaced(group: SentinelGroup, sentinel: Sentinel) -> float:
    """Kill the master; seconds until another one is known here."""
    await asyncio.to_thread(group.wait_until_settled)
    old = await asyncio.to_thread(group.master)
    await until(lambda: knows(sentinel, old), "the old master is known")
    await asyncio.sleep(0.5)  # until all are listened to
    killed = monotonic()
    old.kill()
    await until(lambda: not knows(sentinel, old), "another master is known")
    took = monotonic() - killed
    new = await asyncio.to_thread(group.wait_for_new_master, old)
    await until(lambda: knows(sentinel, new) and sentinel.problem is None, "it is the right one")
    await asyncio.to_thread(old.start)
    return took


async def test_killed_master(group: SentinelGroup) -> None:
    async with asking(real(group), patience=1) as sentinel, following(sentinel):
        print(f"after SIGKILL: {await time_until_replaced(group, sentinel):.2f} s (polled, told)")


@pytest.mark.usefixtures("no_poll")
async def test_killed_master_is_told(group: SentinelGroup) -> None:
    """The sentinels' messages alone are enough."""
    async with asking(real(group), patience=1) as sentinel, following(sentinel):
        print(f"after SIGKILL: {await time_until_replaced(group, sentinel):.2f} s (told alone)")


@pytest.mark.slow
async def test_killed_master_is_found_by_polling(
    group: SentinelGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is asking alone."""
    monkeypatch.setattr(Sentinel, "doubt", lambda _: None)
    async with asking(real(group), patience=1) as sentinel, following(sentinel):
        print(f"after SIGKILL: {await time_until_replaced(group, sentinel):.2f} s (polled alone)")


async def test_discovered(group: SentinelGroup) -> None:
    """One is configured and goes; the others were named by it."""
    async with asking(real(group)[:1], patience=1) as sentinel:
        await asyncio.to_thread(group.wait_until_settled)
        await sentinel.look()
        group.sentinels[0].kill()
        (master,) = sentinel.masters
        confirmed = sentinel.confirmed(master)
        await sentinel.look()
        assert sentinel.confirmed(master) > confirmed
        await asyncio.to_thread(group.sentinels[0].start)


async def test_start_without_sentinels(group: SentinelGroup) -> None:
    """They are found when they come, the master with them."""
    await asyncio.to_thread(group.wait_until_settled)
    for node in group.sentinels:
        node.kill()
    async with asking(real(group), patience=1) as sentinel, following(sentinel):
        await until(lambda: "0 of 3 sentinels answer" in str(sentinel.problem), "they are away")
        assert sentinel.masters == ()
        for node in group.sentinels:
            await asyncio.to_thread(node.start)
        started = monotonic()
        await until(lambda: sentinel.masters, "the master is known")
        print(f"after the sentinels' start: {monotonic() - started:.2f} s")
        assert knows(sentinel, await asyncio.to_thread(group.master))

"""A switch of the master is followed, and a lost majority confirms nothing."""

import asyncio
from math import inf
from time import monotonic

import pytest

from csms_redis.redis.address import Address
from tests.support.sentinel_peers import (
    NEW,
    OLD,
    Fake,
    addresses,
    asking,
    following,
    masters,
    until,
)


async def test_lost_majority_keeps_the_master(three: list[Fake]) -> None:
    """Its confirmation gets old, and is renewed when the sentinels are back."""
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        (master,) = sentinel.masters
        lost = monotonic()
        await three[0].stop()
        await three[1].stop()
        for _ in range(3):
            await sentinel.look()
        assert sentinel.masters == (master,)
        assert sentinel.confirmed(master) < lost
        assert str(sentinel.problem).startswith("1 of 3 sentinels answers")
        await three[0].start()
        await sentinel.look()
        assert sentinel.problem is None
        assert sentinel.confirmed(master) > lost


async def test_a_minority_confirms_nothing(three: list[Fake]) -> None:
    """Nor does the old master count as confirmed when most know another, or none."""
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        (master,) = sentinel.masters
        lost = monotonic()
        three[0].master = NEW
        three[1].master = None
        await sentinel.look()
        assert sentinel.masters == (master,)
        assert sentinel.confirmed(master) < lost
        assert "disagree" in str(sentinel.problem)


async def test_switch_is_told_once(three: list[Fake]) -> None:
    told: list[tuple[Address, ...]] = []
    async with asking(addresses(three)) as sentinel:
        sentinel.changed.append(lambda _slots: told.append(sentinel.masters))
        await sentinel.look()
        for fake in three:
            fake.master = NEW
            await sentinel.look()
        await sentinel.look()
        assert told == [masters(OLD), masters(NEW)]
        assert sentinel.confirmed(masters(OLD)[0]) == -inf
        assert sentinel.confirmed(masters(NEW)[0]) > 0


@pytest.mark.usefixtures("no_poll")
async def test_message_makes_a_look(three: list[Fake]) -> None:
    """Those of other masters do not."""
    async with asking(addresses(three)) as sentinel, following(sentinel):
        await until(lambda: all(fake.subscribers for fake in three), "all are listened to")
        three[2].switch(OLD, name="other")
        await asyncio.sleep(0.2)
        assert [fake.questions for fake in three] == [1, 1, 1]
        for fake in three[:2]:
            fake.switch(NEW)
        await until(lambda: sentinel.masters == masters(NEW), "the switch is followed")


@pytest.mark.usefixtures("quick_poll")
async def test_listens_again(three: list[Fake]) -> None:
    """A sentinel that comes back is subscribed to as before."""
    async with asking(addresses(three)) as sentinel, following(sentinel):
        await until(lambda: all(fake.subscribers for fake in three), "all are listened to")
        await three[0].stop()
        await until(lambda: not three[0].subscribers, "it is gone")
        await three[0].start()
        await until(lambda: three[0].subscribers, "it is listened to again")


@pytest.mark.usefixtures("quick_poll")
async def test_asked_again_and_again(three: list[Fake]) -> None:
    """The sentinels are asked anew by each look, once: nothing is left to a library's retries."""
    for fake in three:
        fake.hangs_up = True
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        assert [fake.questions for fake in three] == [1, 1, 1]
        assert [fake.connections for fake in three] == [1, 1, 1]
        async with following(sentinel):
            await until(lambda: min(fake.questions for fake in three) >= 10, "they are asked")
            for fake in three:
                fake.hangs_up = False
            await until(lambda: sentinel.masters, "the master is found")


async def test_restarted_sentinel_is_asked_in_the_same_look(three: list[Fake]) -> None:
    """A connection that ended meanwhile is no reason to be without an answer."""
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        for fake in three:
            await fake.stop()
            await fake.start()
        await asyncio.sleep(0.05)  # until the ends have arrived
        await sentinel.look()
        assert [fake.questions for fake in three] == [2, 2, 2]


@pytest.mark.usefixtures("quick_poll")
@pytest.mark.parametrize("silent", [False, True])
async def test_cancelled(three: list[Fake], *, silent: bool) -> None:
    """Nothing is left behind, also not when the end comes in the middle of a look."""
    before = asyncio.all_tasks()
    three[1].silent = silent
    async with asking(addresses(three)) as sentinel:
        async with following(sentinel):
            await until(lambda: three[0].subscribers and three[1].open, "it is under way")
        await until(lambda: not any(fake.open for fake in three), "all connections are closed")
        assert asyncio.all_tasks() - before == set()

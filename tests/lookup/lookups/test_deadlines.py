"""How long who waits has to wait: for a slow Redis, and with others.

The other end of the read connection is the test (`wire`).
"""

import asyncio

import pytest

from csms_redis.lookup.lookups import Lookups
from tests.support.wire import (
    AWAY,
    FOUND,
    IN_FLIGHT,
    TIMEOUT,
    Client,
    Clock,
    Wire,
    connect,
    fill,
    invalidation,
    record,
    rests,
    short_lookups,
    station,
)


class TestDeadlines:
    """Each has a time of their own, and is answered in it."""

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
        lookups = short_lookups()
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
        lookups = short_lookups()
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

    async def test_many_who_wait_cost_nothing_until_their_time_is_over(
        self, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only the first in time are looked at; the end of all comes in portions."""
        many = 20_000
        lookups = short_lookups(max_in_flight=many)
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


@pytest.mark.parametrize("connected", [True, False])
async def test_one_that_fails_does_not_keep_others_waiting(connected: bool) -> None:  # noqa: FBT001 a case
    """Whoever asks next to it, or later, is answered in time."""
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))
    lookups = short_lookups()
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

"""What was under way when a connection ended, or is asked before the next is there.

The other end of the read connection is the test (`wire`).
"""

import asyncio

from csms_redis.lookup.lookups import Lookups
from tests.support.wire import (
    AWAY,
    FOUND,
    IN_FLIGHT,
    Client,
    Clock,
    Wire,
    connect,
    fill,
    invalidation,
    lease_of,
    record,
    rests,
    wire_of,
)


class TestReconnect:
    """Between two connections."""

    async def test_what_was_under_way_is_asked_again(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """A connection that breaks fails no lookup if the next one is quick."""
        client.ask("a")
        client.ask("b")
        await wire.sent()
        wire.receive(record(1))
        wire.lose()
        client.ask("b")
        client.ask("c")
        again = connect(lookups)

        assert await again.asked() == [b"cs:b", b"cs:c"]
        again.receive(record(1), record(2))
        assert client.take() == [FOUND[1], FOUND[1], FOUND[1], FOUND[2]]
        assert rests(lookups)

    async def test_a_detached_flight_stays_detached(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Asked again it answers those who waited, but fills nothing and is not joined."""
        client.ask("a")
        wire.receive(invalidation(b"cs:a"))
        wire.lose()
        again = connect(lookups)
        client.ask("a")
        assert await again.asked() == [b"cs:a", b"cs:a"]
        again.receive(record(1))
        assert client.take() == [FOUND[1]]
        assert len(lookups.cache) == 0

        again.receive(record(2))
        assert client.take() == [FOUND[2]]
        assert len(lookups.cache) == 1

    async def test_the_first_connection_is_waited_for(self, lookups: Lookups) -> None:
        """A lookup that comes right after the start is answered when Redis is reached."""
        client = Client(lookups)
        client.ask("a")
        await asyncio.sleep(0.01)
        wire = connect(lookups)
        wire.receive(record(1))

        assert client.take() == [FOUND[1]]

    async def test_long_after_the_loss_the_next_connection_is_waited_for(
        self, client: Client, wire: Wire, lookups: Lookups, clock: Clock
    ) -> None:
        """As long as for a reply, however often it was tried since."""
        wire.lose()
        clock.now += 3600
        failed = wire_of(lookups)
        failed.lose()
        client.ask("a")
        assert client.take() == []
        connect(lookups, at=clock.now).receive(record(1))

        assert client.take() == [FOUND[1]]
        assert rests(lookups)

    async def test_a_connection_that_is_not_the_current_one(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Its end means nothing to what the current one filled."""
        other = wire_of(lookups)
        await fill(client, wire, "a", record(1))
        other.lose()
        client.ask("a")

        assert lease_of(lookups) > 0
        assert client.take() == [FOUND[1]]

    async def test_asked_in_the_turn_of_the_loss(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """A command that had not left when the connection ended leaves with the next."""
        client.ask("a")
        wire.lose()
        await asyncio.sleep(0)

        assert await connect(lookups).asked() == [b"cs:a"]

    async def test_a_loss_in_the_middle_of_many(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Each lookup is answered once, in time, whatever became of its connection."""
        for number in range(IN_FLIGHT):
            client.ask(f"{number}")
        await wire.sent()
        wire.receive(record(1) * (IN_FLIGHT // 2))
        wire.lose()
        connect(lookups).lose()
        await client.answered(IN_FLIGHT)

        assert client.take() == [FOUND[1]] * (IN_FLIGHT // 2) + [AWAY] * (IN_FLIGHT // 2)
        assert rests(lookups)

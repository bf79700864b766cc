"""What is answered while Redis cannot be read.

The other end of the read connection is the test (`wire`).
"""

import asyncio

import pytest

from csms_redis.lookup.lookups import Lookups
from tests.support.wire import (
    AWAY,
    FOUND,
    LEASE,
    NO_RECORD,
    TIMEOUT,
    Client,
    Clock,
    Wire,
    connect,
    fill,
    invalidation,
    prove,
    record,
    rests,
    short_lookups,
    until,
)


class TestStaleIfError:
    """While Redis cannot be read."""

    async def test_what_was_cached_is_served_at_once(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """And what never was is answered 503 within the time-out."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        client.ask("b")
        client.ask("a")
        assert client.take() == [FOUND[1]]

        await client.answered(1)
        assert client.take() == [AWAY]
        assert rests(lookups)

    async def test_ends(self, client: Client, wire: Wire, lookups: Lookups, clock: Clock) -> None:
        """After `stale_if_error` seconds: it waits as what was never known, and then 503."""
        await fill(client, wire, "a", record(1))
        prove(lookups, wire, at=clock.now)
        wire.lose()
        clock.now += 3599
        client.ask("a")
        clock.now += 1.1
        client.ask("a")
        assert client.take() == [FOUND[1]]
        clock.now += TIMEOUT
        lookups._deadlines.sweep()

        assert client.take() == [AWAY]

    async def test_never_a_negative(self, client: Client, wire: Wire, lookups: Lookups) -> None:
        """That a station was unknown says nothing when Redis is away, nor after it."""
        await fill(client, wire, "a", NO_RECORD)
        wire.lose()
        client.ask("a")
        assert client.take() == []

        again = connect(lookups)
        again.receive(record(1))
        assert client.take() == [FOUND[1]]

    async def test_unknown_after_a_reconnect(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """What was created meanwhile is found: its invalidation was never heard."""
        await fill(client, wire, "a", NO_RECORD)
        wire.lose()

        assert await fill(client, connect(lookups), "a", record(1)) == FOUND[1]

    async def test_never_what_was_invalidated(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Not by this connection nor by a later one."""
        for cs_id in "ab":
            await fill(client, wire, cs_id, record(1))
        wire.receive(invalidation(b"cs:a"))
        wire.lose()
        again = connect(lookups)
        again.receive(invalidation(b"cs:b"))
        again.lose()
        for cs_id in "ab":
            client.ask(cs_id)
        await client.answered(2)

        assert client.take() == [AWAY, AWAY]

    async def test_never_what_is_found_gone(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Deleted or replaced by something else while Redis was away."""
        for cs_id in "ab":
            await fill(client, wire, cs_id, record(1))
        wire.lose()
        again = connect(lookups)
        await fill(client, again, "a", NO_RECORD)
        await fill(client, again, "b", b"-WRONGTYPE no\r\n")
        again.lose()

        assert len(lookups.cache) == 0

    async def test_fresh_is_read_again_after_a_reconnect(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """A stale answer is not served while Redis can be read."""
        await fill(client, wire, "a", record(1))
        wire.lose()

        assert await fill(client, connect(lookups), "a", record(2)) == FOUND[2]

    async def test_the_lease_ends_before_the_loss_is_seen(
        self, client: Client, wire: Wire, lookups: Lookups, clock: Clock
    ) -> None:
        """Who asked in between is answered as soon as it is, not at the time-out."""
        await fill(client, wire, "a", record(1))
        clock.now += LEASE + 0.1
        client.ask("a")
        assert await wire.asked() == [b"cs:a"]
        wire.lose()
        await asyncio.sleep(0)

        assert client.take() == [FOUND[1]]
        assert await connect(lookups).asked() == [], "nobody waits for it any more"

    @pytest.mark.parametrize(("stale_if_error", "answer"), [(10, FOUND[1]), (2, AWAY)])
    async def test_a_lease_that_ended_counts_as_away(
        self, stale_if_error: float, answer: tuple[int, bytes], clock: Clock
    ) -> None:
        """Nobody answers and nothing says that the connection is lost: as stale, as long."""
        lookups = short_lookups(stale_if_error=stale_if_error)
        client, wire = Client(lookups), connect(lookups, at=clock.now)
        await fill(client, wire, "a", record(1))
        clock.now += LEASE + 0.1
        client.ask("a")
        clock.now += TIMEOUT
        await client.answered(1)

        assert client.take() == [answer]

    async def test_is_read_again_after_the_loss(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Nobody told of what was changed and deleted meanwhile: at the next loss it is known."""
        for cs_id in "abc":
            await fill(client, wire, cs_id, record(1))
        wire.lose()
        again = connect(lookups)
        rereading = asyncio.create_task(lookups.events.reread_stale())
        assert await again.asked() == [b"cs:a", b"cs:b", b"cs:c"]
        client.ask("c")
        assert await again.asked() == [], "who asks meanwhile joins"
        again.receive(record(2), NO_RECORD, record(1))
        await rereading
        assert client.take() == [FOUND[1]]
        again.lose()
        for cs_id in "ab":
            client.ask(cs_id)
        await client.answered(2)

        assert client.take() == [FOUND[2], AWAY]
        assert rests(lookups)

    async def test_is_not_read_again_where_nothing_is_kept(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """A server that does not tell of changes is read for each lookup anyway."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        again = connect(lookups, tracked=False)
        await lookups.events.reread_stale()

        assert await again.asked() == []

    async def test_rereading_ends_with_the_connection(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Those who joined are answered from what is stale, and nothing is under way."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        again = connect(lookups)
        await lookups.events.reread_stale()
        client.ask("a")
        again.lose()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert client.take() == [FOUND[1]]
        await until(lambda: lookups._deadlines.timer is None)
        assert rests(lookups)
        assert lookups._deadlines.timer is None

"""One read of Redis for all who wait for the same record.

The other end of the read connection is the test (`wire`).
"""

import asyncio

import pytest

from csms_redis.contract.errors import (
    NotFound,
)
from csms_redis.lookup.lookups import Lookups
from csms_redis.registry.stations import STATION
from tests.support.wire import (
    AWAY,
    FOUND,
    IN_FLIGHT,
    NO_RECORD,
    NOT_FOUND,
    PROFILE,
    Client,
    Clock,
    Wire,
    array,
    connect,
    fill,
    outcome,
    record,
    rests,
    short_lookups,
)


class TestFlights:
    """One read of Redis for all who wait for the same record."""

    async def test_reads_the_record(self, client: Client, wire: Wire, lookups: Lookups) -> None:
        """One HMGET of the fields that an answer may show; the answer is kept."""
        client.ask("a")
        assert await wire.sent() == [
            [
                b"HMGET",
                b"cs:a",
                b"securityProfile",
                b"base64SHA256Password",
                b"invalidUsernameAllowed",
                b"registrationStatus",
            ]
        ]
        wire.receive(record(1))
        client.ask("a")

        assert client.take() == [FOUND[1], FOUND[1]]
        assert await wire.sent() == []
        assert rests(lookups)

    async def test_is_joined(self, client: Client, wire: Wire) -> None:
        """A key on its way is not asked for again."""
        for _ in range(5):
            client.ask("a")
        client.ask("b")
        assert await wire.asked() == [b"cs:a", b"cs:b"]
        client.ask("a")
        assert await wire.asked() == []
        wire.receive(record(1), record(2))

        assert client.take() == [FOUND[1]] * 6 + [FOUND[2]]

    async def test_unknown_is_remembered(self, client: Client, wire: Wire) -> None:
        """For its time, under the lease."""
        assert await fill(client, wire, "a", NO_RECORD) == NOT_FOUND
        client.ask("a")

        assert client.take() == [NOT_FOUND]
        assert await wire.asked() == []

    async def test_unknown_expires(self, clock: Clock) -> None:
        """After `unknown_ttl` Redis is asked again."""
        lookups = short_lookups(unknown_ttl=1)
        client, wire = Client(lookups), connect(lookups)
        await fill(client, wire, "a", NO_RECORD)
        clock.now += 1.01

        assert await fill(client, wire, "a", record(1)) == FOUND[1]

    async def test_rejected_is_unknown(self, client: Client, wire: Wire, lookups: Lookups) -> None:
        """A blocked station is answered 404, and its block is not kept as a record."""
        rejected = array(b"1", None, None, b'"Rejected"')

        assert await fill(client, wire, "a", rejected) == NOT_FOUND
        assert len(lookups.cache) == 0

    async def test_no_id_needs_no_redis(self, lookups: Lookups) -> None:
        """What cannot be an id is not found, also without a connection."""
        with pytest.raises(NotFound):
            await lookups.find(STATION, None)

    async def test_the_number_in_flight_is_bounded(self, client: Client, wire: Wire) -> None:
        """Beyond it 503 at once; who joins is not counted."""
        for number in range(IN_FLIGHT):
            client.ask(f"{number}")
        client.ask("one too many")
        assert client.take() == [AWAY]

        client.ask("0")
        wire.receive(record(1) * IN_FLIGHT)
        assert client.take() == [FOUND[1]] * (IN_FLIGHT + 1)

    async def test_nothing_is_kept_without_tracking(self) -> None:
        """With `cache_entries = 0` each lookup reads Redis."""
        lookups = short_lookups(cache_entries=0)
        client, wire = Client(lookups), connect(lookups, tracked=False)
        for reply, answer in ((record(1), FOUND[1]), (record(2), FOUND[2]), (NO_RECORD, NOT_FOUND)):
            assert await fill(client, wire, "a", reply) == answer
            assert await fill(client, wire, "b", reply) == answer

        assert not lookups.caches
        assert len(lookups.cache) == 0
        assert not any(source.unknown.until for source in lookups.sources.all)

    async def test_find_gives_the_body(self, lookups: Lookups, wire: Wire) -> None:
        """The aiohttp handlers' way to the same answers."""
        finding = [asyncio.create_task(lookups.find(STATION, name)) for name in ("a", "a", "b")]
        assert await wire.asked() == [b"cs:a", b"cs:b"]
        wire.receive(record(1), NO_RECORD)

        assert [await outcome(each) for each in finding] == [PROFILE[1], PROFILE[1], NotFound]

    async def test_a_cancelled_waiter_harms_no_other(self, lookups: Lookups, wire: Wire) -> None:
        """The flight goes on, and its answer is kept."""
        leaving, staying = (asyncio.create_task(lookups.find(STATION, "a")) for _ in range(2))
        assert await wire.asked() == [b"cs:a"]
        leaving.cancel()
        await asyncio.sleep(0)
        wire.receive(record(1))

        assert leaving.cancelled()
        assert await staying == PROFILE[1]
        assert len(lookups.cache) == 1
        assert rests(lookups)

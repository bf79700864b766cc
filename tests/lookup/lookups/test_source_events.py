"""Nothing is answered that is older than what Redis, or an own write, has told.

The other end of the read connection is the test (`wire`).
"""

import asyncio

import pytest

from csms_redis.contract.errors import (
    BadRequest,
    NotFound,
    OutcomeUnknown,
    Problem,
    Unavailable,
)
from csms_redis.lookup.lookups import Lookups
from csms_redis.registry.stations import STATION
from csms_redis.settings import LookupSettings
from tests.support.wire import (
    AWAY,
    FOUND,
    NO_RECORD,
    NOT_FOUND,
    Client,
    Wire,
    connect,
    fill,
    invalidation,
    make_lookups,
    record,
    rests,
)


class TestCoherence:
    """Nothing older than what Redis has told."""

    async def test_an_invalidation_drops_the_answer(self, client: Client, wire: Wire) -> None:
        """The next lookup reads Redis."""
        await fill(client, wire, "a", record(1))
        wire.receive(invalidation(b"cs:b", b"cs:a", b"token:A", b"other:a", b"cs:\xff"))

        assert await fill(client, wire, "a", record(2)) == FOUND[2]

    async def test_a_creation_drops_the_unknown(self, client: Client, wire: Wire) -> None:
        """It is found at once, not when the memory of its absence ends."""
        await fill(client, wire, "a", NO_RECORD)
        wire.receive(invalidation(b"cs:a"))

        assert await fill(client, wire, "a", record(1)) == FOUND[1]

    @pytest.mark.parametrize("push", [invalidation(b"cs:a"), invalidation()])
    async def test_an_invalidation_detaches_the_flight(
        self, push: bytes, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Who waited gets the older answer, who comes later does not, and it is not kept."""
        client.ask("a")
        assert await wire.asked() == [b"cs:a"]
        wire.receive(push)
        client.ask("a")
        assert await wire.asked() == [b"cs:a"]

        wire.receive(record(1))
        assert client.take() == [FOUND[1]]
        assert len(lookups.cache) == 0

        wire.receive(record(2))
        client.ask("a")
        assert client.take() == [FOUND[2], FOUND[2]]
        assert rests(lookups)

    async def test_a_push_between_reply_and_read(self, client: Client, wire: Wire) -> None:
        """Reply, invalidation, reply in one piece: the second is the one that stays."""
        client.ask("a")
        client.ask("b")
        await wire.sent()
        wire.receive(record(1), invalidation(b"cs:a"), record(1))
        client.take()

        assert await fill(client, wire, "a", record(2)) == FOUND[2]
        client.ask("b")
        assert client.take() == [FOUND[1]]

    @pytest.mark.parametrize(
        "error",
        [
            None,
            OutcomeUnknown("it may have been applied"),
            NotFound("someone else removed it"),
            KeyError(),
            asyncio.CancelledError(),
        ],
    )
    async def test_an_own_write_forgets(
        self, error: BaseException | None, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Before it is answered, when it may have been applied; a flight of before fills not."""
        await fill(client, wire, "a", record(1))
        try:
            with lookups.changing(STATION, "a"):
                lookups.events.forget(
                    b"/api/v0/cs/a/auth", b"cs:a"
                )  # as if evicted: a read is under way
                client.ask("a")
                assert await wire.asked() == [b"cs:a"]
                if error is not None:
                    raise error
        except (Unavailable, NotFound, KeyError, asyncio.CancelledError):
            assert error is not None
        client.ask("a")
        assert await wire.asked() == [b"cs:a"]
        wire.receive(record(1), record(2))
        client.ask("a")

        assert client.take() == [FOUND[1], FOUND[2], FOUND[2]]

    async def test_a_fill_during_an_own_write_is_forgotten(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """It may have been read before the write."""
        with lookups.changing(STATION, "a"):
            await fill(client, wire, "a", record(1))

        assert await fill(client, wire, "a", record(2)) == FOUND[2]

    async def test_an_own_write_forgets_the_stale(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Its fate unknown and Redis away: 503 rather than what may be blocked."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        with pytest.raises(OutcomeUnknown), lookups.changing(STATION, "a"):
            raise OutcomeUnknown("its fate is unknown")
        client.ask("a")
        await client.answered(1)

        assert client.take() == [AWAY]

    @pytest.mark.parametrize(
        "error", [Unavailable("nothing was changed"), BadRequest("nothing was sent")]
    )
    async def test_an_own_write_that_changed_nothing_forgets_nothing(
        self, error: Problem, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Neither the fresh nor the unknown nor the stale; a read under way still fills."""
        await fill(client, wire, "a", record(1))
        await fill(client, wire, "b", NO_RECORD)
        client.ask("c")
        await wire.sent()
        for name in ("a", "b", "c"):
            with pytest.raises(type(error)), lookups.changing(STATION, name):
                raise error
        wire.receive(record(2))
        for name in ("a", "b", "c"):
            client.ask(name)
        assert client.take() == [FOUND[2], FOUND[1], NOT_FOUND, FOUND[2]]

        wire.lose()
        with pytest.raises(type(error)), lookups.changing(STATION, "a"):
            raise error
        client.ask("a")
        assert client.take() == [FOUND[1]]

    async def test_flushall_forgets_everything(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Fresh, stale and unknown."""
        await fill(client, wire, "a", record(1))
        wire.lose()
        again = connect(lookups)
        await fill(client, again, "b", record(1))
        await fill(client, again, "c", NO_RECORD)
        again.receive(invalidation())

        assert len(lookups.cache) == 0
        assert not any(source.unknown.until for source in lookups.sources.all)

    async def test_a_key_prefix(self) -> None:
        """Keys behind it are ours, the same names elsewhere are not."""
        lookups = make_lookups(LookupSettings(), b"de%v:")
        client, wire = Client(lookups), connect(lookups)
        client.ask("a")
        assert await wire.asked() == [b"de%v:cs:a"]
        wire.receive(record(1), invalidation(b"cs:a", b"x", b"de%v:cs:b"))
        client.ask("a")
        assert client.take() == [FOUND[1], FOUND[1]]

        wire.receive(invalidation(b"de%v:cs:a"))
        client.ask("a")
        assert await wire.asked() == [b"de%v:cs:a"]
        wire.receive(record(2))
        assert client.take() == [FOUND[2]]

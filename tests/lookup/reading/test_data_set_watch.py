"""When an identity is the same, was renewed, or is another data set's."""

import asyncio

import pytest

from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.data_set_watch import DataSetWatch
from csms_redis.lookup.reading.read_connection import ReadConnection
from csms_redis.settings import LookupSettings
from tests.support.wire import Wire, bulk, invalidation, make_lookups

KEY = b"p:dataset"
ASKED = [[b"GET", KEY]]
PUSH = invalidation(b"p:cs:a", KEY)
NOBODYS = b"-NOPERM no permissions to access one of the keys\r\n"
MOVED = b"-MOVED 1 host.test:6379\r\n"
FOREIGN = b"-WRONGTYPE not a string\r\n"


class Probes:
    """A watch, and a Redis that answers it as a test says."""

    def __init__(self, lookups: Lookups, db: int = 0) -> None:
        self.watch = DataSetWatch(KEY, db)
        self.own: bytes | None = None

        def invalidated(connection: ReadConnection, keys: list[bytes] | None) -> None:
            del connection
            self.watch.invalidated(keys)

        self.wire = Wire(
            ReadConnection(
                invalidated=invalidated, caught_up=lookups.flights.deliver, lost=lookups.events.lost
            )
        )

    async def see(self, *received: bytes, again: tuple[bytes, ...] = ()) -> bool:
        """Whether what is received after a question is another data set's.

        Args:
            received: after the question of the probe.
            again: after a second question, which is to come only then.
        """
        self.watch.ask(self.wire.connection)
        assert await self.wire.sent() == ASKED
        self.wire.receive(*received)
        judging = asyncio.create_task(self.watch.is_another(self.wire.connection, self.own))
        assert await self.wire.sent() == (ASKED if again else [])
        if again:
            self.wire.receive(*again)
        return await judging


def marks(*names: str) -> bytes:
    return bulk(" ".join(f"{name:0>16}@0" for name in names).encode())


NONE = bulk(None)


@pytest.fixture
async def probes() -> Probes:
    return Probes(make_lookups(LookupSettings()))


async def test_the_first_is_no_other(probes: Probes) -> None:
    assert not await probes.see(marks("a"))
    assert not await probes.see(marks("a"))


async def test_renewed(probes: Probes) -> None:
    """By one and by several; the push comes before, or after the reply of its own turn."""
    assert not await probes.see(marks("a"))
    assert not await probes.see(PUSH, marks("b", "a"))
    assert not await probes.see(PUSH, PUSH, marks("d", "c", "b", "a"))
    assert not await probes.see(marks("e", "d", "c"), again=(PUSH, marks("e", "d", "c")))
    assert not await probes.see(marks("e", "d", "c"), PUSH)


async def test_swapped_there_and_back(probes: Probes) -> None:
    """No command has changed the key, so what has the mark is another data set all the same."""
    assert not await probes.see(marks("b", "a"))
    assert await probes.see(marks("a"))
    assert await probes.see(marks("b", "a"), again=(marks("b", "a"),))
    assert not await probes.see(marks("b", "a"))


async def test_a_renewal_that_is_told_again_is_no_proof(probes: Probes) -> None:
    """What was told before the last probe says nothing of now."""
    assert not await probes.see(marks("a"))
    assert not await probes.see(PUSH, marks("b", "a"))
    assert await probes.see(marks("a"))
    assert await probes.see(marks("b", "a"), again=(marks("b", "a"),))


async def test_a_copy_of_another_database(probes: Probes) -> None:
    """It was renewed there, of which Redis tells everyone, whatever database they read."""
    assert not await probes.see(marks("a"))
    copy = bulk(b"000000000000000b@1 000000000000000a@0")
    assert await probes.see(PUSH, copy)
    assert not await probes.see(PUSH, copy)


async def test_unknown_marks(probes: Probes) -> None:
    assert not await probes.see(marks("a"))
    assert await probes.see(PUSH, marks("b"))
    assert await probes.see(PUSH, marks("c", "a"))


@pytest.mark.parametrize("reply", [NONE, FOREIGN, bulk(b""), bulk(b"theirs")])
async def test_none_or_a_foreign_one_after_one(reply: bytes, probes: Probes) -> None:
    """Once: nothing more is known then."""
    assert not await probes.see(marks("a"))
    assert await probes.see(PUSH, reply)
    assert probes.watch.is_missing == (reply == NONE)
    assert not await probes.see(reply)
    assert await probes.see(PUSH, marks("a"))


async def test_one_after_none(probes: Probes) -> None:
    """The same only if this process has put it there."""
    assert not await probes.see(NONE)
    probes.own = b"000000000000000a@0"
    assert not await probes.see(PUSH, marks("b", "a"))
    assert await probes.see(NONE)
    assert await probes.see(PUSH, marks("c"))


@pytest.mark.parametrize("reply", [NOBODYS, MOVED, b":1\r\n"])
async def test_what_cannot_be_read_is_not_missing(reply: bytes, probes: Probes) -> None:
    assert not await probes.see(reply)
    assert not await probes.see(marks("a"))
    assert not await probes.see(reply)
    assert (probes.watch.problem == "NOPERM") == (reply == NOBODYS)
    assert not probes.watch.is_missing
    assert not await probes.see(marks("a"))
    assert not await probes.see(marks("b", "a"), again=(reply,))
    assert not await probes.see(PUSH, marks("b", "a"))


async def test_not_asked_for(probes: Probes) -> None:
    """A master that does not have it says nothing of it."""
    assert not await probes.watch.is_another(probes.wire.connection, None)
    assert not probes.watch.is_missing

"""The read connection, fed byte by byte."""

import asyncio
from typing import Any

import pytest

from csms_redis.lookup.reading.read_connection import (
    ConnectionBroken,
    ReadConnection,
    ReadError,
    encode,
)
from tests.support.wire import Wire, array, bulk, invalidation

PUSH = invalidation(b"cs:a", b"cs:b")
ATTRIBUTE = b"|2\r\n" + b"".join(map(bulk, (b"ttl", b"3600", b"popularity", b"0.5")))


class Owner:
    """Keeps what a connection reports."""

    def __init__(self) -> None:
        self.invalidated: list[list[bytes] | None] = []
        self.lost: list[ReadConnection] = []
        self.wire = Wire(
            ReadConnection(
                invalidated=lambda _, keys: self.invalidated.append(keys),
                caught_up=lambda: None,
                lost=self.lost.append,
            )
        )


class Waiter:
    """Waits for a reply, and can do something with it."""

    deadline = 0.0

    def __init__(self, log: list[Any], connection: ReadConnection | None = None) -> None:
        self._log = log
        self._aborted = connection

    def replied(self, reply: Any) -> None:
        self._log.append(reply)
        if self._aborted is not None:
            self._aborted.abort()


@pytest.fixture
async def owner() -> Owner:
    return Owner()


async def test_commands_of_one_turn_leave_in_one_write(owner: Owner) -> None:
    """In the order in which they were given."""
    writes: list[bytes] = []
    owner.wire.transport.write = writes.append  # type: ignore[assignment,method-assign]
    for number in range(3):
        owner.wire.connection.send(encode("GET", number), Waiter([]))
    await asyncio.sleep(0)

    assert [b"".join(encode("GET", number) for number in range(3))] == writes


async def test_replies_go_to_those_who_asked_in_order(owner: Owner) -> None:
    """Whatever kind of reply it is."""
    replies: list[Any] = []
    for _ in range(4):
        owner.wire.connection.send(encode("PING"), Waiter(replies))
    owner.wire.receive(b"+PONG\r\n", array(b"1", None), b":7\r\n", b"_\r\n")

    assert replies == [b"PONG", [b"1", None], 7, None]


@pytest.mark.parametrize("cut", range(1, len(array(b"1", None) + PUSH + array(b"2"))))
async def test_a_reply_cut_anywhere(owner: Owner, cut: int) -> None:
    """Two pieces give what one gives: reply, push, reply."""
    whole = array(b"1", None) + PUSH + array(b"2")
    log: list[Any] = owner.invalidated
    owner.wire.connection.send(b"", Waiter(log))
    owner.wire.connection.send(b"", Waiter(log))
    owner.wire.receive(whole[:cut])
    owner.wire.receive(whole[cut:])

    assert log == [[b"1", None], [b"cs:a", b"cs:b"], [b"2"]]


async def test_replies_byte_by_byte(owner: Owner) -> None:
    """The same when each byte comes alone."""
    log: list[Any] = owner.invalidated
    owner.wire.connection.send(b"", Waiter(log))
    owner.wire.connection.send(b"", Waiter(log))
    for byte in array(b"1", None) + PUSH + array(b"2"):
        owner.wire.receive(bytes([byte]))

    assert log == [[b"1", None], [b"cs:a", b"cs:b"], [b"2"]]


async def test_a_push_without_keys_means_all(owner: Owner) -> None:
    """Redis says so after FLUSHALL."""
    owner.wire.receive(invalidation())

    assert owner.invalidated == [None]


async def test_an_unknown_push_is_no_reply(owner: Owner) -> None:
    """It is passed over, and the replies still find those who asked."""
    replies: list[Any] = []
    owner.wire.connection.send(b"", Waiter(replies))
    owner.wire.receive(array(b"pubsub", b"x", kind=b">"), b":1\r\n", array(b"new", kind=b">"))

    assert replies == [1]
    assert owner.invalidated == []
    assert not owner.wire.transport.aborted


@pytest.mark.parametrize(
    "push",
    [
        b">0\r\n",
        b">1\r\n_\r\n",
        b">2\r\n:1\r\n*1\r\n$4\r\ncs:a\r\n",
        array(b"invalidate", kind=b">"),
        array(b"invalidate", b"cs:a", kind=b">"),
        array(b"invalidate", None, b"cs:a", kind=b">"),
        b">2\r\n" + bulk(b"invalidate") + b":5\r\n",
        b">2\r\n" + bulk(b"invalidate") + b"*2\r\n$4\r\ncs:a\r\n_\r\n",
        b">2\r\n" + bulk(b"invalidate") + b"*1\r\n*0\r\n",
    ],
)
async def test_a_push_that_makes_no_sense_closes(push: bytes, owner: Owner) -> None:
    """What it was to say is not known, so nothing that was read is to be believed."""
    replies: list[Any] = []
    owner.wire.connection.send(b"", Waiter(replies))
    owner.wire.receive(push, b":1\r\n")

    assert [ConnectionBroken] == [type(reply) for reply in replies]
    assert owner.invalidated == []
    assert owner.wire.transport.aborted


@pytest.mark.parametrize("cut", range(len(ATTRIBUTE) + 4))
async def test_an_attribute_closes(cut: int, owner: Owner) -> None:
    """It is no reply, though one of four strings: each would get the one of who asked before."""
    replies: list[Any] = []
    for _ in range(3):
        owner.wire.connection.send(b"", Waiter(replies))
    whole = b":1\r\n" + ATTRIBUTE + b":2\r\n"
    owner.wire.receive(whole[:cut] or b":")
    owner.wire.receive(whole[cut or 1 :])

    assert [int, ConnectionBroken, ConnectionBroken] == [type(reply) for reply in replies]
    assert owner.wire.transport.aborted


async def test_an_attribute_within_a_reply_closes(owner: Owner) -> None:
    """As before one."""
    replies: list[Any] = []
    owner.wire.connection.send(b"", Waiter(replies))
    owner.wire.receive(b"*2\r\n" + ATTRIBUTE + b":1\r\n:2\r\n")

    assert [ConnectionBroken] == [type(reply) for reply in replies]
    assert owner.wire.transport.aborted


VALUES = (b"|", b"\n|2\r\n", b"a|b\n|", b"\r\n|")


@pytest.mark.parametrize("cut", range(1, len(array(*VALUES))))
async def test_a_value_may_look_like_an_attribute(cut: int, owner: Owner) -> None:
    """Wherever the pieces begin."""
    replies: list[Any] = []
    for _ in range(2):
        owner.wire.connection.send(b"", Waiter(replies))
    whole = array(*VALUES)
    owner.wire.receive(whole[:cut])
    owner.wire.receive(whole[cut:], b"+|\r\n")

    assert replies == [[*VALUES], b"|"]
    assert not owner.wire.transport.aborted


async def test_one_that_fails_leaves_nobody_waiting(owner: Owner) -> None:
    """The failure is told, and whoever waited hears that there will be no reply."""
    replies: list[Any] = []

    class Failing(Waiter):
        def replied(self, reply: Any) -> None:
            super().replied(reply)
            if reply == 1:
                raise RuntimeError

    owner.wire.connection.send(b"", Failing(replies))
    owner.wire.connection.send(b"", Waiter(replies))
    with pytest.raises(RuntimeError):
        owner.wire.receive(b":1\r\n:2\r\n")

    assert [int, ConnectionBroken, ConnectionBroken] == [type(reply) for reply in replies]
    assert owner.wire.transport.aborted


async def test_an_error_fails_its_own_read_only(owner: Owner) -> None:
    """The next one gets its reply."""
    replies: list[Any] = []
    owner.wire.connection.send(b"", Waiter(replies))
    owner.wire.connection.send(b"", Waiter(replies))
    owner.wire.receive(b"-WRONGTYPE Operation against a key\r\n:1\r\n")

    assert replies[0].code == "WRONGTYPE"
    assert replies[1] == 1
    assert not owner.wire.transport.aborted


@pytest.mark.parametrize(("text", "code"), [("READONLY You can't", "READONLY"), ("", "ERR")])
def test_the_code_of_an_error(text: str, code: str) -> None:
    """Its first word; an error without one is an ERR."""
    assert code == ReadError(text).code


async def test_a_violation_of_the_protocol_closes(owner: Owner) -> None:
    """What came before it counts; all that still waited are told, once."""
    replies: list[Any] = []
    for _ in range(3):
        owner.wire.connection.send(b"", Waiter(replies))
    owner.wire.receive(b":1\r\nHTTP/1.1 400 Bad Request\r\n\r\n:2\r\n")
    owner.wire.receive(b":3\r\n")
    owner.wire.lose()

    assert [int, ConnectionBroken, ConnectionBroken] == [type(reply) for reply in replies]
    assert owner.wire.transport.aborted
    assert [owner.wire.connection] == owner.lost
    assert owner.wire.connection.ended.is_set()


async def test_a_reply_that_nobody_asked_for_closes(owner: Owner) -> None:
    """From there on it would be somebody else's reply."""
    owner.wire.receive(b":1\r\n")

    assert owner.wire.transport.aborted
    assert [owner.wire.connection] == owner.lost


async def test_the_owner_hears_of_a_loss_before_those_who_wait(owner: Owner) -> None:
    """So that they find no connection when they ask again."""
    log: list[Any] = owner.lost
    owner.wire.connection.send(b"", Waiter(log))
    owner.wire.lose()

    assert owner.wire.connection is log[0]
    assert isinstance(log[1], ConnectionBroken)


async def test_after_an_abort_nothing_is_believed(owner: Owner) -> None:
    """Neither what was received in the same piece, nor what arrives later."""
    replies: list[Any] = []
    connection = owner.wire.connection
    connection.send(b"", Waiter(replies, connection))
    connection.send(b"", Waiter(replies))
    connection.send(b"", Waiter(replies))
    owner.wire.receive(b":1\r\n:2\r\n")
    owner.wire.receive(b":3\r\n")

    assert [int, ConnectionBroken, ConnectionBroken] == [type(reply) for reply in replies]
    assert [connection] == owner.lost


async def test_who_asks_a_dead_connection_is_told(owner: Owner) -> None:
    """At the end of the turn, and by nothing that arrives late."""
    replies: list[Any] = []
    owner.wire.lose()
    owner.wire.connection.send(b"", Waiter(replies))
    owner.wire.receive(b":1\r\n")
    await asyncio.sleep(0)

    assert [ConnectionBroken] == [type(reply) for reply in replies]
    assert not owner.wire.connection.pending


async def test_who_asks_in_the_turn_of_the_loss_is_told_once(owner: Owner) -> None:
    """The command that had not left yet fails with the others."""
    replies: list[Any] = []
    owner.wire.connection.send(b"", Waiter(replies))
    owner.wire.lose()
    await asyncio.sleep(0)

    assert [ConnectionBroken] == [type(reply) for reply in replies]


async def test_a_call_gives_the_reply(owner: Owner) -> None:
    """As a value, or as an exception where it is an error."""
    good = asyncio.create_task(owner.wire.connection.call("GET", "a"))
    bad = asyncio.create_task(owner.wire.connection.call("GET", b"b", 1))

    assert await owner.wire.sent() == [[b"GET", b"a"], [b"GET", b"b", b"1"]]

    owner.wire.receive(b":1\r\n-NOPERM no\r\n")
    assert await good == 1
    with pytest.raises(ReadError, match="NOPERM"):
        await bad


async def test_a_cancelled_call_keeps_its_place(owner: Owner) -> None:
    """Its reply goes nowhere, the next one to the next caller."""
    first = asyncio.create_task(owner.wire.connection.call("GET", "a"))
    second = asyncio.create_task(owner.wire.connection.call("GET", "b"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    owner.wire.receive(b":1\r\n:2\r\n")

    assert await second == 2
    assert first.cancelled()

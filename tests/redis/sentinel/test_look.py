"""What one look at the sentinels finds: the master on which most agree, or why there is none."""

import asyncio
from math import inf
from time import monotonic

import pytest
from structlog.testing import capture_logs

from csms_redis.redis.address import Address
from tests.support.sentinel_peers import HOST, NEW, OLD, SECRET, Fake, addresses, asking, masters
from tests.support.topologies.node import free_port


async def test_all_agree(three: list[Fake]) -> None:
    """The master is what the template says, at the address on which they agree."""
    async with asking(addresses(three), db=3, username="u", password=SECRET) as sentinel:
        assert sentinel.owner(b"any") is None
        before = monotonic()
        await sentinel.look()
        expected = Address(host=OLD[0], port=OLD[1], db=3, username="u", password=SECRET)
        assert sentinel.masters == (expected,)
        assert sentinel.owner(b"any") == expected
        assert sentinel.problem is None
        assert before <= sentinel.confirmed(expected) <= monotonic()
        assert sentinel.confirmed(Address(host=NEW[0], port=NEW[1])) == -inf


async def test_one_connection_is_kept(three: list[Fake]) -> None:
    async with asking(addresses(three)) as sentinel:
        for _ in range(5):
            await sentinel.look()
    assert [fake.connections for fake in three] == [1, 1, 1]
    assert [fake.questions for fake in three] == [5, 5, 5]


async def test_a_majority_is_enough(three: list[Fake]) -> None:
    """One of three is behind."""
    three[0].master = NEW
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(OLD)
        assert sentinel.problem is None


async def test_one_of_three_is_no_majority(three: list[Fake]) -> None:
    await three[0].stop()
    await three[1].stop()
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        assert sentinel.masters == ()
        assert sentinel.problem is not None
        assert sentinel.problem.startswith("1 of 3 sentinels answers, 2 must agree; 127.0.0.1:")
        assert sentinel.problem.endswith(" cannot be reached: connection refused")


async def test_disagreement(three: list[Fake]) -> None:
    three[0].master = NEW
    three[2].master = None
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        assert sentinel.masters == ()
        assert sentinel.problem == (
            "the sentinels disagree, 2 of 3 must agree: "
            "10.0.0.1:6379 (1), 10.0.0.2:6380 (1), none (1)"
        )


async def test_silent_sentinel(three: list[Fake]) -> None:
    """It costs the look that finds it out its time, and no other one."""
    three[1].silent = True
    async with asking(addresses(three), patience=0.5) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(OLD)
        assert sentinel.problem is None
        silent = three[1].connections
        for _ in range(20):
            await sentinel.look()
        # had each waited, it would have been asked anew each time
        assert three[1].connections - silent < 20
        assert three[0].questions == 21
        three[1].silent = False
        while not three[1].questions:
            await sentinel.look()
            await asyncio.sleep(0.01)


async def test_all_silent(three: list[Fake]) -> None:
    for fake in three:
        fake.silent = True
    async with asking(addresses(three), patience=0.1) as sentinel:
        await sentinel.look()
        assert str(sentinel.problem).startswith("0 of 3 sentinels answer, 2 must agree; ")
        assert str(sentinel.problem).endswith(" does not answer")


async def test_unknown_name(three: list[Fake]) -> None:
    async with asking(addresses(three), name="other") as sentinel:
        await sentinel.look()
        assert sentinel.problem == "the sentinels know no master called other"
        assert sentinel.masters == ()


@pytest.mark.parametrize(
    ("password", "reason"),
    [(SECRET, "refuses the user or the password"), (None, "wants a password")],
)
async def test_password(three: list[Fake], password: str | None, reason: str) -> None:
    """What is wrong with it is told, and never the password, though the server quotes it."""
    for fake in three:
        fake.password = "other"
    own = [Address(host=HOST, port=fake.port, password=password) for fake in three]
    with capture_logs() as logs:
        async with asking(own) as sentinel:
            await sentinel.look()
            assert str(sentinel.problem).endswith(reason)
            assert SECRET not in f"{logs}{sentinel.problem}{sentinel}{vars(sentinel)}"


async def test_right_password_for_those_discovered_too(three: list[Fake]) -> None:
    for fake in three:
        fake.password = SECRET
    async with asking([Address(host=HOST, port=three[0].port, password=SECRET)]) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(OLD)


async def test_not_a_sentinel() -> None:
    """Whatever answers there, nothing is raised."""
    answers = iter([b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown\r\n" * 3, b":1\r\n" * 3])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(next(answers))
        await reader.read(65536)
        writer.transport.abort()

    port = free_port()
    async with (
        await asyncio.start_server(serve, HOST, port),
        asking([Address(host=HOST, port=port)]) as sentinel,
    ):
        for _ in range(3):
            await sentinel.look()
            assert sentinel.masters == ()
            assert str(sentinel.problem).startswith("0 of 1 sentinels answer, 1 must agree; ")

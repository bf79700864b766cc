"""Writes of one turn of the event loop, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from redis import Redis
from structlog.testing import capture_logs

from csms_redis.contract.errors import OutcomeUnknown, Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.durability import MASTER_ONLY, Durability
from csms_redis.redis.node import Node
from csms_redis.redis.together import MOST
from tests.conftest import Valkey, wait_for
from tests.support.loading import LoadingValkey
from tests.support.topologies.software import CHOSEN


def node_of(valkey: Valkey, durability: Durability = MASTER_ONLY) -> Node:
    return Node(
        Address(host="", port=0, path=str(valkey.socket)), max_connections=8, durability=durability
    )


def asking(valkey: Valkey) -> Redis:
    return Redis(unix_socket_path=valkey.socket)


@pytest.fixture
async def node(valkey: Valkey) -> AsyncIterator[Node]:
    made = node_of(valkey)
    await made.write("SET", "first", "", within=1)  # what it writes to, it knows by then
    yield made
    await made.close()


async def test_each_has_its_own_reply(node: Node) -> None:
    """Of more than are sent together, too, and of what is refused among them."""
    await node.write("SET", "text", "x", within=1)
    writes = [
        node.write("INCRBY", f"together-{number % 7}", number, within=1) for number in range(100)
    ]
    refused = node.write("INCR", "text", within=1)
    *said, error = await asyncio.gather(*writes, refused, return_exceptions=True)

    sums = [0] * 7
    for number in range(100):
        sums[number % 7] += number
        assert said[number] == sums[number % 7]
    assert isinstance(error, Unavailable)
    assert await node.write("INCR", "together-0", within=1) == sums[0] + 1


async def test_a_refusal_is_logged_of_its_own_request(node: Node) -> None:
    """And not of the request whose task has sent them all."""

    async def write(name: str, *command: str) -> None:
        structlog.contextvars.bind_contextvars(request_id=name)
        await node.write(*command, within=1)

    await node.write("SET", "text", "x", within=1)
    with capture_logs([structlog.contextvars.merge_contextvars]) as logged:
        fine = asyncio.create_task(write("fine", "SET", "other", "x"))
        refused = asyncio.create_task(write("refused", "LPUSH", "text", "x"))
        await asyncio.gather(fine, refused, return_exceptions=True)
    assert [one["request_id"] for one in logged] == ["refused"]


async def test_who_is_refused_for_now_was_not_served(tmp_path: Path) -> None:
    """Each of those that are sent together: the first refusal does not leave the others unread."""
    often = "loading-process-events-interval-bytes"
    CHOSEN.must_know(often)
    with Valkey(tmp_path) as valkey:
        node = node_of(valkey)
        await node.write("SET", "first", "", within=1)
        with asking(valkey) as redis:
            redis.mset({f"k{number}": "x" * 2000 for number in range(2000)})
            redis.save()
    slow = LoadingValkey(tmp_path, "--key-load-delay", "5000", f"--{often}", "1024")
    with slow:
        writes = (node.write("SET", f"k{number}", "v", within=1) for number in range(3))
        said = await asyncio.gather(*writes, return_exceptions=True)
        await node.close()
    assert [type(one) for one in said] == [Unavailable] * 3


async def test_they_share_connections(node: Node, valkey: Valkey) -> None:
    """Not one for each, though each may have one; one is there already."""

    def connections() -> int:
        with asking(valkey) as redis:
            return int(redis.info("clients")["connected_clients"])

    before = connections()
    await asyncio.gather(*(node.write("INCR", "together", within=1) for _ in range(MOST)))
    assert connections() == before


async def test_a_caller_that_leaves(node: Node) -> None:
    """Whichever it is: the others are told what became of theirs, or that nobody knows."""
    for leaves in range(3):
        tasks = [
            asyncio.create_task(node.write("SET", f"k{number}", leaves, within=1))
            for number in range(3)
        ]
        await asyncio.sleep(0)
        tasks[leaves].cancel()
        said = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(said.pop(leaves), asyncio.CancelledError)
        for one in said:
            assert one == b"OK" if leaves else isinstance(one, OutcomeUnknown)
    assert await node.write("SET", "k", "v", within=1) == b"OK"


async def test_one_with_less_time_goes_by_itself(node: Node, valkey: Valkey) -> None:
    """And does not wait for those that have more."""
    assert await node.write("SET", "k", "v", within=1) == b"OK"
    with asking(valkey) as redis:
        redis.client_pause(700, all=False)
    long = asyncio.create_task(node.write("SET", "k", "long", within=5))
    short = asyncio.create_task(node.write("SET", "k", "short", within=0.1))
    with pytest.raises(OutcomeUnknown):
        await short
    assert not long.done()
    assert await long == b"OK"


async def test_replicas_are_waited_for_once(valkey: Valkey) -> None:
    """For all of a group; where there are none, each of it says so."""

    def waits() -> int:
        with asking(valkey) as redis:
            return int(redis.info("commandstats").get("cmdstat_wait", {"calls": 0})["calls"])

    node = node_of(valkey, Durability(replicas=1, timeout=0.2))
    with pytest.raises(OutcomeUnknown):
        await node.write("SET", "first", "", within=1)
    before = waits()
    writes = (node.write("INCR", "together", within=1) for _ in range(5))
    said = await asyncio.gather(*writes, return_exceptions=True)
    await node.close()
    assert len(said) == 5
    for one in said:
        assert isinstance(one, OutcomeUnknown)
        assert "0 of 1 replicas" in one.error
    wait_for(lambda: waits() == before + 1, "one WAIT")

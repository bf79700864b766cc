"""What becomes of a write when Redis refuses it, breaks off, or says nothing."""

import asyncio
import contextlib
import time

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from csms_redis.contract.errors import OutcomeUnknown, Unavailable
from tests.conftest import Valkey, running_valkey
from tests.support.stores import (
    COMMANDS,
    KEYS,
    WRITES,
    Faulty,
    connected,
    each_write,
    node_of,
    read,
)


@each_write
async def test_a_redis_that_is_not_there_is_unavailable(valkey: Valkey, write: str) -> None:
    valkey.kill()
    async with connected(valkey.socket) as client:
        with pytest.raises(Unavailable) as caught:
            await WRITES[write](client)

    assert type(caught.value) is Unavailable
    assert caught.value.headers == {"Retry-After": "1"}


@each_write
async def test_a_connection_that_breaks_after_the_command_leaves_it_unknown(
    faulty: Faulty, write: str
) -> None:
    """It was carried out, nobody knows, and it is not sent again."""
    await WRITES["certificate"](faulty.client)
    faulty.proxy.sent = b""
    faulty.proxy.marker = COMMANDS[write]

    with pytest.raises(OutcomeUnknown):
        await WRITES[write](faulty.client)

    assert faulty.proxy.sent.count(COMMANDS[write]) == 1
    exists = await faulty.other.exists(KEYS.get(write, KEYS["certificate"]))
    assert exists == (0 if write == "deletion" else 1)


@each_write
async def test_the_next_write_takes_a_new_connection(faulty: Faulty, write: str) -> None:
    await WRITES["certificate"](faulty.client)
    faulty.proxy.marker = COMMANDS[write]
    with pytest.raises(OutcomeUnknown):
        await WRITES[write](faulty.client)

    await WRITES["station"](faulty.client)

    assert await faulty.other.hget(KEYS["station"], "securityProfile") == b"1"


@each_write
async def test_a_reply_that_never_comes_leaves_it_unknown(faulty: Faulty, write: str) -> None:
    """Within the time-out; it is sent once."""
    await WRITES["certificate"](faulty.client)
    faulty.proxy.sent = b""
    faulty.proxy.marker = COMMANDS[write]
    faulty.proxy.mute = True
    started = time.monotonic()

    with pytest.raises(OutcomeUnknown):
        await WRITES[write](faulty.client)

    assert 0.25 < time.monotonic() - started < 1
    assert faulty.proxy.sent.count(COMMANDS[write]) == 1


@each_write
async def test_a_redis_that_accepts_and_says_nothing_is_unavailable(
    valkey: Valkey, write: str
) -> None:
    """Nothing was sent but the greeting."""
    valkey.freeze()
    started = time.monotonic()
    async with connected(valkey.socket, timeout=0.3) as client:
        with pytest.raises(Unavailable) as caught:
            await WRITES[write](client)
    valkey.thaw()

    assert type(caught.value) is Unavailable
    assert time.monotonic() - started < 2
    async with Redis(unix_socket_path=valkey.socket) as other:
        assert await other.keys() == []


@each_write
async def test_connections_that_were_closed_meanwhile_cost_nothing(
    valkey: Valkey, write: str
) -> None:
    """As after a failover, or by the server's own time-out for idle ones."""
    async with connected(valkey.socket) as client, Redis(unix_socket_path=valkey.socket) as other:
        await WRITES["certificate"](client)
        await other.client_kill_filter(_type="normal", skipme=True)

        await WRITES[write](client)

        exists = await other.exists(KEYS.get(write, KEYS["certificate"]))
        assert exists == (0 if write == "deletion" else 1)


REFUSALS = {
    "LOADING": b"-LOADING Redis is loading the dataset in memory\r\n",
    "BUSY": b"-BUSY Redis is busy running a script\r\n",
    "READONLY": b"-READONLY You can't write against a read only replica.\r\n",
    "OOM": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "MISCONF": b"-MISCONF Redis is configured to save RDB snapshots\r\n",
    "NOREPLICAS": b"-NOREPLICAS Not enough good replicas to write.\r\n",
    "CLUSTERDOWN": b"-CLUSTERDOWN The cluster is down\r\n",
    "MOVED": b"-MOVED 1 127.0.0.1:1\r\n",
    "NOPERM": b"-NOPERM this user has no permissions to run the command\r\n",
    "renamed": b"-ERR unknown command 'EVAL', with args beginning with: 'local'\r\n",
    "of a proxy": b"-unsupported command 'EVAL'\r\n",
    "of a script before its first write": b"-UNCHANGED ERR something\r\n",
    "the same, of Redis 6.2": b"-UNCHANGED @user_script: 6: -OOM command not allowed\r\n",
}
UNCLEAR = {
    "anything": b"-ERR something\r\n",
    "no code": b"-\r\n",
    "twemproxy": b"-ERR Connection timed out\r\n",
    "Envoy": b"-upstream failure\r\n",
    "a script after its first write": b"-CHANGED NOPERM this user may not\r\n",
    "Redis 6.2": b"-ERR Error running script (call to f_0): @user_script:1: @user_script: 1: "
    b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "Redis 7.0": b"-OOM command not allowed when used memory > 'maxmemory'. "
    b"script: 0, on @user_script:1.\r\n",
    "Redis 8.2": b"-NOPERM ACL failure in script: User u has no permissions\r\n",
    "Valkey 9.1": b"-READONLY You can't write against a read only replica. "
    b"script: on @user_script:1.\r\n",
}


@each_write
@pytest.mark.parametrize("reply", REFUSALS.values(), ids=REFUSALS.keys())
async def test_an_error_reply_is_unavailable(faulty: Faulty, write: str, reply: bytes) -> None:
    """It was not carried out, which is known; the connection's other replies are not mixed up."""
    await WRITES["certificate"](faulty.client)
    faulty.proxy.marker = COMMANDS[write]
    faulty.proxy.answer = reply
    faulty.proxy.late = b"+late\r\n" * 3
    faulty.proxy.mute = True

    with pytest.raises(Unavailable) as caught:
        await WRITES[write](faulty.client)

    assert type(caught.value) is Unavailable
    assert "Redis is" not in caught.value.error
    assert await read(faulty.client, "ECHO", "still in step") == b"still in step"


@each_write
@pytest.mark.parametrize("reply", UNCLEAR.values(), ids=UNCLEAR.keys())
async def test_an_error_reply_that_proves_nothing_leaves_it_unknown(
    faulty: Faulty, write: str, reply: bytes
) -> None:
    await WRITES["certificate"](faulty.client)
    faulty.proxy.marker = COMMANDS[write]
    faulty.proxy.answer = reply
    faulty.proxy.mute = True

    with pytest.raises(OutcomeUnknown) as caught:
        await WRITES[write](faulty.client)

    assert "may have been applied" in caught.value.error


@pytest.mark.parametrize("code", ["OOM", "READONLY", "NOPERM", "MISCONF", "NOREPLICAS"])
async def test_the_log_has_the_code_of_an_error_reply(faulty: Faulty, code: str) -> None:
    """And nothing of its text, which may quote what was stored."""
    faulty.proxy.marker = COMMANDS["station"]
    faulty.proxy.answer = REFUSALS[code]
    faulty.proxy.mute = True

    with capture_logs() as logged, pytest.raises(Unavailable):
        await WRITES["station"](faulty.client)

    assert [(entry["command"], entry["reason"]) for entry in logged] == [("EVAL", code)]


@each_write
async def test_a_reply_that_is_no_resp_leaves_it_unknown(faulty: Faulty, write: str) -> None:
    await WRITES["certificate"](faulty.client)
    faulty.proxy.marker = COMMANDS[write]
    faulty.proxy.answer = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    faulty.proxy.mute = True

    with pytest.raises(OutcomeUnknown):
        await WRITES[write](faulty.client)

    faulty.proxy.answer = None
    await WRITES["station"](faulty.client)


@each_write
async def test_a_replica_refuses_and_nothing_changes(write: str) -> None:
    """As after a failover, when an address still leads to the former master."""
    with running_valkey("--replicaof", "127.0.0.1", "1") as replica:
        async with connected(replica.socket) as client:
            with pytest.raises(Unavailable) as caught:
                await WRITES[write](client)

            assert type(caught.value) is Unavailable
            assert await read(client, "DBSIZE") == 0


@pytest.mark.parametrize("write", ["station", "token", "certificate"])
async def test_a_full_redis_refuses_and_nothing_changes(valkey: Valkey, write: str) -> None:
    """The record of before is still there: the delete is not carried out without the set."""
    async with connected(valkey.socket) as client, Redis(unix_socket_path=valkey.socket) as other:
        await WRITES[write](client)
        before = await other.hgetall(KEYS[write])
        await other.config_set("maxmemory", "1")

        with pytest.raises(Unavailable) as caught:
            await WRITES[write](client)

        assert type(caught.value) is Unavailable
        assert await other.hgetall(KEYS[write]) == before


@each_write
async def test_a_wrong_password_is_unavailable(write: str) -> None:
    with running_valkey("--requirepass", "right") as guarded:
        async with connected(guarded.socket, password="wrong") as client:
            with pytest.raises(Unavailable) as caught:
                await WRITES[write](client)
        async with connected(guarded.socket, password="right") as client:
            await WRITES[write](client)

    assert type(caught.value) is Unavailable
    assert "wrong" not in caught.value.error


@each_write
async def test_a_command_that_is_not_allowed_changes_nothing(valkey: Valkey, write: str) -> None:
    """A user without HSET: the delete before it is not carried out either."""
    async with (
        Redis(unix_socket_path=valkey.socket) as other,
        connected(valkey.socket) as client,
        connected(valkey.socket, username="reader", password="p") as limited,
    ):
        await WRITES["certificate"](client)
        await WRITES["station"](client)
        await WRITES["token"](client)
        denied = "-del" if write == "deletion" else "-hset"
        await client.write(b"", "ACL", "SETUSER", "reader", "on", ">p", "~*", "+@all", denied)
        key = KEYS.get(write, KEYS["certificate"])
        before = await other.hgetall(key)

        with pytest.raises(Unavailable) as caught:
            await WRITES[write](limited)

        assert type(caught.value) is Unavailable
        assert await other.hgetall(key) == before


@each_write
async def test_more_writes_than_connections_wait_and_give_up(faulty: Faulty, write: str) -> None:
    """One that finds no free connection in time was not sent."""
    await WRITES["certificate"](faulty.client)
    faulty.proxy.sent = b""

    async with node_of(faulty.client)._slots:  # as a command under way has it
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await WRITES[write](faulty.client)

    assert type(caught.value) is Unavailable
    assert 0.25 < time.monotonic() - started < 1
    assert faulty.proxy.sent == b""
    await WRITES["station"](faulty.client)


@each_write
async def test_a_cancelled_write_leaves_no_poisoned_connection(faulty: Faulty, write: str) -> None:
    """Its late reply is nobody else's, and its place in the pool is free."""
    await WRITES["certificate"](faulty.client)
    faulty.proxy.marker = COMMANDS[write]
    faulty.proxy.mute = True
    writing = asyncio.ensure_future(WRITES[write](faulty.client))
    await faulty.proxy.met.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    for number in range(3):
        assert await read(faulty.client, "ECHO", f"{number}") == b"%d" % number


@each_write
async def test_cancelled_at_any_moment(valkey: Valkey, write: str) -> None:
    """However far it came: the next reads get their own replies."""
    async with connected(valkey.socket, max_connections=1) as client:
        for turns in range(12):
            writing = asyncio.ensure_future(WRITES[write](client))
            for _ in range(turns):
                await asyncio.sleep(0)
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing

            assert await read(client, "ECHO", f"{turns}") == b"%d" % turns


async def test_a_read_that_fails_changed_nothing(faulty: Faulty) -> None:
    """It is unavailable, never unknown."""
    for answer in (None, b"-LOADING\r\n", b"-ERR x\r\n"):
        faulty.proxy.answer = answer
        faulty.proxy.marker = b"\r\nHMGET\r\n"
        with pytest.raises(Unavailable) as caught:
            await read(faulty.client, "HMGET", "cs:x", "securityProfile")

        assert type(caught.value) is Unavailable

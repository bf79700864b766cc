"""What a write's script does to the record that is there, command by command, and when it fails."""

import ast
import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from csms_redis.contract.errors import OutcomeUnknown, Unavailable
from csms_redis.redis.client import RedisClient
from csms_redis.registry.resource import Stored, Written, store_all
from csms_redis.registry.rights import COMMANDS
from csms_redis.registry.stations import REJECTED, Stations, station_record
from tests.conftest import Valkey
from tests.support.stores import KEYS, STATION_1, STATION_2, WRITES, connected
from tests.support.topologies.software import CHOSEN, REDIS_6_2

STATION_KEY = KEYS["station"]
_WORD = re.compile(rb'"(?:[^"\\]|\\.)*"')

each_kind = pytest.mark.parametrize("write", ["station", "token", "certificate"])


@pytest.fixture
async def other(valkey: Valkey) -> AsyncIterator[Redis]:
    """To look at what a client does."""
    async with Redis(unix_socket_path=valkey.socket) as client:
        yield client


@pytest.fixture
async def client(valkey: Valkey) -> AsyncIterator[RedisClient]:
    async with connected(valkey.socket) as client:
        yield client


async def block(client: RedisClient) -> None:
    """Register a station with a password, and reject it."""
    await Stations(client, b"").register("cs001", STATION_1)
    assert await Stations(client, b"").set_status("cs001", "Rejected")


@contextlib.asynccontextmanager
async def as_user(valkey: Valkey, other: Redis, *rights: str) -> AsyncIterator[RedisClient]:
    """A client whose user has all rights and then these changes of them."""
    words = ("ACL", "SETUSER", "limited", "reset", "on", ">p", "~*", "+@all", *rights)
    await other.execute_command(*words)  # type: ignore[no-untyped-call] # redis-py's
    async with connected(valkey.socket, username="limited", password="p") as limited:
        yield limited


async def commands_of_scripts(valkey: Valkey, client: RedisClient, write: str) -> list[list[bytes]]:
    """What the script of a write does, one command after another, as MONITOR tells it."""
    reader, writer = await asyncio.open_unix_connection(valkey.socket)
    try:
        writer.write(b"MONITOR\r\n")
        assert await reader.readline() == b"+OK\r\n"
        await WRITES[write](client)
        await client.write(b"", "SET", "the end", "1")
        seen = []
        while b'"the end"' not in (line := await reader.readline()):
            head, _, words = line.partition(b"] ")
            if head.endswith(b"lua"):
                seen.append(
                    [ast.literal_eval(f"b{word.decode()}") for word in _WORD.findall(words)]
                )
    finally:
        writer.close()
    return seen


@each_kind
async def test_a_record_is_there_and_blocked_after_each_command_of_its_script(
    valkey: Valkey, client: RedisClient, other: Redis, write: str
) -> None:
    """The script's commands, one by one, on what was there before it."""
    await block(client)
    key = KEYS[write]
    await WRITES[write](client)
    await other.hset(key, mapping={"left": "1", "over": "2"})
    await other.expire(key, 1000)
    before = await other.dump(key)
    assert before

    commands = await commands_of_scripts(valkey, client, write)

    after = await other.hgetall(key)
    await other.restore(key, 1_000_000, before, replace=True)
    assert {words[0].upper() for words in commands} >= {b"HSET", b"HDEL", b"PERSIST"}
    for words in commands:
        await other.execute_command(*words)  # type: ignore[no-untyped-call] # redis-py's
        assert await other.exists(key)
        if write == "station":
            assert await other.hget(key, "registrationStatus") == REJECTED
    assert await other.hgetall(key) == after
    assert not after.keys() & {b"left", b"over"}
    assert await other.ttl(key) == -1


@pytest.mark.parametrize("lacks", COMMANDS["writes"])
async def test_a_user_that_lacks_a_command_lifts_no_block_and_is_told_the_truth(
    valkey: Valkey, client: RedisClient, other: Redis, lacks: str
) -> None:
    """Also when the command comes after the first one that writes."""
    await block(client)
    before = await other.hgetall(STATION_KEY)

    async with as_user(valkey, other, f"-{lacks}") as limited:
        if lacks == "del":
            await Stations(limited, b"").register("cs001", STATION_2)
            assert await other.hget(STATION_KEY, "registrationStatus") == REJECTED
            return
        with pytest.raises(Unavailable) as caught:
            await Stations(limited, b"").register("cs001", STATION_2)

    after = await other.hgetall(STATION_KEY)
    assert after[b"registrationStatus"] == REJECTED
    # a script in Redis 6.2 cannot ask what it may do
    late = CHOSEN is REDIS_6_2 and lacks in {"hdel", "persist"}
    assert type(caught.value) is (OutcomeUnknown if late else Unavailable)
    if not late:
        assert after == before
    assert "NOPERM" in caught.value.error


@pytest.mark.parametrize("lacks", ["eval", "type", "hget", "hset", "hdel"])
async def test_a_status_that_is_refused_is_not_set(
    valkey: Valkey, client: RedisClient, other: Redis, lacks: str
) -> None:
    await block(client)
    before = await other.hgetall(STATION_KEY)

    async with as_user(valkey, other, f"-{lacks}") as limited:
        with pytest.raises(Unavailable) as caught:
            await Stations(limited, b"").set_status("cs001", "Accepted")

    assert type(caught.value) is Unavailable
    assert await other.hgetall(STATION_KEY) == before


async def test_keys_that_may_not_be_written_are_refused_together(
    valkey: Valkey, other: Redis
) -> None:
    """One of many records: nothing of the script is carried out."""
    records = [station_record(b"", f"cs{number}", STATION_1) for number in range(20)]
    async with as_user(valkey, other, "resetkeys", "~cs:cs0", "~cs:cs1") as limited:
        await limited.read_at(limited.masters[0], [])  # which tells that it is one by itself
        replies = await store_all(limited, records)

    assert {type(reply) for reply in replies} == {Unavailable}
    assert await other.dbsize() == 0


async def test_an_error_of_another_script_leaves_it_unknown(client: RedisClient) -> None:
    """One that does not say how far it came, in this server's own words."""
    for script in (
        "redis.call('SET', KEYS[1], '1') redis.call('HSET', KEYS[1], 'a', 'b')",
        "redis.call('SET', KEYS[1], '1') error('x')",
        "redis.call('SET', KEYS[1], '1') return redis.call('nonsense')",
        "redis.call('SET', KEYS[1], '1') redis.call('SET', KEYS[1])",
    ):
        with pytest.raises(OutcomeUnknown):
            await client.write(b"key", "EVAL", script, 1, "key")


async def test_what_refuses_a_whole_command_changed_nothing(
    client: RedisClient, other: Redis
) -> None:
    """Each in this server's own words, by its real state."""
    await WRITES["station"](client)
    before = await other.hgetall(STATION_KEY)
    for name, wrong, right in (
        ("maxmemory", "1", "0"),
        ("min-replicas-to-write", "1", "0"),
    ):
        await other.config_set(name, wrong)
        with pytest.raises(Unavailable) as caught:
            await Stations(client, b"").register("cs001", STATION_2)
        assert type(caught.value) is Unavailable
        assert "Nothing was changed" in caught.value.error
        await other.config_set(name, right)
    assert await other.hgetall(STATION_KEY) == before


async def test_a_former_master_does_not_say_what_is_there(
    client: RedisClient, other: Redis
) -> None:
    """Its successor may have other records, whether or not replicas are waited for."""
    record = station_record(b"", "cs001", STATION_1)
    stations = Stations(client, b"")
    assert await store_all(client, [record]) == [Written(Stored.AS_GIVEN)]
    await other.replicaof("127.0.0.1", 1)  # its connections stay

    (kept,) = await store_all(client, [record], only_new=True)

    assert type(kept) is Unavailable
    for asked in (stations.set_status("nobody", "Rejected"), stations.delete("nobody")):
        with pytest.raises(Unavailable) as caught:
            await asked
        assert type(caught.value) is Unavailable


@pytest.mark.parametrize("status", ["Rejected", "Accepted", "Pending"])
async def test_a_station_is_blocked_when_memory_is_full(
    client: RedisClient, other: Redis, status: str
) -> None:
    """And accepted; what is new is refused, and what is there removed, as before."""
    stations = Stations(client, b"")
    await block(client)
    before = await other.hgetall(STATION_KEY)
    await other.config_set("maxmemory-policy", "noeviction")
    await other.config_set("maxmemory", "1")

    assert await stations.set_status("cs001", status) is True  # type: ignore[arg-type]
    assert await stations.set_status("cs002", status) is False  # type: ignore[arg-type]

    after = await other.hgetall(STATION_KEY)
    assert after.pop(b"registrationStatus") == f'"{status}"'.encode()
    del after[b"lastUpdated"]
    assert after == {name: before[name] for name in after}
    assert before.keys() - after.keys() == {b"registrationStatus", b"lastUpdated"}
    with pytest.raises(Unavailable):
        await stations.register("cs002", STATION_1)
    assert await stations.delete("cs001") is True


async def test_a_status_leaves_a_time_to_live(client: RedisClient, other: Redis) -> None:
    """A guest's credential for a day is not made one for ever by blocking and accepting it."""
    stations = Stations(client, b"")
    await stations.register("cs001", STATION_1)
    await other.expire(STATION_KEY, 1000)

    await stations.set_status("cs001", "Rejected")
    await stations.set_status("cs001", "Accepted")

    assert 0 < await other.ttl(STATION_KEY) <= 1000


@each_kind
async def test_a_write_takes_the_time_to_live_off_fields(
    client: RedisClient, other: Redis, write: str
) -> None:
    """HPEXPIRE, of Redis 7.4 and Valkey 9: also that of a status that is kept."""
    CHOSEN.must_know("HPEXPIRE")
    await block(client)
    await WRITES[write](client)
    names = [str(name, "ascii") for name in await other.hkeys(KEYS[write])]  # type: ignore[arg-type]
    await other.hpexpire(KEYS[write], 1_000_000, *names)

    await WRITES[write](client)

    assert await other.hpttl(KEYS[write], *names) == [-1] * len(names)


async def test_many_fields_of_others_are_removed(client: RedisClient, other: Redis) -> None:
    """More than Lua can hand over at once."""
    await other.hset(STATION_KEY, mapping={f"field {number}": "1" for number in range(20_000)})

    await WRITES["station"](client)

    assert len(await other.hkeys(STATION_KEY)) == 5

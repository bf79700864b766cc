"""What is stored and how, the same over fakeredis and Valkey; and what faults do to a write."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self, TypeAlias

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from fakeredis.aioredis import FakeAsyncRedisConnection
from pydantic import SecretStr
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from structlog.testing import capture_logs

from csms_redis.contract.certificates import ClientCertificate, der_hash
from csms_redis.contract.errors import Conflict, OutcomeUnknown, Unavailable
from csms_redis.contract.models import ChargeStationAuth, Token
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient
from csms_redis.redis.durability import Durability
from csms_redis.redis.node import Node
from csms_redis.redis.standalone import Standalone
from csms_redis.redis.url import configured
from csms_redis.registry.certificates import CERTIFICATE, Certificates
from csms_redis.registry.resource import Resource, Stored, Written, store_all
from csms_redis.registry.stations import STATION, Stations, station_record
from csms_redis.registry.tokens import TOKEN, Tokens
from csms_redis.settings import RedisSettings
from tests.conftest import Valkey, running_valkey
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.sentinels import SentinelGroup

PEM = 'text before\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"\\\u20ac'
CERTIFICATE_1 = ClientCertificate(hash=der_hash(b"1"), pem=PEM)
STATION_1 = ChargeStationAuth(
    securityProfile=1, base64SHA256Password='p"\\\u20ac', invalidUsernameAllowed=False
)
STATION_2 = ChargeStationAuth(securityProfile=2)
TOKEN_1 = Token(
    countryCode="GB",
    partyId="TWK",
    type="RFID",
    uid="Dead Beef",
    contractId="gb-twk-012345678",
    visualNumber="\U0001f50c",
    issuer='Thought"works',
    groupId="",
    valid=True,
    languageCode="en",
    cacheMode="ALLOWED_OFFLINE",
    lastUpdated="2019-08-24T14:15:22Z",
)
TOKEN_2 = TOKEN_1.model_copy(
    update={"visualNumber": None, "groupId": None, "languageCode": None, "valid": False}
)
KEYS = {
    "station": b"cs:cs001",
    "token": b"token:DEAD BEEF",
    "certificate": b"certificate:" + CERTIFICATE_1.hash.encode(),
}

Write: TypeAlias = Callable[[RedisClient], Awaitable[object]]
WRITES: dict[str, Write] = {
    "station": lambda redis: Stations(redis, b"").register("cs001", STATION_1),
    "token": lambda redis: Tokens(redis, b"").set(TOKEN_1),
    "certificate": lambda redis: Certificates(redis, b"").upload(CERTIFICATE_1),
    "deletion": lambda redis: Certificates(redis, b"").delete(CERTIFICATE_1.hash),
}
# What only the write itself sends, as it is on the wire.
COMMANDS = {
    "station": b"\r\nEVAL\r\n",
    "token": b"\r\nEVAL\r\n",
    "certificate": b"\r\nEVAL\r\n",
    "deletion": b"\r\nDEL\r\n",
}


@dataclass(frozen=True)
class Store:
    """A client as the service has it, and another to look at what it does."""

    client: RedisClient
    other: Any  # of redis-py's

    async def keys(self) -> list[bytes]:
        """All there are, of every master."""
        return [key async for key in self.other.scan_iter()]

    async def lookup(self, resource: Resource, key: bytes) -> Any:
        """What a lookup would answer, parsed."""
        values: Any = await self.other.hmget(key, resource.asked)
        answer = resource.answer(values)
        return None if answer is None else json.loads(answer)


def node_of(client: RedisClient, key: bytes = b"") -> Node:
    """The server to which a client writes what is at a key."""
    master = client._topology.owner(key)
    assert master is not None
    return client.node(master)


async def read(client: RedisClient, *command: bytes | str | int) -> Any:
    """Send a command that changes nothing, over the connections that writes use."""
    return await node_of(client).read(*command, within=1)


@contextlib.asynccontextmanager
async def fake_store() -> AsyncIterator[Store]:
    server = FakeServer()
    options: dict[str, Any] = {"server": server, "version": (7,), "server_type": "redis"}

    def new_connection(address: Address) -> FakeAsyncRedisConnection:
        del address
        return FakeAsyncRedisConnection(retry=Retry(NoBackoff(), 0), **options)

    def node(address: Address) -> Node:
        return Node(address, max_connections=8, new_connection=new_connection)

    client = RedisClient(Standalone(Address(host="fake")), node, timeout=1)
    async with FakeAsyncRedis(server=server) as other:
        try:
            yield Store(client, other)
        finally:
            await client.close()


@contextlib.asynccontextmanager
async def connected(socket: str, **options: Any) -> AsyncIterator[RedisClient]:
    """A client of the Redis behind a Unix socket."""
    settings: dict[str, Any] = {"timeout": 1, "max_connections": 8} | options
    address = Address(
        path=socket,
        username=settings.pop("username", None),
        password=settings.pop("password", None),
    )
    client = RedisClient(
        Standalone(address),
        partial(Node, max_connections=settings["max_connections"]),
        timeout=settings["timeout"],
    )
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture(scope="module")
def module_valkey() -> Iterator[Valkey]:
    """One Valkey for the tests that break nothing."""
    with running_valkey() as running:
        yield running


@pytest.fixture(scope="module")
def module_sentinels() -> Iterator[SentinelGroup]:
    with SentinelGroup() as running:
        yield running


@pytest.fixture(scope="module")
def module_cluster() -> Iterator[ClusterGroup]:
    with ClusterGroup() as running:
        yield running


@contextlib.asynccontextmanager
async def valkey_store(valkey: Valkey) -> AsyncIterator[Store]:
    async with (
        Redis(unix_socket_path=valkey.socket) as other,
        connected(valkey.socket) as client,
    ):
        yield Store(client, other)


@contextlib.asynccontextmanager
async def store_at(url: str, other: Any) -> AsyncIterator[Store]:
    """A store of several servers, whose writes all replicas must have."""
    topology = configured(RedisSettings(url=SecretStr(url)))
    assert topology is not None
    await topology.look()
    durability = Durability(replicas=1, timeout=10)
    node = partial(Node, max_connections=8, durability=durability)
    client = RedisClient(topology, node, timeout=1)
    try:
        yield Store(client, other)
    finally:
        await client.close()
        await topology.close()
        await other.aclose()


@pytest.fixture(params=["fakeredis", "valkey", "sentinel", "cluster"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty store."""
    if request.param == "fakeredis":
        making = fake_store()
    elif request.param == "valkey":
        making = valkey_store(request.getfixturevalue("module_valkey"))
    elif request.param == "sentinel":
        group: SentinelGroup = request.getfixturevalue("module_sentinels")
        host, port = group.master().address
        making = store_at(group.url, Redis(host=host, port=port))
    else:
        cluster: ClusterGroup = request.getfixturevalue("module_cluster")
        host, port = cluster.nodes[0].address
        making = store_at(cluster.url, RedisCluster(host=host, port=port))
    async with making as made:
        await made.other.flushall()
        yield made


def moment(value: bytes | str) -> datetime:
    """A `lastUpdated` as it is stored, which must be RFC 3339 in UTC."""
    text = json.loads(value)
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


async def test_a_station_is_a_hash_of_json_values(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)

    await Stations(store.client, b"").register("{cs} 1/\u20ac", STATION_1)

    key = "cs:{cs} 1/\u20ac".encode()
    assert await store.keys() == [key]
    stored = await store.other.hgetall(key)
    assert before <= moment(stored.pop(b"lastUpdated")) <= datetime.now(UTC)
    assert stored == {
        b"securityProfile": b"1",
        b"base64SHA256Password": '"p\\"\\\\\u20ac"'.encode(),
        b"invalidUsernameAllowed": b"false",
        b"registrationStatus": b'"Pending"',
    }


async def test_a_token_is_a_hash_of_json_values(store: Store) -> None:
    """Its key has the uid in upper case; the service's date takes the place of the given one."""
    before = datetime.now(UTC) - timedelta(seconds=1)

    await Tokens(store.client, b"").set(TOKEN_1)

    assert await store.keys() == [b"token:DEAD BEEF"]
    stored = await store.other.hgetall(b"token:DEAD BEEF")
    assert before <= moment(stored.pop(b"lastUpdated")) <= datetime.now(UTC)
    assert stored == {
        b"countryCode": b'"GB"',
        b"partyId": b'"TWK"',
        b"type": b'"RFID"',
        b"uid": b'"Dead Beef"',
        b"contractId": b'"GBTWK012345678V"',
        b"visualNumber": '"\U0001f50c"'.encode(),
        b"issuer": b'"Thought\\"works"',
        b"groupId": b'""',
        b"valid": b"true",
        b"languageCode": b'"en"',
        b"cacheMode": b'"ALLOWED_OFFLINE"',
    }


async def test_a_certificate_is_a_hash_of_json_values(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)

    await Certificates(store.client, b"").upload(CERTIFICATE_1)

    key = b"certificate:" + CERTIFICATE_1.hash.encode()
    assert await store.keys() == [key]
    stored = await store.other.hgetall(key)
    assert before <= moment(stored.pop(b"lastUpdated")) <= datetime.now(UTC)
    assert set(stored) == {b"certificate"}
    assert json.loads(stored[b"certificate"]) == PEM


async def test_a_lookup_joins_what_is_stored(store: Store) -> None:
    """Each property as it was written, none that is not set, nothing that is not shown."""
    for write in ("station", "token", "certificate"):
        await WRITES[write](store.client)

    assert await store.lookup(STATION, KEYS["station"]) == {
        "securityProfile": 1,
        "base64SHA256Password": 'p"\\\u20ac',
        "invalidUsernameAllowed": False,
    }
    token = await store.lookup(TOKEN, KEYS["token"])
    updated = token.pop("lastUpdated")
    assert token == TOKEN_1.model_dump(exclude={"lastUpdated"})
    assert updated != TOKEN_1.lastUpdated
    assert await store.lookup(CERTIFICATE, KEYS["certificate"]) == {"certificate": PEM}
    assert await store.lookup(STATION, b"cs:unknown") is None
    assert await store.lookup(TOKEN, b"token:UNKNOWN") is None
    assert await store.lookup(CERTIFICATE, b"certificate:unknown") is None


async def test_a_write_replaces_the_whole_record(store: Store) -> None:
    """No field of the record before is left, of this service or of others."""
    await WRITES["station"](store.client)
    await WRITES["token"](store.client)
    await WRITES["certificate"](store.client)
    for key in KEYS.values():
        await store.other.hset(key, "leftover", "1")

    await Stations(store.client, b"").register("cs001", STATION_2)
    await Tokens(store.client, b"").set(TOKEN_2)
    await WRITES["certificate"](store.client)

    assert await store.lookup(STATION, KEYS["station"]) == {"securityProfile": 2}
    token = await store.lookup(TOKEN, KEYS["token"])
    assert token["valid"] is False
    assert token.keys().isdisjoint({"visualNumber", "groupId", "languageCode"})
    for key in KEYS.values():
        assert not await store.other.hexists(key, "leftover")


async def test_many_records_are_stored_each_as_one_would_be(store: Store) -> None:
    """Whatever each has and replaces, however many go together, and whether only new ones do."""
    records = [
        station_record(b"", f"cs{number}", (STATION_1, STATION_2)[number % 2])
        for number in range(120)
    ]
    await store.other.hset("cs:cs1", mapping={"registrationStatus": '"Rejected"', "left": "1"})
    await store.other.hset("cs:cs119", mapping={"securityProfile": "0", "left": "1"})

    new = await store_all(store.client, records, only_new=True)

    there = {1, 119}
    assert new == [
        Written(Stored.LEFT if number in there else Stored.AS_GIVEN) for number in range(120)
    ]
    assert await store.other.hget("cs:cs119", "securityProfile") == b"0"

    again = await store_all(store.client, records)
    assert again.pop(1) == Written(Stored.WITH_KEPT, ("left",))
    assert again.pop(-1) == Written(Stored.AS_GIVEN, ("left",))
    assert again == [Written(Stored.AS_GIVEN)] * 118

    for number, record in enumerate(records):
        status = b'"Rejected"' if number == 1 else b'"Pending"'
        stored = await store.other.hgetall(f"cs:cs{number}")
        assert stored == record.fields | {b"registrationStatus": status}
    assert len(await store.keys()) == 120


async def test_uids_that_differ_in_case_are_one_record(store: Store) -> None:
    tokens = Tokens(store.client, b"")
    await tokens.set(TOKEN_1)
    await tokens.set(TOKEN_1.model_copy(update={"uid": "DEAD beef"}))

    assert await store.keys() == [b"token:DEAD BEEF"]
    assert await store.other.hget("token:DEAD BEEF", "uid") == b'"DEAD beef"'


async def test_a_rejected_station_stays_rejected(store: Store) -> None:
    """Registering it replaces all the rest; it is not found until it is accepted again."""
    stations = Stations(store.client, b"")
    await stations.register("cs001", STATION_1)
    await store.other.hset("cs:cs001", "registrationStatus", '"Rejected"')
    assert await store.lookup(STATION, b"cs:cs001") is None

    await stations.register("cs001", STATION_2)

    assert await store.lookup(STATION, b"cs:cs001") is None
    stored = await store.other.hgetall("cs:cs001")
    del stored[b"lastUpdated"]
    assert stored == {b"securityProfile": b"2", b"registrationStatus": b'"Rejected"'}


@pytest.mark.parametrize(
    "status", ['"Accepted"', '"Pending"', "Rejected", '"rejected"', "null", ""]
)
async def test_any_other_station_is_pending(store: Store, status: str) -> None:
    stations = Stations(store.client, b"")
    await stations.register("cs001", STATION_1)
    await store.other.hset("cs:cs001", "registrationStatus", status)
    assert await store.lookup(STATION, b"cs:cs001") is not None

    await stations.register("cs001", STATION_2)

    assert await store.other.hget("cs:cs001", "registrationStatus") == b'"Pending"'


async def test_deleting_says_whether_there_was_one(store: Store) -> None:
    certificates = Certificates(store.client, b"")
    await certificates.upload(CERTIFICATE_1)

    assert await certificates.delete(CERTIFICATE_1.hash) is True
    assert await certificates.delete(CERTIFICATE_1.hash) is False
    assert await store.keys() == []


@pytest.mark.parametrize("prefix", ["csms:", "a{b}c", "\u20ac:"])
async def test_every_key_is_behind_the_prefix(store: Store, prefix: str) -> None:
    given = prefix.encode()
    await Stations(store.client, given).register("cs001", STATION_1)
    await Tokens(store.client, given).set(TOKEN_1)
    certificates = Certificates(store.client, given)
    await certificates.upload(CERTIFICATE_1)

    expected = {given + key for key in KEYS.values()}
    assert set(await store.keys()) == expected

    assert await certificates.delete(CERTIFICATE_1.hash) is True
    assert set(await store.keys()) == expected - {given + KEYS["certificate"]}


@pytest.mark.parametrize("write", ["station", "token", "certificate"])
@pytest.mark.parametrize("kind", ["string", "list", "set"])
async def test_a_key_of_another_type_is_refused(store: Store, write: str, kind: str) -> None:
    """It may be another program's: it stays as it is, and the error says what to do."""
    key = KEYS[write]
    if kind == "string":
        await store.other.set(key, "x")
    elif kind == "list":
        await store.other.rpush(key, "x")
    else:
        await store.other.sadd(key, "x")

    with pytest.raises(Unavailable):
        await node_of(store.client, key).read("HMGET", key, "x", within=1)
    before = await store.other.dump(key)

    with pytest.raises(Conflict) as caught:
        await WRITES[write](store.client)

    assert f"{key.decode()} is a {kind} and no record of csms-redis" in caught.value.error
    assert "Nothing was changed" in caught.value.error
    assert await store.other.dump(key) == before
    await store.other.delete(key)
    await WRITES[write](store.client)


@pytest.mark.parametrize("options", [{}, {"only_new": True}], ids=["all", "only new"])
async def test_one_key_of_another_type_among_many_is_refused_alone(
    store: Store, options: dict[str, bool]
) -> None:
    await store.other.set("cs:cs7", "x")
    records = [station_record(b"", f"cs{number}", STATION_1) for number in range(60)]

    replies = await store_all(store.client, records, **options)

    given = Written(Stored.AS_GIVEN)
    assert [number for number, reply in enumerate(replies) if reply != given] == [7]
    assert isinstance(replies[7], Conflict)
    assert await store.other.get("cs:cs7") == b"x"
    assert len(await store.keys()) == 60


async def test_a_certificate_of_another_type_is_deleted(store: Store) -> None:
    await store.other.set(KEYS["certificate"], "x")

    assert await Certificates(store.client, b"").delete(CERTIFICATE_1.hash) is True


async def test_a_key_that_would_expire_does_not_after_a_write(store: Store) -> None:
    for write in ("station", "token", "certificate"):
        await WRITES[write](store.client)
        await store.other.expire(KEYS[write], 100)
        await WRITES[write](store.client)

        assert await store.other.ttl(KEYS[write]) == -1


async def test_writes_at_the_same_time_leave_one_whole_record(store: Store) -> None:
    """None is mixed of two, more writes than connections notwithstanding."""
    stations = Stations(store.client, b"")
    await asyncio.gather(
        *(stations.register("cs001", (STATION_1, STATION_2)[number % 2]) for number in range(40))
    )

    found = await store.lookup(STATION, b"cs:cs001")
    assert found in (
        STATION_1.model_dump(exclude_none=True),
        STATION_2.model_dump(exclude_none=True),
    )


@pytest.mark.parametrize("write", ["station", "token", "certificate"])
async def test_nobody_sees_half_a_write(module_valkey: Valkey, write: str) -> None:
    """Between delete and set, neither no record nor a part of one."""
    seen: set[frozenset[bytes | str]] = set()
    async with (
        Redis(unix_socket_path=module_valkey.socket) as other,
        connected(module_valkey.socket) as client,
    ):
        await WRITES[write](client)

        done = asyncio.Event()

        async def look() -> None:
            while not done.is_set():
                seen.add(frozenset(await other.hkeys(KEYS[write])))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(look())
            for _ in range(200):
                await WRITES[write](client)
            done.set()
        final = frozenset(await other.hkeys(KEYS[write]))

    assert seen == {final}


class Proxy:
    """Stands between a client and a Valkey, and can be told what to do to one command."""

    def __init__(self, target: str) -> None:
        self.socket = f"{target}.proxy"
        self.sent = b""  # all that clients sent
        self.marker: bytes | None = None  # what the next command holds that is dealt with
        self.answer: bytes | None = None  # instead of passing the command on
        self.late: bytes | None = None  # what is said 50 ms after the answer
        self.mute = False  # say nothing more afterwards; else close
        self.met = asyncio.Event()
        self._target = target
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._accept, self.socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_unix_connection(self._target)
        replies = asyncio.create_task(self._relay(back, writer))
        try:
            while data := await reader.read(65536):
                self.sent += data
                if self.marker is None or self.marker not in data:
                    forth.write(data)
                    continue
                self.marker = None
                replies.cancel()
                await asyncio.wait([replies])
                if self.answer is not None:
                    writer.write(self.answer)
                else:
                    forth.write(data)
                    await forth.drain()
                    await back.read(65536)  # it was carried out
                self.met.set()
                if self.late is not None:
                    await asyncio.sleep(0.05)
                    writer.write(self.late)
                if not self.mute:
                    return
        finally:
            replies.cancel()
            forth.close()

    async def _relay(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await back.read(65536):
            writer.write(data)


@dataclass(frozen=True)
class Faulty:
    """A client whose connections can be made to fail."""

    client: RedisClient
    proxy: Proxy
    other: Redis


@pytest.fixture
async def faulty(valkey: Valkey) -> AsyncIterator[Faulty]:
    """A client with one connection, a time-out of 0.3 s, behind a proxy."""
    async with (
        Proxy(valkey.socket) as proxy,
        Redis(unix_socket_path=valkey.socket) as other,
        connected(proxy.socket, timeout=0.3, max_connections=1) as client,
    ):
        yield Faulty(client, proxy, other)


each_write = pytest.mark.parametrize("write", WRITES)


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
# What a proxy says that lost Redis meanwhile, and what comes from within a script.
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

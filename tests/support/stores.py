"""Records, and a client as the service has it beside another that looks at what it does."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Self, TypeAlias

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from fakeredis.aioredis import FakeAsyncRedisConnection
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from csms_redis.contract.certificates import ClientCertificate, der_hash
from csms_redis.contract.models import ChargeStationAuth, Token
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient
from csms_redis.redis.durability import Durability
from csms_redis.redis.node import Node
from csms_redis.redis.standalone import Standalone
from csms_redis.redis.url import configured
from csms_redis.registry.certificates import Certificates
from csms_redis.registry.resource import Resource
from csms_redis.registry.stations import Stations
from csms_redis.registry.tokens import Tokens
from csms_redis.settings import RedisSettings
from tests.conftest import Valkey

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


def moment(value: bytes | str) -> datetime:
    """A `lastUpdated` as it is stored, which must be RFC 3339 in UTC."""
    text = json.loads(value)
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


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


each_write = pytest.mark.parametrize("write", WRITES)

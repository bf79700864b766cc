"""What a partial record does to the one that is there: it changes what it has, and no more."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from redis.asyncio import Redis

from csms_redis.contract.models import ChargeStationAuth
from csms_redis.redis.client import RedisClient
from csms_redis.registry.resource import Record, Stored, Written, store, store_all
from csms_redis.registry.stations import PENDING, REJECTED, station_record
from tests.conftest import Valkey
from tests.support.stores import connected

KEY = b"cs:cs1"
HASH = "XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="
THERE: dict[Any, bytes] = {
    b"securityProfile": b"1",
    b"base64SHA256Password": f'"{HASH}"'.encode(),
    b"invalidUsernameAllowed": b"true",
    b"registrationStatus": b'"Accepted"',
    b"lastUpdated": b'"2020-01-01T00:00:00Z"',
}
UPDATED = b'"2026-01-01T00:00:00Z"'
LACKING = Written(Stored.AS_GIVEN, lacking=True)


@pytest.fixture
async def other(valkey: Valkey) -> AsyncIterator[Redis]:
    async with Redis(unix_socket_path=valkey.socket) as client:
        yield client


@pytest.fixture
async def client(valkey: Valkey) -> AsyncIterator[RedisClient]:
    async with connected(valkey.socket) as client:
        yield client


def station(
    profile: int = 0,
    *,
    cs_id: str = "cs1",
    status: bytes | None = None,
    partial: bool = True,
    removed: tuple[bytes, ...] = (),
    password: str | None = None,
) -> Record:
    auth = ChargeStationAuth(securityProfile=profile, base64SHA256Password=password)
    return station_record(
        b"", cs_id, auth, status=status, updated=UPDATED, partial=partial, removed=removed
    )


@pytest.mark.parametrize(
    ("record", "changed", "written"),
    [
        (station(0), {b"securityProfile": b"0"}, Written(Stored.AS_GIVEN)),
        (
            station(2, status=REJECTED),
            {b"securityProfile": b"2", b"registrationStatus": REJECTED},
            Written(Stored.AS_GIVEN),
        ),
        (
            station(1, removed=(b"invalidUsernameAllowed", b"absent")),
            {b"invalidUsernameAllowed": None},
            Written(Stored.AS_GIVEN),
        ),
        (
            station(2, partial=False),
            {
                b"securityProfile": b"2",
                b"base64SHA256Password": None,
                b"invalidUsernameAllowed": None,
                b"registrationStatus": PENDING,
                b"theirs": None,
            },
            Written(
                Stored.AS_GIVEN,
                (
                    "registrationStatus",
                    "base64SHA256Password",
                    "invalidUsernameAllowed",
                    "theirs",
                ),
            ),
        ),
    ],
    ids=["the rest stays", "what is given", "what is to go", "whole: all else goes"],
)
async def test_what_it_changes(
    client: RedisClient,
    other: Redis,
    record: Record,
    changed: Mapping[bytes, bytes | None],
    written: Written,
) -> None:
    await other.hset(KEY, mapping={**THERE, b"theirs": b"1"})
    said = await store(client, record)
    wanted = {**THERE, b"theirs": b"1", b"lastUpdated": UPDATED, **changed}
    assert await other.hgetall(KEY) == {k: v for k, v in wanted.items() if v is not None}
    assert (said.stored, {*said.removed}, said.lacking) == (
        written.stored,
        {*written.removed},
        written.lacking,
    )


async def test_a_new_one_has_the_defaults(client: RedisClient, other: Redis) -> None:
    """So has one whose record is without a status."""
    assert await store(client, station(2)) == Written(Stored.AS_GIVEN)
    assert await other.hget(KEY, "registrationStatus") == PENDING
    await other.hdel(KEY, "registrationStatus")
    await store(client, station(2))
    assert await other.hget(KEY, "registrationStatus") == PENDING


@pytest.mark.parametrize("partial", [True, False])
async def test_a_block_stays(client: RedisClient, other: Redis, partial: bool) -> None:  # noqa: FBT001 a table
    await other.hset(KEY, mapping={**THERE, b"registrationStatus": REJECTED})
    for status in (b'"Accepted"', PENDING):
        said = await store(client, station(1, status=status, partial=partial, password=HASH))
        assert said.stored is Stored.WITH_KEPT
        assert await other.hget(KEY, "registrationStatus") == REJECTED
    said = await store(client, station(1, partial=partial, password=HASH))
    assert (said.stored is Stored.WITH_KEPT) is not partial  # a partial one does not speak of it
    assert await other.hget(KEY, "registrationStatus") == REJECTED


async def test_what_lacks_a_credential_is_told_or_left(client: RedisClient, other: Redis) -> None:
    """It does where neither the record nor what is there has one."""
    await other.hset(KEY, mapping=THERE)
    await other.hset("cs:cs2", mapping={"securityProfile": "2"})
    records = [station(1, cs_id=cs_id) for cs_id in ("cs1", "cs2", "cs3")]
    assert await store_all(client, records) == [Written(Stored.AS_GIVEN), LACKING, LACKING]
    await other.delete("cs:cs3")
    left = Written(Stored.LEFT, lacking=True)
    before = await other.hgetall("cs:cs2")
    assert await store_all(client, records, strict=True) == [Written(Stored.AS_GIVEN), left, left]
    assert await other.hgetall("cs:cs2") == before
    assert not await other.exists("cs:cs3")
    assert await store_all(client, records[1:], strict=True, only_new=True) == [
        Written(Stored.LEFT),
        left,
    ]


@pytest.mark.parametrize("partial", [True, False])
async def test_a_time_to_live(client: RedisClient, other: Redis, partial: bool) -> None:  # noqa: FBT001 a table
    """Of a key: a partial record does not say that it ends."""
    await other.hset(KEY, mapping=THERE)
    await other.expire(KEY, 1000)
    await store(client, station(1, partial=partial, password=HASH))
    assert (await other.ttl(KEY) > 0) is partial


async def test_the_key_is_never_absent(client: RedisClient, other: Redis) -> None:
    """Also where all that was there goes."""
    await other.hset(KEY, "invalidUsernameAllowed", "true")
    await store(client, station(1, removed=(b"invalidUsernameAllowed",)))
    assert (await other.hgetall(KEY)).keys() == {
        b"securityProfile",
        b"lastUpdated",
        b"registrationStatus",
    }


async def test_many_fields_of_others_are_told_in_part(client: RedisClient, other: Redis) -> None:
    await other.hset(KEY, mapping={f"field {number}": "1" for number in range(5000)})
    said = await store(client, station(2, partial=False))
    assert len(said.removed) == 100
    assert await other.hlen(KEY) == 3

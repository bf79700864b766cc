"""What stands in Redis after each write, on every kind of store."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from csms_redis.contract.errors import Conflict, Unavailable
from csms_redis.registry.certificates import CERTIFICATE, Certificates
from csms_redis.registry.resource import Stored, Written, store_all
from csms_redis.registry.stations import STATION, Stations, station_record
from csms_redis.registry.tokens import TOKEN, Tokens
from tests.conftest import Valkey
from tests.support.stores import (
    CERTIFICATE_1,
    KEYS,
    PEM,
    STATION_1,
    STATION_2,
    TOKEN_1,
    TOKEN_2,
    WRITES,
    Store,
    connected,
    moment,
    node_of,
)


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

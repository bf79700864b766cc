"""A listing over masters that do not stay what they are: it goes on or it says that it cannot."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from csms_redis.contract.certificates import read_pem
from csms_redis.contract.errors import BadRequest, Gone, Unavailable
from csms_redis.contract.models import ChargeStationAuth
from csms_redis.contract.queries import CertificateQuery, StationQuery
from csms_redis.redis.client import RedisClient
from csms_redis.redis.deployment import client
from csms_redis.redis.scan import MastersChanged, Scan
from csms_redis.redis.slots import slot_of
from csms_redis.redis.url import configured
from csms_redis.registry import certificates as module
from csms_redis.registry.certificates import Certificates, ExpiringCertificates
from csms_redis.registry.cursor import Cursor, key_name, listing_name
from csms_redis.registry.stations import Stations
from csms_redis.settings import RedisSettings
from tests.conftest import DATA, Valkey
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.sentinels import SentinelGroup

STATION = ChargeStationAuth(securityProfile=2)
IDS = {f"cs{number}" for number in range(200)}
CERTIFICATES = DATA / "certificates"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RedisClient]:
    """A client that follows its topology, as the service's does."""
    settings = RedisSettings(url=SecretStr(url), timeout=10)  # many write at once
    topology = configured(settings)
    assert topology is not None
    await topology.look()
    following = asyncio.create_task(topology.run())
    redis = client(settings, topology)
    try:
        yield redis
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await redis.close()
        await topology.close()


async def registered(redis: RedisClient) -> Stations:
    """All stations, written."""
    stations = Stations(redis, b"")
    await asyncio.gather(*(stations.register(cs_id, STATION) for cs_id in IDS))
    return stations


async def walk(stations: Stations, cursor: str | None = None) -> list[bytes]:
    """What a listing has from a cursor to its end."""
    found = []
    while True:
        page = await stations.page(StationQuery(limit=20, cursor=cursor))
        found += page.records
        if page.next is None:
            return found
        cursor = page.next


async def started(stations: Stations) -> str:
    """The cursor of a second page."""
    page = await stations.page(StationQuery(limit=20))
    assert page.next
    return page.next


async def eventually_gone(
    stations: Stations, cursor: str, *, old_master_lives: bool = False
) -> None:
    """It may be 503 until there is a master again; it is 410 then, and no page of another master.

    Args:
        stations: that are listed.
        cursor: from before.
        old_master_lives: and answers as such until it is told; it has what was there.
    """
    async with asyncio.timeout(20):
        while True:
            try:
                await stations.page(StationQuery(limit=20, cursor=cursor))
            except Unavailable:
                await asyncio.sleep(0.05)
            except Gone as gone:
                assert "Start again without a cursor" in gone.error  # noqa: PT017 in a loop
                return
            else:
                assert old_master_lives, "a page"
                await asyncio.sleep(0.05)


async def eventually_walked(stations: Stations) -> list[bytes]:
    """A listing from the start, once Redis is well again."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await walk(stations)
            except (Unavailable, Gone):
                await asyncio.sleep(0.1)


@pytest.fixture
def cluster() -> Iterator[ClusterGroup]:
    with ClusterGroup() as running:
        yield running


@pytest.fixture
def sentinels() -> Iterator[SentinelGroup]:
    with SentinelGroup() as running:
        yield running


async def test_a_cursor_ends_with_a_restart(valkey: Valkey) -> None:
    """SCAN's own cursor would mean another place in the new process."""
    async with connected(valkey.url) as redis:
        stations = await registered(redis)
        cursor = await started(stations)
        assert len(await walk(stations, cursor)) > 150
        valkey.kill()
        with pytest.raises(Unavailable):
            await stations.page(StationQuery(cursor=cursor))
        valkey.start()
        await eventually_gone(stations, cursor)


async def test_a_cursor_outlives_a_client(valkey: Valkey) -> None:
    """Another replica of the service goes on from it."""
    async with connected(valkey.url) as redis:
        page = await (await registered(redis)).page(StationQuery(limit=20))
    async with connected(valkey.url) as redis:
        rest = await walk(Stations(redis, b""), page.next)
    assert len({*page.records, *rest}) == len(IDS)


async def test_a_cursor_ends_with_a_failover(sentinels: SentinelGroup) -> None:
    async with connected(sentinels.url) as redis:
        stations = await registered(redis)
        cursor = await started(stations)
        sentinels.fail_over()
        await eventually_gone(stations, cursor, old_master_lives=True)
        assert len(await eventually_walked(stations)) == len(IDS)


async def test_a_cursor_ends_with_a_failover_in_a_cluster(cluster: ClusterGroup) -> None:
    """Of whichever master, the one that is being scanned or another."""
    async with connected(cluster.url) as redis:
        stations = await registered(redis)
        for slot in (0, 16383):
            cursor = await started(stations)
            cluster.fail_over(slot)
            await eventually_gone(stations, cursor)
            cluster.wait_until_settled()
        assert len(await eventually_walked(stations)) == len(IDS)


async def test_a_cursor_ends_with_the_restart_of_any_master(cluster: ClusterGroup) -> None:
    async with connected(cluster.url) as redis:
        stations = await registered(redis)
        cursor = await started(stations)
        node = cluster.master(8000)
        node.call("DEBUG", "SLEEP", "0")  # it may
        node.restart()
        await eventually_gone(stations, cursor)


@pytest.mark.parametrize("atomically", [True, False])
async def test_a_cursor_ends_when_a_slot_moves(cluster: ClusterGroup, *, atomically: bool) -> None:
    """Both ways in which slots are moved; each record is listed again after it."""
    async with connected(cluster.url) as redis:
        stations = await registered(redis)
        cursor = await started(stations)
        source, target = cluster.master(0), cluster.master(16383)
        if atomically:
            cluster.migrate_slots(0, 5, source, target)
        else:
            cluster.migrate_slot(3, source, target)
        await eventually_gone(stations, cursor)
        cluster.wait_until_settled()
        assert len(await eventually_walked(stations)) == len(IDS)


async def test_no_listing_while_a_slot_is_being_moved(cluster: ClusterGroup) -> None:
    """A key could move from a master that is not scanned yet to one that has been."""
    async with connected(cluster.url) as redis:
        stations = await registered(redis)
        source, target = cluster.master(0), cluster.master(16383)
        cluster.begin_migration(5, source, target)
        with pytest.raises(Unavailable, match="Slots are being moved"):
            await stations.page(StationQuery())
        cluster.end_migration(5, source, target)
        assert len(await eventually_walked(stations)) == len(IDS)


async def test_no_listing_without_a_master(cluster: ClusterGroup) -> None:
    """Rather none than one that lacks a third."""
    async with connected(cluster.url) as redis:
        stations = await registered(redis)
        master = cluster.master(0)
        for node in (*cluster.replicas(master), master):
            node.kill()
        with pytest.raises(Unavailable):
            await stations.page(StationQuery())


async def test_a_slot_that_moves_while_a_page_is_made(cluster: ClusterGroup) -> None:
    """Between the look at the masters and the scan of one, and between that and the records."""
    async with connected(cluster.url) as redis:
        await registered(redis)
        scan = await Scan.begin(redis)
        before: dict[int, list[bytes]] = {}
        for number in range(len(scan)):
            _, before[number] = await scan.keys(number, 0, start=b"cs:", count=1000)
        cluster.migrate_slots(0, 5460, cluster.master(0), cluster.master(16383))
        changed = 0
        for number, keys in before.items():
            try:
                await scan.keys(number, 0, start=b"cs:", count=1000)
            except MastersChanged:
                changed += 1
            try:
                await scan.values(number, keys, [b"securityProfile"])
            except MastersChanged:
                changed += 10
        assert changed == 12  # who gave and who took scan another set; who gave has no record


async def test_every_master_is_scanned(cluster: ClusterGroup) -> None:
    """Each key comes from the one that owns it."""
    async with connected(cluster.url) as redis:
        await registered(redis)
        scan = await Scan.begin(redis)
        found = []
        for number in range(len(scan)):
            cursor, keys = await scan.keys(number, 0, start=b"cs:", count=1000)
            assert cursor == 0
            found.append(set(keys))
    assert len(found) == 3
    assert all(found)
    assert sorted(key for keys in found for key in keys) == sorted(
        f"cs:{one}".encode() for one in IDS
    )


async def test_a_master_without_slots_is_no_part_of_it(cluster: ClusterGroup) -> None:
    async with connected(cluster.url) as redis:
        stations = await registered(redis)
        cluster.add_node()
        await asyncio.sleep(2)  # until it is known
        assert len(await eventually_walked(stations)) == len(IDS)


async def test_redirected_reads_find_their_record(cluster: ClusterGroup) -> None:
    """A station is shown while its slot is being moved, and after it."""
    async with connected(cluster.url) as redis:
        stations = await registered(redis)
        slot = slot_of(b"cs:cs1")
        source = cluster.master(slot)
        target = next(node for node in cluster.masters() if node is not source)
        cluster.begin_migration(slot, source, target)
        cluster.move_keys(slot, source, target, 1000)
        moved = await stations.get("cs1")
        assert moved is not None
        assert await stations.get("unheard-of") is None
        assert await stations.set_status("cs1", "Rejected")
        assert b"Rejected" in (await stations.get("cs1") or b"")
        cluster.end_migration(slot, source, target)
        assert b"Rejected" in (await stations.get("cs1") or b"")
        assert await stations.delete("cs1")
        assert await stations.get("cs1") is None


async def until_counted(expiring: ExpiringCertificates) -> None:
    async with asyncio.timeout(10):
        while expiring.number is None:  # noqa: ASYNC110 nobody tells
            await asyncio.sleep(0.01)


async def test_certificates_that_run_out_are_counted(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of new and of old records; those that have run out too."""
    async with connected(valkey.url) as redis:
        certificates = Certificates(redis, b"")
        for file in sorted(CERTIFICATES.glob("*.pem")):
            await certificates.upload(read_pem(file.read_text("ascii")))
        ends = datetime(2024, 3, 1, tzinfo=UTC)
        assert await certificates.count_expiring(ends) == (0, 0)
        assert await certificates.count_expiring(ends + timedelta(seconds=1)) == (2, 0)
        page = await certificates.page(CertificateQuery(expiresBefore="2024-03-01T00:00:01Z"))
        assert len(page.records) == 2
        for key in await redis.read(b"", "KEYS", "certificate:*"):
            await redis.write(key, "HDEL", key, "notAfter", "subject")
        assert await certificates.count_expiring(ends + timedelta(seconds=1)) == (2, 0)
        odd = CERTIFICATES / "odd" / "d_v2.pem"  # nobody here can read its dates
        await certificates.upload(read_pem(odd.read_text("ascii")))
        assert await certificates.count_expiring(datetime(2060, 1, 1, tzinfo=UTC)) == (3, 1)

        monkeypatch.setattr(module, "_SOONER", 0.01)
        expiring = ExpiringCertificates(certificates)
        assert expiring.number is None
        counting = asyncio.create_task(expiring.run())
        await until_counted(expiring)
        assert expiring.number == (2, 1)
        counting.cancel()


async def test_counting_goes_on_when_redis_is_back(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SOONER", 0.01)
    async with connected(valkey.url) as redis:
        valkey.kill()
        expiring = ExpiringCertificates(Certificates(redis, b""))
        counting = asyncio.create_task(expiring.run())
        await asyncio.sleep(0.2)
        assert expiring.number is None
        assert not counting.done()
        valkey.start()
        await until_counted(expiring)
        assert expiring.number == (0, 0)
        counting.cancel()


def test_cursors_come_back_as_they_were() -> None:
    name = listing_name("cs", {"securityProfile": 1})
    cursor = Cursor(
        listing=name,
        masters=b"m" * 12,
        master=65535,
        scanned=2**64 - 1,
        skip=10_000,
        seen=frozenset(key_name(b"%d" % number) for number in range(50)),
    )

    assert Cursor.decode(cursor.encode(), name) == cursor
    for other in ("cs", {"securityProfile": 2}), ("token", {"securityProfile": 1}), ("cs", {}):
        with pytest.raises(BadRequest):
            Cursor.decode(cursor.encode(), listing_name(*other))
    assert listing_name("cs", {"a": 1, "b": 2}) == listing_name("cs", {"b": 2, "a": 1})

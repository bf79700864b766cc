"""Clients that leave while their lookup is under way."""

import asyncio
from collections.abc import Iterator

import pytest
from redis import Redis

from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.shared import Shared
from csms_redis.lookup.reading.supervisor import Supervisor
from csms_redis.redis.address import Address
from csms_redis.redis.standalone import Standalone
from csms_redis.registry.stations import STATION
from csms_redis.settings import LookupSettings
from tests.conftest import Service, StartService, Valkey, wait_for
from tests.support.http_client import connections
from tests.support.measure import descriptors, resident, say

CLIENTS = 1000
ROUNDS = 5
GROWTH = 4 * 2**20  # bytes that a round may add once the first ones have warmed up


@pytest.fixture
def admin(valkey: Valkey) -> Iterator[Redis]:
    with Redis(unix_socket_path=valkey.socket) as client:
        client.hset("cs:known", "securityProfile", "1")
        client.hset("cs:known-too", "securityProfile", "1")
        yield client


@pytest.fixture
def ready(valkey: Valkey, admin: Redis, start_service: StartService) -> Service:
    del admin
    service = start_service(redis__url=valkey.url, lookup__preload="false")
    wait_for(lambda: service.request("GET", "/health/ready").status == 200, "it is ready")
    return service


async def leave(service: Service, valkey: Valkey, round_: int) -> None:
    """Ask a thousand times, each for another station, and leave before Redis answers."""
    async with connections(service, CLIENTS) as clients:
        valkey.freeze()
        asked = [client.get(f"/cs/{round_}-{number}/auth") for number, client in enumerate(clients)]
        await asyncio.sleep(0.1)
        for number, client in enumerate(clients):
            client.close() if number % 2 else client.reset()
        await asyncio.gather(*asked, return_exceptions=True)
    valkey.thaw()


async def test_a_thousand_leave_mid_lookup(ready: Service, valkey: Valkey, admin: Redis) -> None:
    """No connection to Redis is lost or made, no descriptor and no memory stays behind."""
    pid = ready.process.pid
    descriptors_before = descriptors(pid)
    redis_before = {client["id"] for client in admin.client_list()}
    sizes = []
    for round_ in range(ROUNDS):
        await leave(ready, valkey, round_)
        wait_for(lambda: descriptors(pid) <= descriptors_before, "nothing is left behind")
        assert ready.get("/cs/known/auth").status == 200
        sizes.append(resident(pid))

    say(f"resident after each {CLIENTS} that left: {[size // 1024 for size in sizes]} KiB")
    assert {client["id"] for client in admin.client_list()} == redis_before
    assert (sizes[-1] - sizes[1]) / (ROUNDS - 2) < GROWTH
    assert ready.events("Redis cannot be reached") == []
    assert "Traceback" not in ready.log


async def test_cancelled_tasks_leave_no_flight(valkey: Valkey, admin: Redis) -> None:
    """As an aiohttp handler is cancelled when its client leaves."""
    topology = Standalone(Address(path=valkey.socket))
    lookups = Lookups(LookupSettings(preload=False), b"", topology)
    supervisor = Supervisor(Shared(lookups=lookups, prefix=b"", timeout=1))
    keeping = asyncio.create_task(supervisor.run())
    await lookups.find(STATION, "known")
    redis_before = {client["id"] for client in admin.client_list()}
    tasks_before = asyncio.all_tasks()
    valkey.freeze()
    finding = [asyncio.create_task(lookups.find(STATION, f"{n}")) for n in range(CLIENTS)]
    await asyncio.sleep(0.05)
    assert len(lookups._attached.by_target) == CLIENTS
    for task in finding:
        task.cancel()
    await asyncio.gather(*finding, return_exceptions=True)
    valkey.thaw()
    await lookups.find(STATION, "known-too")  # the last in line

    assert {client["id"] for client in admin.client_list()} == redis_before
    assert asyncio.all_tasks() == tasks_before
    assert not lookups._attached.by_target
    await asyncio.sleep(0.1)
    assert lookups._deadlines.timer is None
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping

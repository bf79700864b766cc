"""Ten thousand who ask for one cold station at once cost Redis one read."""

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
from tests.conftest import StartService, Valkey, wait_for
from tests.support.http_client import connections, most_connections
from tests.support.measure import lookups_read, say
from tests.support.wire import PROFILE

CLIENTS = 10_000


@pytest.fixture
def admin(valkey: Valkey) -> Iterator[Redis]:
    with Redis(unix_socket_path=valkey.socket) as client:
        client.hset("cs:cold", "securityProfile", "1")
        yield client


async def test_in_one_process(valkey: Valkey, admin: Redis) -> None:
    """Every task gets the record, from one HMGET."""
    topology = Standalone(Address(path=valkey.socket))
    lookups = Lookups(LookupSettings(preload=False, timeout=10), b"", topology)
    supervisor = Supervisor(Shared(lookups=lookups, prefix=b"", timeout=1))
    keeping = asyncio.create_task(supervisor.run())
    await lookups.find(STATION, "cold")
    before = lookups_read(admin)
    admin.hset("cs:cold", "securityProfile", "2")
    while len(lookups.cache):  # noqa: ASYNC110 nothing tells of an invalidation
        await asyncio.sleep(0.001)
    answers = await asyncio.gather(*(lookups.find(STATION, "cold") for _ in range(CLIENTS)))
    read = lookups_read(admin) - before
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping

    assert set(answers) == {PROFILE[2]}
    assert len(answers) == CLIENTS
    assert read == 1


async def test_over_http(valkey: Valkey, admin: Redis, start_service: StartService) -> None:
    """Each on a connection of its own, most of them before Redis answers the first."""
    service = start_service(
        redis__url=valkey.url,
        lookup__timeout="30",
        lookup__preload="false",
        server__max_connections="60000",
    )
    wait_for(lambda: service.request("GET", "/health/ready").status == 200, "it is ready")
    count = most_connections(CLIENTS)
    async with connections(service, count) as clients:
        before = lookups_read(admin)
        # not so long that a probe is late: a new connection would read the station again
        admin.client_pause(700, all=True)
        answers = await asyncio.gather(*(client.get("/cs/cold/auth") for client in clients))
        read = lookups_read(admin) - before

    say(f"{count} concurrent lookups of one station: {read} read of Redis")
    assert {(answer.status, answer.body) for answer in answers} == {(200, PROFILE[1])}
    assert read == 1
    assert count > 1000

"""A flood of ids that nobody knows."""

import asyncio
import os
from collections.abc import Iterator
from time import monotonic

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
from tests.support.http_client import HttpClient, connections
from tests.support.measure import lookups_read, resident, say
from tests.support.wire import station

KNOWN = 1000
UNKNOWN_ENTRIES = 20_000
BATCH = 1000
GROWTH = 16 * 2**20  # bytes, once the cache of unknown ids is full
FLOOD = 200_000
WHOLE_FLOOD = 1_000_000


@pytest.fixture
def admin(valkey: Valkey) -> Iterator[Redis]:
    with Redis(unix_socket_path=valkey.socket) as client:
        with client.pipeline(transaction=False) as pipeline:
            for number in range(KNOWN):
                pipeline.hset(f"cs:known-{number}", "securityProfile", "1")
            pipeline.execute()
        yield client


async def test_in_one_process(valkey: Valkey, admin: Redis) -> None:
    """Known stations stay cached, and memory stays where it was when the bound was reached."""
    topology = Standalone(Address(path=valkey.socket))
    lookups = Lookups(
        LookupSettings(preload=False, unknown_entries=UNKNOWN_ENTRIES, timeout=10), b"", topology
    )
    supervisor = Supervisor(Shared(lookups=lookups, prefix=b"", timeout=1))
    keeping = asyncio.create_task(supervisor.run())
    for number in range(KNOWN):
        await lookups.find(STATION, f"known-{number}")
    statuses: set[int] = set()
    sizes = []
    for start in range(0, FLOOD, BATCH):
        for number in range(start, start + BATCH):
            lookups.ask(station(f"nobody-{number}"), lambda status, _: statuses.add(status))
        while lookups._attached.by_target:  # noqa: ASYNC110 the last of a batch is nobody's to wait for
            await asyncio.sleep(0.001)
        if start >= 2 * UNKNOWN_ENTRIES:
            sizes.append(resident(os.getpid()))
    before = lookups_read(admin)
    for number in range(KNOWN):
        await lookups.find(STATION, f"known-{number}")
    read = lookups_read(admin) - before
    remembered, cached = (
        sum(len(source.unknown.until) for source in lookups.sources.all),
        len(lookups.cache),
    )
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping

    say(f"{FLOOD} unknown ids: resident {sizes[0] // 1024} → {max(sizes) // 1024} KiB")
    assert statuses == {404}
    assert remembered == UNKNOWN_ENTRIES
    assert cached == KNOWN
    assert read == 0
    assert max(sizes) - sizes[0] < GROWTH


@pytest.mark.parametrize(
    "flood", [20_000, pytest.param(WHOLE_FLOOD, marks=pytest.mark.slow)], ids=str
)
async def test_over_http(
    flood: int, valkey: Valkey, admin: Redis, start_service: StartService
) -> None:
    """The same of a service, from many connections."""
    service = start_service(
        redis__url=valkey.url,
        lookup__timeout="5",
        lookup__unknown_entries=str(UNKNOWN_ENTRIES // 4),
        lookup__preload="false",
    )
    wait_for(lambda: service.request("GET", "/health/ready").status == 200, "it is ready")
    pid = service.process.pid
    sizes = []
    numbers = iter(range(flood))

    async def ask(client: HttpClient) -> None:
        for number in numbers:
            answer = await client.get(f"/cs/nobody-{number}/auth")
            assert answer.status == 404
            if number % BATCH == 0 and number >= flood / 2:
                sizes.append(resident(pid))

    async with connections(service, 64) as clients:
        for number in range(KNOWN):
            assert (await clients[0].get(f"/cs/known-{number}/auth")).status == 200
        started = monotonic()
        await asyncio.gather(*(ask(client) for client in clients))
        took = monotonic() - started
        before = lookups_read(admin)
        for number in range(KNOWN):
            assert (await clients[0].get(f"/cs/known-{number}/auth")).status == 200
        read = lookups_read(admin) - before

    say(
        f"{flood} unknown ids over HTTP in {took:.1f} s: "
        f"resident {sizes[0] // 1024} → {max(sizes) // 1024} KiB"
    )
    assert read == 0
    assert max(sizes) - sizes[0] < GROWTH

"""A service that has read the whole fleet: an outage, unknown ids, a rollout, a Redis that loads.

Figures are printed (`-s`).
"""

import asyncio
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from hashlib import sha256
from time import monotonic
from typing import Any

import orjson
import pytest
from redis import Redis

from csms_redis.settings import LookupSettings
from tests.bench import stations
from tests.conftest import Service, StartService, Valkey, short_directory, wait_for
from tests.deploy.test_kubernetes import PROCESS
from tests.support.balancers import NGINX, running
from tests.support.http_client import HttpClient, connections
from tests.support.load import ShortClient
from tests.support.loading import LoadingValkey
from tests.support.measure import figures, resident, say
from tests.support.service import Service as Registry
from tests.support.service import free_port

CLIENTS = 32
TOKEN = {
    "countryCode": "GB",
    "partyId": "TWK",
    "type": "RFID",
    "contractId": "GBTWK012345678V",
    "visualNumber": "GB-TWK-012345678-V",
    "issuer": "Thoughtworks",
    "groupId": "GBTWK-GROUP-1",
    "valid": True,
    "languageCode": "en",
    "cacheMode": "ALWAYS",
}


@pytest.fixture
def admin(valkey: Valkey) -> Iterator[Redis]:
    with Redis(unix_socket_path=valkey.socket) as client:
        yield client


def ready(service: Service) -> None:
    """Wait until it is."""
    wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready", seconds=60)


async def each_once(
    numbers: Sequence[int], ask: Sequence[Callable[[int], Awaitable[None]]]
) -> None:
    """Have each number asked for once, by so many at a time."""
    left = iter(numbers)

    async def some(one: Callable[[int], Awaitable[None]]) -> None:
        for number in left:
            await one(number)

    await asyncio.gather(*map(some, ask))


async def look_up_all(service: Service, numbers: Sequence[int]) -> tuple[Counter[object], str]:
    """What becomes of a lookup of each station, and how long they took."""
    seen: Counter[object] = Counter()
    seconds: list[float] = []

    def asker(client: HttpClient) -> Callable[[int], Awaitable[None]]:
        async def ask(number: int) -> None:
            began = monotonic()
            answer = await client.get(f"/cs/{stations.PATTERN % number}/auth")
            seconds.append(monotonic() - began)
            right = stations.is_auth(number, answer.status, answer.body)
            seen["right" if right else answer.status] += 1

        return ask

    async with connections(service, CLIENTS) as clients:
        await each_once(numbers, [asker(client) for client in clients])
    return seen, figures(seconds)


@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("how", ["killed", "hung"])
async def test_an_outage_costs_nobody(
    how: str, count: int, valkey: Valkey, admin: Redis, start_service: StartService
) -> None:
    """Nobody was ever asked for before Redis went; each station is answered all the same."""
    stations.store(admin, first=0, count=count)
    service = start_service(redis__url=valkey.url)
    ready(service)
    if how == "killed":
        valkey.kill()
    else:
        valkey.freeze()
    seen, took = await look_up_all(service, range(count))
    if how == "hung":
        valkey.thaw()

    say(f"{count} stations, Redis {how}: {took}")
    assert seen == {"right": count}


async def test_unknown_ids_cost_redis_next_to_nothing(
    valkey: Valkey, admin: Redis, start_service: StartService
) -> None:
    """Fewer than a hundred commands for ten thousand ids, those of the probes among them."""
    stations.store(admin, first=0, count=100)
    service = start_service(redis__url=valkey.url)
    ready(service)
    before = admin.info("stats")["total_commands_processed"]
    statuses: Counter[int] = Counter()

    def asker(client: HttpClient) -> Callable[[int], Awaitable[None]]:
        async def ask(number: int) -> None:
            statuses[(await client.get(f"/cs/nobody-{number}/auth")).status] += 1

        return ask

    async with connections(service, CLIENTS) as clients:
        await each_once(range(10_000), [asker(client) for client in clients])
    asked = admin.info("stats")["total_commands_processed"] - before

    say(f"10,000 unknown ids: {asked} commands")
    assert statuses == {404: 10_000}
    assert asked < 100


def test_readiness_tells_how_much_is_known(
    valkey: Valkey, admin: Redis, start_service: StartService
) -> None:
    """And so do the metrics, and the log."""
    stations.store(admin, first=0, count=50)
    admin.set("cs:no-hash", "")
    service = start_service(redis__url=valkey.url)
    ready(service)
    said = service.request("GET", "/health/ready").json
    metrics = service.request("GET", "/metrics").body.decode()

    master = f"unix://{valkey.socket}"
    assert said["components"]["preload"] == "OK"
    assert said["details"]["preload"] == {
        master: {
            "cs": {"whole": True, "open": 1, "records": 50},
            "certificate": {"whole": True, "open": 0, "records": 0},
            "token": {"whole": True, "open": 0, "records": 0},
        }
    }
    assert f'csms_whole{{kind="cs",redis="{master}"}} 1.0' in metrics
    assert f'csms_open_ids{{kind="cs",redis="{master}"}} 1.0' in metrics
    assert f'csms_preloaded_records{{kind="cs",redis="{master}"}} 50.0' in metrics
    assert "csms_ready_in_part 0.0" in metrics
    (event,) = [each for each in service.events("all records are known") if each["kind"] == "cs"]
    assert event["records"] == 50


def test_without_the_right_to_scan(
    valkey: Valkey, admin: Redis, start_service: StartService
) -> None:
    """Everything works as without preload; the log says so once, and readiness why."""
    admin.hset("cs:a", "securityProfile", "2")
    commands = ["+@all", "-scan"]
    admin.acl_setuser("gate", enabled=True, passwords=["+secret"], keys=["*"], commands=commands)
    service = start_service(redis__url=f"unix://gate:secret@{valkey.socket}")
    ready(service)

    assert service.get("/cs/a/auth").json == {"securityProfile": 2}
    assert service.get("/cs/b/auth").status == 404
    problem = service.request("GET", "/health/ready").json["components"]["preload"]
    assert "Redis refuses SCAN (NOPERM)" in problem
    assert len(service.events("not all records are known")) == 3  # one for each kind


def test_ready_in_part(valkey: Valkey, admin: Redis, start_service: StartService) -> None:
    """Readiness waits for a scan, but not for ever."""
    stations.store(admin, first=0, count=5000)
    service = start_service(redis__url=valkey.url, lookup__preload_wait="0")
    ready(service)
    wait_for(lambda: len(service.events("all records are known")) == 3, "whole in the end")
    assert service.get(f"/cs/{stations.PATTERN % 4999}/auth").status == 200


async def test_a_redis_that_loads_its_data(start_service: StartService) -> None:
    """Lookups wait for it, the process becomes whole and ready by itself, and asks calmly."""
    count = 5000
    options = ("--appendonly", "yes", "--aof-use-rdb-preamble", "no")
    with short_directory() as home:
        with Valkey(home, *options) as valkey, Redis(unix_socket_path=valkey.socket) as admin:
            stations.store(admin, first=0, count=count)
        service = start_service(redis__url=valkey.url, lookup__timeout="30")
        async with connections(service, 2) as (one, other):
            asked = [one.get(f"/cs/{stations.PATTERN % 7}/auth"), other.get("/cs/nobody/auth")]
            began = monotonic()
            # 500 microseconds for each record
            with LoadingValkey(home, *options, "--key-load-delay", "500"):
                answers = await asyncio.gather(*asked)
                waited = monotonic() - began
                ready(service)
                wait_for(lambda: len(service.events("all records are known")) == 3, "whole")
                with Redis(unix_socket_path=valkey.socket) as admin:
                    stats = admin.info("commandstats")

    calls = {
        name: sum(
            int(stats.get(f"cmdstat_{name}", {}).get(which, 0))
            for which in ("calls", "rejected_calls")
        )
        for name in ("hmget", "hello", "scan")
    }
    say(f"lookups waited {waited:.1f} s for a Redis that loads; it was asked {calls}")
    assert [answer.status for answer in answers] == [200, 404]
    assert waited > 1
    # the records, and a few tries each second
    assert calls["hmget"] < count + 100
    assert calls["hello"] < 200
    assert calls["scan"] < 100


@pytest.mark.slow
def test_the_defaults_hold_100_000_of_each_kind(
    valkey: Valkey, admin: Redis, start_service: StartService
) -> None:
    """And the process takes no more memory than its near cache may, and what a pod has beside."""
    count = 100_000
    stations.store(admin, first=0, count=count)
    pem = orjson.dumps(
        "-----BEGIN CERTIFICATE-----\n" + ("A" * 64 + "\n") * 38 + "-----END CERTIFICATE-----\n"
    )
    for start in range(0, count, 1000):
        with admin.pipeline(transaction=False) as pipeline:
            for number in range(start, start + 1000):
                uid = f"{number:014X}"
                token = TOKEN | {"uid": uid, "lastUpdated": "2026-01-01T00:00:00Z"}
                fields: dict[Any, Any] = {
                    name: orjson.dumps(value) for name, value in token.items()
                }
                pipeline.hset(f"token:{uid}", mapping=fields)
                hash_ = urlsafe_b64encode(sha256(b"%d" % number).digest()).decode()
                pipeline.hset(f"certificate:{hash_}", "certificate", pem)
            pipeline.execute()
    service = start_service(redis__url=valkey.url)
    ready(service)
    (known,) = service.request("GET", "/health/ready").json["details"]["preload"].values()
    size = resident(service.process.pid)

    say(f"{count} records of each kind: the process has {size / 2**20:.0f} MiB")
    assert {name: one["records"] for name, one in known.items()} == dict.fromkeys(known, count)
    assert all(one["whole"] for one in known.values())
    assert size < PROCESS + LookupSettings().cache_bytes


@pytest.mark.slow
async def test_a_rollout_under_a_storm(valkey: Valkey, admin: Redis) -> None:
    """Three replicas behind nginx, one after the other replaced, while each station comes once.

    No request fails, and lookups cost Redis nothing: scans and probes do.
    """
    NGINX.need()
    count = 60_000
    stations.store(admin, first=0, count=count)
    failed: list[object] = []
    with ExitStack() as stack:
        settings = {"CSMS_REDIS__URL": valkey.url}
        replicas = [
            stack.enter_context(
                Registry(stack.enter_context(short_directory()), settings, port=free_port())
            )
            for _ in range(3)
        ]
        for service in replicas:
            service.ready()
        home = stack.enter_context(short_directory())
        ports = [service.port for service in replicas]
        port = stack.enter_context(running(NGINX, home, ports))
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        numbers = iter(range(count))
        asked = 0

        async def storm() -> None:
            nonlocal asked
            for number in numbers:
                if over.is_set():
                    return
                asked += 1
                try:
                    async with asyncio.timeout(12):
                        _, client = await loop.create_connection(ShortClient, "127.0.0.1", port)
                        answer = await client.get(f"/cs/{stations.PATTERN % number}/auth")
                except (OSError, TimeoutError) as error:
                    failed.append(error)
                else:
                    if not stations.is_auth(number, answer.status, answer.body):
                        failed.append(answer)

        admin.config_resetstat()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(storm())
            for service in replicas:
                await asyncio.to_thread(service.stop)
                await asyncio.to_thread(service.start)
                await asyncio.to_thread(service.ready)
            over.set()
        reads = int(admin.info("commandstats")["cmdstat_hmget"]["calls"])

    say(f"{asked} stations once each in a rollout: {len(failed)} failed, {reads} HMGET")
    assert failed == []
    assert asked > 1000
    # each new process reads each station once, whoever asks for it before that: nginx does not ask
    # whether a process is ready; besides, each process probes once a second
    assert 3 * count <= reads < 3 * count + 1000

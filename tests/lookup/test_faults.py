"""Faults on the read connection of a service that really runs, before a Valkey that does.

While each lasts, stations that were cached are asked for without a pause, and others that never
were. Figures are printed (`-s`); asserted is ten times what is wanted.
"""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import pytest
from redis import Redis

from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.link import LEASE
from csms_redis.lookup.reading.shared import Shared
from csms_redis.lookup.reading.supervisor import Supervisor
from csms_redis.redis.address import Address
from csms_redis.redis.standalone import Standalone
from csms_redis.registry.stations import STATION
from csms_redis.settings import LookupSettings
from tests.conftest import (
    Service,
    Valkey,
    running_service,
    running_valkey,
    short_directory,
    wait_for,
)
from tests.support.http_client import HttpClient, connect, connections
from tests.support.measure import descriptors, figures, percentile, say
from tests.support.redis_proxy import RedisProxy, redis_proxy
from tests.support.wire import outcome

CACHED = 50
COLD = 1000
OUTAGE = 4.0  # seconds: the lease is over after three
CACHED_WANTED, COLD_WANTED, RECOVERY_WANTED = 0.02, 0.3, 2.0  # seconds
SLACK = 10
RECORD: dict[Any, Any] = {"securityProfile": "1", "registrationStatus": '"Pending"'}


class Seen(NamedTuple):
    """A lookup and its answer."""

    at: float  # when it was asked
    seconds: float
    status: int
    says_when: bool


@dataclass
class Site:
    """A service, its Valkey and what is between them."""

    valkey: Valkey
    admin: Redis
    proxy: RedisProxy
    service: Service
    cached: list[Seen] = field(default_factory=list)
    cold: list[Seen] = field(default_factory=list)

    def store(self) -> None:
        """Write every station, past the service."""
        with self.admin.pipeline(transaction=False) as pipeline:
            for name in [f"cached-{n}" for n in range(CACHED)] + [f"cold-{n}" for n in range(COLD)]:
                pipeline.hset(f"cs:{name}", mapping=RECORD)
            pipeline.execute()

    def replace(self, name: str) -> None:
        """Write one station anew, past the service."""
        with self.admin.pipeline() as pipeline:
            pipeline.delete(f"cs:{name}")
            pipeline.hset(f"cs:{name}", mapping=RECORD)
            pipeline.execute()

    def is_proved(self) -> bool:
        """Whether the service says that Redis is there."""
        return self.service.request("GET", "/health/ready").status == 200


@pytest.fixture
def site() -> Iterator[Site]:
    with ExitStack() as running:
        valkey = running.enter_context(running_valkey("--dbfilename", "dump.rdb"))
        admin = running.enter_context(Redis(unix_socket_path=valkey.socket))
        proxy = running.enter_context(redis_proxy(valkey.socket))
        service = running.enter_context(
            running_service(redis__url=proxy.url, lookup__timeout="0.25", lookup__preload="false")
        )
        site = Site(valkey, admin, proxy, service)
        site.store()
        wait_for(site.is_proved, "the service reaches Redis")
        yield site
        assert "Traceback" not in service.log
        assert not service.events("unexpected error")


async def ask(client: HttpClient, cs_id: str) -> Seen:
    at = monotonic()
    answer = await client.get(f"/cs/{cs_id}/auth")
    return Seen(at, monotonic() - at, answer.status, answer.says_when)


@asynccontextmanager
async def watched(site: Site) -> AsyncIterator[None]:
    """Cache some stations and go on asking for them, and for others, one new one each time."""

    async def ask_cached() -> None:
        for number in count():
            site.cached.append(await ask(warm, f"cached-{number % CACHED}"))
            await asyncio.sleep(0.004)

    async def ask_cold() -> None:
        for number in range(COLD):
            site.cold.append(await ask(other, f"cold-{number}"))
            await asyncio.sleep(0.04)

    async with connections(site.service, 2) as (warm, other):
        for number in range(CACHED):
            assert (await ask(warm, f"cached-{number}")).status == 200
        tasks = [asyncio.create_task(ask_cached()), asyncio.create_task(ask_cold())]
        try:
            await asyncio.sleep(0.2)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Fault:
    """Something that takes Redis away for a while."""

    def begin(self, site: Site) -> None:
        raise NotImplementedError

    def end(self, site: Site) -> None:
        raise NotImplementedError

    def over(self, site: Site) -> bool:
        """Whether Redis is back, some time after `end`."""
        del site
        return True


class Frozen(Fault):
    """SIGSTOP: connections are accepted, nothing is answered."""

    def begin(self, site: Site) -> None:
        site.valkey.freeze()

    def end(self, site: Site) -> None:
        site.valkey.thaw()


class Killed(Fault):
    """SIGKILL, then a new one, which has the records from its first answer on."""

    def begin(self, site: Site) -> None:
        site.admin.save()
        site.valkey.kill()

    def end(self, site: Site) -> None:
        site.valkey.start()


class HalfOpen(Fault):
    """Every packet is lost, both ways, and nobody says so."""

    def begin(self, site: Site) -> None:
        site.proxy.drops = True

    def end(self, site: Site) -> None:
        site.proxy.drops = False


class Slow(Fault):
    """Each reply comes after three seconds."""

    def begin(self, site: Site) -> None:
        site.proxy.delay = 3

    def end(self, site: Site) -> None:
        site.proxy.delay = 0


class Demoted(Fault):
    """The master becomes a replica and goes on answering reads."""

    def begin(self, site: Site) -> None:
        site.admin.replicaof("127.0.0.1", "1")

    def end(self, site: Site) -> None:
        site.admin.replicaof("NO", "ONE")


class Loading(Fault):
    """It restarts and answers LOADING until it has read its file."""

    def begin(self, site: Site) -> None:
        site.admin.save()
        site.valkey.kill()
        options = ("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
        slow = LoadingValkey(Path(site.valkey.socket).parent, *options)
        try:
            slow.start()
        finally:
            site.valkey._process = slow._process  # which ends with the site

    def end(self, site: Site) -> None:
        pass

    def over(self, site: Site) -> bool:
        return ping(site.valkey.socket) == b"+PONG"


class LoadingValkey(Valkey):
    """One that is not waited for until it has loaded."""

    def _answers(self) -> bool:
        return ping(self.socket).startswith(b"-LOADING")


def ping(path: str) -> bytes:
    """The reply to a PING, without any client's patience; nothing where there is none."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        probe.connect(path)
        probe.sendall(b"PING\r\n")
        return probe.recv(1024).strip()
    return b""


FAULTS = [Frozen(), Killed(), HalfOpen(), Slow(), Demoted(), Loading()]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
async def test_redis_away(fault: Fault, site: Site) -> None:
    """Cached stations are answered 200 at once, others 503 in time; then all is as before."""
    before = descriptors(site.service.process.pid)
    async with watched(site):
        begun = monotonic()
        await asyncio.to_thread(fault.begin, site)
        await asyncio.sleep(OUTAGE)
        ending = monotonic()
        await asyncio.to_thread(fault.end, site)
        await asyncio.to_thread(wait_for, lambda: fault.over(site), "Redis is back")
        ended = monotonic()
        while not (site.cold[-1].at > ended and site.cold[-1].status == 200):
            assert monotonic() < ended + SLACK * RECOVERY_WANTED, "no recovery"
            await asyncio.sleep(0.005)
        recovery = monotonic() - ended
        await asyncio.sleep(0.2)

    meanwhile = [seen for seen in site.cold if begun < seen.at < ended]
    refused = [seen for seen in meanwhile if seen.status == 503]
    served = [seen.seconds for seen in site.cached if begun < seen.at]
    say(
        f"{type(fault).__name__}: cached {figures(served)}; cold "
        f"{figures([seen.seconds for seen in refused])}; recovery {recovery:.2f} s"
    )
    assert {seen.status for seen in site.cached} == {200}
    assert {seen.status for seen in meanwhile} <= {200, 503}
    assert all(seen.says_when for seen in refused)
    until_then = [seen for seen in meanwhile if seen.at + seen.seconds < ending]
    assert until_then[-1].status == 503
    assert len(refused) > 5
    assert percentile(served, 99) < SLACK * CACHED_WANTED
    assert max(seen.seconds for seen in meanwhile) < SLACK * COLD_WANTED
    # its two clients have left; the read connection is one, as before
    wait_for(lambda: descriptors(site.service.process.pid) <= before, "nothing is left behind")
    assert [event["reason"] for event in site.service.events("Redis cannot be reached")]


async def test_killed_connections(site: Site) -> None:
    """CLIENT KILL, again and again: not one lookup fails, for the next connection is quick."""
    async with watched(site):
        for _ in range(10):
            await asyncio.to_thread(site.admin.client_kill_filter, _type="normal", skipme=True)
            await asyncio.sleep(0.15)

    say(f"cold lookups while connections are killed: {figures([s.seconds for s in site.cold])}")
    assert {seen.status for seen in site.cached + site.cold} == {200}
    assert len(site.service.events("Redis reached")) > 5


@pytest.mark.parametrize("bytes_of_it", [0, 1, 20])
async def test_a_reply_cut_in_the_middle(bytes_of_it: int, site: Site) -> None:
    """It is asked again on the next connection; nobody gets half a record."""
    async with connections(site.service, 1) as (client,):
        for number in range(5):
            site.proxy.cut = bytes_of_it
            answer = await client.get(f"/cs/cold-{number}/auth")
            assert (answer.status, answer.body) == (200, b'{"securityProfile":1}')
            await asyncio.sleep(0.1)

    assert len(site.service.events("Redis reached")) > 1


async def test_flushall(site: Site) -> None:
    """Everything is gone at once, also what was cached."""
    async with connections(site.service, 1) as (client,):
        for number in range(CACHED):
            assert (await ask(client, f"cached-{number}")).status == 200
        site.admin.flushall()
        flushed = monotonic()
        while (await ask(client, "cached-0")).status == 200:
            assert monotonic() < flushed + 1
        took = monotonic() - flushed
        statuses = {(await ask(client, f"cached-{number}")).status for number in range(CACHED)}

    say(f"FLUSHALL seen after {took * 1000:.1f} ms")
    assert statuses == {404}


async def test_a_key_of_the_wrong_type(site: Site) -> None:
    """That one is answered 503, no other, and the connection stays."""
    async with connections(site.service, 1) as (client,):
        assert (await ask(client, "cached-0")).status == 200
        site.admin.set("cs:cached-0", "not a hash")
        changed = monotonic()
        while (await ask(client, "cached-0")).status == 200:
            assert monotonic() < changed + 1
        seen = [await ask(client, name) for name in ("cached-0", "cold-0", "cached-0", "cached-1")]
        site.replace("cached-0")
        again = await client.get("/cs/cached-0/auth")

    assert [each.status for each in seen] == [503, 200, 503, 200]
    assert (again.status, again.body) == (200, b'{"securityProfile":1}')
    assert len(site.service.events("Redis reached")) == 1


@pytest.mark.parametrize("how", ["blocked", "deleted"])
async def test_never_stale_once_its_invalidation_was_seen(how: str, site: Site) -> None:
    """A station that was blocked or deleted stays away when Redis goes away, for good."""
    async with connections(site.service, 1) as (client,):
        for name in ("cached-0", "cached-1"):
            assert (await ask(client, name)).status == 200
        if how == "blocked":
            site.admin.hset("cs:cached-0", "registrationStatus", '"Rejected"')
        else:
            site.admin.delete("cs:cached-0")
        changed = monotonic()
        while (await ask(client, "cached-0")).status == 200:
            assert monotonic() < changed + 1
        site.valkey.freeze()
        begun = monotonic()
        statuses = set()
        while monotonic() < begun + OUTAGE:
            statuses.add((await ask(client, "cached-0")).status)
            assert (await ask(client, "cached-1")).status == 200
            await asyncio.sleep(0.01)
        assert (await ask(client, "cached-0")).status == 503, "a negative is never stale"

    assert statuses <= {404, 503}


async def test_a_stop_of_five_seconds_refuses_nobody() -> None:
    """With the default time-out: what is not known waits for Redis, and Redis comes back."""
    with ExitStack() as running:
        valkey = running.enter_context(running_valkey())
        admin = running.enter_context(Redis(unix_socket_path=valkey.socket))
        service = running.enter_context(
            running_service(redis__url=valkey.url, lookup__preload="false")
        )
        for number in range(COLD):
            admin.hset(f"cs:cold-{number}", mapping=RECORD)
        wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
        async with connections(service, COLD) as clients:
            valkey.freeze()
            thaw = asyncio.get_running_loop().call_later(5, valkey.thaw)
            asking = [ask(client, f"cold-{number}") for number, client in enumerate(clients)]
            seen = await asyncio.gather(*asking)
            thaw.cancel()

    assert {each.status for each in seen} == {200}


async def test_slower_than_the_time_out(site: Site) -> None:
    """Each reply takes 400 ms: the first lookup fails in time, the next finds what came late."""
    site.proxy.delay = 0.4
    async with connections(site.service, 1) as (client,):
        first = await ask(client, "cold-0")
        await asyncio.sleep(0.5)
        second = await ask(client, "cold-0")

    say(f"slow Redis: 503 after {first.seconds * 1000:.0f} ms")
    assert (first.status, first.says_when) == (503, True)
    assert first.seconds < SLACK * COLD_WANTED
    assert second.status == 200
    assert second.seconds < 0.4


async def test_the_service_itself_stands_still(site: Site) -> None:
    """As when its CPU quota is used up: a reply that came meanwhile is read before it is late."""
    site.proxy.delay = 0.1
    async with connections(site.service, 1) as (client,):
        for number in range(5):
            asking = asyncio.create_task(ask(client, f"cold-{number}"))
            await asyncio.sleep(0.05)
            site.service.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(0.4)
            site.service.process.send_signal(signal.SIGCONT)
            assert (await asking).status == 200


async def test_after_a_stall_nothing_old_is_served(site: Site) -> None:
    """The lease is over, so what changed meanwhile is read, also before its invalidation is."""
    async with connections(site.service, CACHED) as clients:
        for number, client in enumerate(clients):
            assert (await ask(client, f"cached-{number}")).status == 200
        site.service.process.send_signal(signal.SIGSTOP)
        asking = [
            asyncio.create_task(ask(client, f"cached-{number}"))
            for number, client in enumerate(clients)
        ]
        await asyncio.sleep(LEASE + 0.2)
        for number in range(CACHED):
            site.admin.hset(f"cs:cached-{number}", "registrationStatus", '"Rejected"')
        site.service.process.send_signal(signal.SIGCONT)
        seen = [await each for each in asking]

    assert {each.status for each in seen} == {404}


async def test_nothing_is_left_behind() -> None:
    """No task, no flight, no timer, however often Redis comes and goes under load."""
    before = asyncio.all_tasks()
    outcomes: list[object] = []
    with short_directory() as home:
        valkey = Valkey(home)
        topology = Standalone(Address(path=valkey.socket))
        lookups = Lookups(LookupSettings(preload=False, timeout=0.1), b"", topology)
        supervisor = Supervisor(Shared(lookups=lookups, prefix=b"", timeout=1))
        keeping = asyncio.create_task(supervisor.run())
        for round_ in range(3):
            await asyncio.to_thread(valkey.start)
            finding = []
            for number in range(300):
                cs_id = f"{round_}-{number}"
                finding.append(asyncio.create_task(lookups.find(STATION, cs_id)))
                if number % 3 == 0:
                    asyncio.get_running_loop().call_later(0.01, finding[-1].cancel)
                if number == 200:
                    valkey.kill()
                await asyncio.sleep(0.002)
            outcomes += [
                await outcome(each) for each in finding if not (await _settled(each)).cancelled()
            ]
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
    await asyncio.sleep(0.2)

    assert len(outcomes) > 600
    assert asyncio.all_tasks() == before
    assert not lookups._attached.by_target
    assert not lookups._dispatch.backlog
    assert lookups._deadlines.timer is None
    assert lookups.sources.all == ()


async def _settled(task: "asyncio.Task[bytes]") -> "asyncio.Task[bytes]":
    await asyncio.wait([task])
    return task


async def test_a_connection_per_client_is_closed(site: Site) -> None:
    """The clients of an outage leave no descriptor behind."""
    before = descriptors(site.service.process.pid)
    site.valkey.freeze()
    for _ in range(3):
        clients = [await connect(site.service) for _ in range(50)]
        asked = [client.get(f"/cs/cold-{number}/auth") for number, client in enumerate(clients)]
        answers = await asyncio.gather(*asked)
        assert {answer.status for answer in answers} == {503}
        for client in clients:
            client.close()
        await asyncio.sleep(0.01)
    site.valkey.thaw()
    wait_for(lambda: descriptors(site.service.process.pid) <= before, "nothing is left behind")

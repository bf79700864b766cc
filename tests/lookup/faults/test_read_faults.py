"""Faults of the read connection, of a record, of the service: nobody gets half, or the past."""

import asyncio
import signal
from contextlib import suppress
from time import monotonic

import pytest

from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.link import LEASE
from csms_redis.lookup.reading.shared import Shared
from csms_redis.lookup.reading.supervisor import Supervisor
from csms_redis.redis.address import Address
from csms_redis.redis.standalone import Standalone
from csms_redis.registry.stations import STATION
from csms_redis.settings import LookupSettings
from tests.conftest import Valkey, short_directory, wait_for
from tests.support.faulty_site import CACHED, COLD_WANTED, OUTAGE, SLACK, Site, ask, watched
from tests.support.http_client import connect, connections
from tests.support.measure import descriptors, figures, say
from tests.support.wire import outcome


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

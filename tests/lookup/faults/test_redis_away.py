"""Redis is away for some seconds, in each way that it can be.

While a fault lasts, stations that were cached are asked for without a pause, and others that never
were. Figures are printed (`-s`); asserted is ten times what is wanted.
"""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest
from redis import Redis

from tests.conftest import running_service, running_valkey, wait_for
from tests.support.faulty_site import (
    CACHED_WANTED,
    COLD,
    COLD_WANTED,
    OUTAGE,
    RECORD,
    RECOVERY_WANTED,
    SLACK,
    Site,
    ask,
    watched,
)
from tests.support.http_client import connections
from tests.support.loading import LoadingValkey, ping
from tests.support.measure import descriptors, figures, percentile, say
from tests.support.topologies.software import CHOSEN


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
        often = "loading-process-events-interval-bytes"
        CHOSEN.must_know(often)  # without it a file below 2 MB is read before anything is answered
        site.admin.save()
        site.valkey.kill()
        options = ("--key-load-delay", "5000", f"--{often}", "1024")
        slow = LoadingValkey(Path(site.valkey.socket).parent, *options)
        try:
            slow.start()
        finally:
            site.valkey._process = slow._process  # which ends with the site

    def end(self, site: Site) -> None:
        pass

    def over(self, site: Site) -> bool:
        return ping(site.valkey.socket) == b"+PONG"


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

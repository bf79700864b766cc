"""What becomes of the connections when there are too many."""

from collections.abc import AsyncIterator

import pytest

from csms_redis.lookup.answers import OK, tail
from tests.support.front_bytes import HEALTH, REGISTER, SLOW, get, station, statuses
from tests.support.front_client import Client
from tests.support.front_site import Clock, Site, running_site


class TestMaxConnections:
    """`server.max_connections` is kept by closing what has waited longest."""

    @pytest.fixture
    async def site(self, clock: Clock) -> AsyncIterator[Site]:
        """A front that takes three connections."""
        del clock
        async with running_site(max_connections=3) as running:
            yield running

    async def connect(self, site: Site, clock: Clock, *requests: bytes) -> list[Client]:
        """Open connections, a second apart, and send a request on each."""
        clients = []
        for request in requests:
            client = site.client()
            await client.ask(request)
            clients.append(client)
            clock.now += 1
        return clients

    async def test_the_longest_idle_is_closed(self, site: Site, clock: Clock) -> None:
        clients = await self.connect(site, clock, *[station("cs001")] * 3)
        await clients[0].ask(station("cs001"))
        clock.now += 1
        clients += await self.connect(site, clock, station("cs002"), station("cs002"))
        assert [client.ended for client in clients] == [False, True, True, False, False]

    @pytest.mark.parametrize(
        "longest", [b"", HEALTH, REGISTER, b"GET /", b"odd\r\n", station("no"), station("cs001")]
    )
    async def test_whatever_it_waits_for(self, site: Site, clock: Clock, longest: bytes) -> None:
        clients = await self.connect(site, clock, longest, station("cs001"), HEALTH, HEALTH)
        assert [client.ended for client in clients] == [True, False, False, False]

    @pytest.mark.parametrize("new", [station("cs001"), HEALTH])
    async def test_the_new_one_is_not_the_longest(
        self, site: Site, clock: Clock, new: bytes
    ) -> None:
        clients = await self.connect(site, clock, station("no"), b"GET /", b"GET /", new)
        assert [client.ended for client in clients] == [True, False, False, False]
        assert statuses(clients[-1].replies) == [200]

    async def test_no_request_under_way_is_cut_off(self, site: Site, clock: Clock) -> None:
        site.lookups.slow.add(SLOW)
        unfinished = REGISTER[:-1]
        clients = await self.connect(site, clock, station("slow"), unfinished, station("slow"))
        clients += await self.connect(site, clock, station("cs001"))
        assert [client.ended for client in clients] == [False, False, False, True]
        site.lookups.answer(OK, tail(b"{}"))
        site.lookups.answer(OK, tail(b"{}"))
        await clients[1].ask(REGISTER[-1:])
        assert [statuses(client.replies) for client in clients[:3]] == [[200], [201], [200]]

    async def test_who_reads_nothing_is_cut_off(self, site: Site, clock: Clock) -> None:
        """At once, for what was written to it may never leave."""
        clients = []
        for header in (b"X: y", b"TE: trailers"):
            clients.append(site.client())
            clients[-1].transport.stuck = True
            await clients[-1].ask(get(b"/docs/swagger-ui-bundle.js", header))
            clock.now += 1
        clients += await self.connect(site, clock, HEALTH, HEALTH, HEALTH)
        assert [client.transport.aborted for client in clients] == [True, True] + [False] * 3
        assert [client.ended for client in clients] == [True, True] + [False] * 3

    async def test_it_may_be_idle_again_after_an_answer(self, site: Site, clock: Clock) -> None:
        clients = await self.connect(site, clock, HEALTH, REGISTER, station("cs001"))
        for client in clients:
            await client.ask(station("cs002"))
        clients += await self.connect(site, clock, HEALTH)
        assert len([client for client in clients if not client.ended]) == 3

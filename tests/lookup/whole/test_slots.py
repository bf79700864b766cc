"""On a cluster all records are known only while the slots stay where they are."""

from math import inf

import pytest

from csms_redis.lookup.known.whole import MOVING
from csms_redis.lookup.lookups import Lookups
from csms_redis.redis.address import Address
from csms_redis.redis.own_slots import read_own_slots
from csms_redis.redis.topology import Topology
from csms_redis.settings import LookupSettings
from tests.support.preloading import FOUND, NOT_FOUND, Site, preloading
from tests.support.wire import MASTER, bulk, connect, record


class Slots(Topology):
    """A cluster of one master, whose slots the test says."""

    clustered = True

    def __init__(self) -> None:
        super().__init__()
        self.masters = (MASTER,)
        self.its = {0, 1, 2}

    def owner(self, key: bytes) -> Address | None:
        del key
        return MASTER

    def confirmed(self, master: Address) -> float:
        del master
        return inf

    def slots_of(self, master: Address) -> set[int]:
        del master
        return self.its

    async def look(self) -> None:
        """Nothing is found out."""


def nodes(epoch: int = 1, slots: str = "0-2") -> bytes:
    return bulk(f"id h:1@2 myself,master - 0 0 {epoch} connected {slots}\n".encode())


@pytest.fixture
async def clustered() -> Site:
    lookups = Lookups(LookupSettings(timeout=5), b"", Slots())
    site = Site(lookups, connect(lookups))
    site.records = {b"cs:a": record(1)}
    site.refuses[b"CLUSTER"] = nodes()
    return site


class TestSlots:
    """On a cluster it is whole only while the master's slots stay what they are."""

    def probe(self, site: Site, reply: bytes) -> None:
        """A probe tells the slots."""
        own = read_own_slots(reply.partition(b"\r\n")[2])
        site.lookups.events.own_slots(site.wire.connection, own)

    async def test_whole(self, clustered: Site) -> None:
        async with preloading(clustered):
            await clustered.serve()
            self.probe(clustered, nodes())
            self.probe(clustered, nodes())
            assert await clustered.lookup("nobody") == NOT_FOUND

    @pytest.mark.parametrize(
        "after",
        [nodes(slots="0-1"), nodes(slots="0-3"), nodes(epoch=2), nodes(slots="0-2 [2->-other]")],
        ids=["fewer", "more", "given away and back", "moving"],
    )
    async def test_slots_that_change(self, clustered: Site, after: bytes) -> None:
        """A key may be where it was not looked for."""
        async with preloading(clustered):
            await clustered.serve()
            self.probe(clustered, nodes())
            self.probe(clustered, after)
            assert clustered.stations.problem == MOVING
            assert await clustered.lookup("nobody") is None
            assert await clustered.lookup("a") == FOUND[1]

    @pytest.mark.parametrize(
        "after", [nodes(slots="0-1"), nodes(epoch=2), nodes(slots="0-2 [2->-other]")]
    )
    async def test_slots_that_change_in_a_scan(self, clustered: Site, after: bytes) -> None:
        """What is read is held all the same."""
        async with preloading(clustered):
            await clustered.serve(before=b"HMGET")
            clustered.refuses[b"CLUSTER"] = after
            clustered.answer_held()
            await clustered.serve()
            assert not clustered.stations.is_whole
            assert clustered.stations.complete_once
            assert await clustered.lookup("a") == FOUND[1]
            assert await clustered.lookup("nobody") is None

    async def test_slots_of_the_map_that_the_master_does_not_have(self, clustered: Site) -> None:
        """Its keys are another's, whatever the map says."""
        topology = clustered.lookups.topology
        assert isinstance(topology, Slots)
        topology.its = {0, 1, 2, 3}
        async with preloading(clustered):
            await clustered.serve()
            assert clustered.stations.problem == MOVING

    async def test_slots_that_the_map_gives_it(self, clustered: Site) -> None:
        """Nobody told of the keys that they brought along."""
        async with preloading(clustered):
            await clustered.serve()
            assert clustered.stations.is_whole
            clustered.lookups.events.slots_changed({3})
            assert await clustered.lookup("nobody") is None

    async def test_a_master_that_does_not_tell(self, clustered: Site) -> None:
        """No right to CLUSTER NODES: never whole."""
        clustered.refuses[b"CLUSTER"] = b"-NOPERM no permissions\r\n"
        async with preloading(clustered) as preload:
            await clustered.serve()
            assert "which slots it has (NOPERM)" in (preload.problem or "")

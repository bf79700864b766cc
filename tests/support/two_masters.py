"""Lookups of a cluster of two masters, which the test plays."""

from collections.abc import Collection
from math import inf

from csms_redis.lookup.lookups import Lookups
from csms_redis.redis.address import Address
from csms_redis.redis.topology import Topology
from csms_redis.settings import LookupSettings
from tests.support.wire import PROFILE, Client, Wire, connect

A = Address(host="a.test", port=7001)
B = Address(host="b.test", port=7002)
C = Address(host="c.test", port=7003)
TIMEOUT = 0.1
FOUND = {profile: (200, body) for profile, body in PROFILE.items()}
NOT_FOUND = (404, b"")
AWAY = (503, b"")


class Halves(Topology):
    """Stations whose id begins with b belong to B, all others to A, until they move."""

    def __init__(self) -> None:
        super().__init__()
        self.masters = (A, B)
        self.owners: dict[bytes, Address | None] = {}

    def owner(self, key: bytes) -> Address | None:
        return self.owners.get(key, B if key.startswith(b"cs:b") else A)

    def confirmed(self, master: Address) -> float:
        del master
        return inf

    async def look(self) -> None:
        """Nothing is found out."""

    def moved(self, key: bytes, to: Address) -> None:
        self.owners[key] = to
        super().moved(key, to)

    def move(self, key: bytes, to: Address, slots: Collection[int] | None = None) -> None:
        """Have a key belong to another master."""
        self.owners[key] = to
        self._notify(slots)


class Cluster:
    """Lookups with a connection to each of two masters."""

    def __init__(self) -> None:
        self.topology = Halves()
        self.lookups = Lookups(LookupSettings(timeout=TIMEOUT), b"", self.topology)
        self.client = Client(self.lookups)
        self.a = connect(self.lookups, master=A)
        self.b = connect(self.lookups, master=B)

    async def fill(self, cs_id: str, wire: Wire, reply: bytes) -> tuple[int, bytes]:
        """Look a station up, which only `wire` is asked for."""
        self.client.ask(cs_id)
        other = self.b if wire is self.a else self.a
        assert await wire.asked() == [b"cs:" + cs_id.encode()]
        assert await other.asked() == []
        wire.receive(reply)
        (answer,) = self.client.take()
        return answer

    async def hit(self, cs_id: str) -> tuple[int, bytes] | None:
        """Look a station up; None when Redis would be asked."""
        self.client.ask(cs_id)
        if await self.a.sent() or await self.b.sent():
            return None
        (answer,) = self.client.take()
        return answer

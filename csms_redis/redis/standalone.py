"""One Redis, or what looks like one: a managed service behind a name, a proxy, a Unix socket."""

import asyncio
from math import inf

from csms_redis.redis.address import Address
from csms_redis.redis.topology import Topology


class Standalone(Topology):
    """The one master that `redis.url` names."""

    def __init__(self, address: Address) -> None:
        """Have every key at `address`."""
        super().__init__()
        self.masters = (address,)
        self.problem = None
        self._address = address

    def __str__(self) -> str:
        """The address for people, without user and password."""
        return str(self._address)

    def owner(self, key: bytes) -> Address:
        """The one master, whatever the key."""
        del key
        return self._address

    async def owner_after(self, key: bytes, former: Address, *, within: float) -> Address | None:
        """There is no other."""
        del key, former, within
        return None

    def confirmed(self, master: Address) -> float:
        """Nobody else could say."""
        del master
        return inf

    async def look(self) -> None:
        """There is nothing to find out."""

    async def run(self) -> None:
        """There is nothing to follow."""
        await asyncio.Event().wait()

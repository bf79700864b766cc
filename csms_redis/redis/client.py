"""Writes to Redis, each to the master that its key belongs to."""

import asyncio
from collections.abc import Callable, Collection
from time import monotonic
from typing import Any

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.node import AWAY, Node, Redirected
from csms_redis.redis.topology import Topology

_MOST_REDIRECTIONS = 5
_TRY_AGAIN = 0.02  # seconds


class RedisClient:
    """The masters of a topology, for writes."""

    def __init__(
        self, topology: Topology, new_node: Callable[[Address], Node], *, timeout: float
    ) -> None:
        """Write to what `topology` names.

        Args:
            topology: which master has a key.
            new_node: how to write to one.
            timeout: seconds for a write, besides the time that replicas have.
        """
        self._topology = topology
        self._new_node = new_node
        self._timeout = timeout
        self._nodes: dict[Address, Node] = {}
        self._closing: set[asyncio.Task[None]] = set()
        topology.changed.append(self._leave)

    async def write(self, key: bytes, *command: bytes | str | int) -> Any:
        """Send one command that changes the record at `key`, once.

        Raises:
            Unavailable: it was not carried out.
            OutcomeUnknown: it was sent and nobody knows, or not enough replicas have it.
        """
        master = self._topology.owner(key)
        asking = False
        deadline = monotonic() + self._timeout
        for _ in range(_MOST_REDIRECTIONS):
            if master is None:
                break
            try:
                node = self.node(master)
                return await node.write(*command, within=deadline - monotonic(), asking=asking)
            except Redirected as redirected:
                asking = redirected.to is not None and not redirected.for_good
                if redirected.to is None:
                    await asyncio.sleep(_TRY_AGAIN)
                else:
                    master = self._topology.canonical(redirected.to)
                    if redirected.for_good:
                        self._topology.moved(key, master)
            except Unavailable:
                self._topology.doubt()
                raise
        self._topology.doubt()
        raise Unavailable(AWAY)

    def node(self, address: Address) -> Node:
        """The server at an address."""
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = self._new_node(address)
        return node

    def _leave(self, slots: Collection[int] | None) -> None:
        """Close the connections to what is no master any more."""
        del slots
        for address in self._nodes.keys() - set(self._topology.masters):
            closing = asyncio.ensure_future(self._nodes.pop(address).close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every connection."""
        for node in self._nodes.values():
            await node.close()

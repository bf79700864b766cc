"""Writes and plain reads of Redis, each at the master that its key belongs to."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from time import monotonic
from typing import Any, TypeAlias

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.connections import Command
from csms_redis.redis.node import Node
from csms_redis.redis.outcomes import AWAY, Redirected, is_replica
from csms_redis.redis.topology import Topology

Admit: TypeAlias = Callable[[Address | None], Awaitable[None]]
"""Returns once a master may be used; raises `Unavailable` while it may not."""

_MOST_REDIRECTIONS = 5
_TRY_AGAIN = 0.02  # seconds


class RedisClient:
    """The masters of a topology, for all commands but those of the lookups.

    This class is responsible for sending a command to the master that has its key, also when the
    key moves. It does not find the masters out (`Topology`) and does not connect (`Node`).

    Attributes:
        waits: whether a write is answered only when replicas have it. WAIT waits for what its own
            write changed, so a write that changes nothing proves nothing of what others wrote.
    """

    def __init__(
        self,
        topology: Topology,
        new_node: Callable[[Address], Node],
        *,
        timeout: float,
        admit: Admit | None = None,
        waits: bool = False,
    ) -> None:
        """Use the masters that `topology` names; nothing is sent yet.

        Args:
            topology: knows which master has a key.
            new_node: makes the connections to a master.
            timeout: seconds for each command, besides the time that replicas have.
            admit: asked before each command, with the master that the command is for.
            waits: whether the nodes wait for replicas after each write.
        """
        self.waits = waits
        self._topology = topology
        self._new_node = new_node
        self._timeout = timeout
        self._admit = admit or _always
        self._nodes: dict[Address, Node] = {}
        self._closing: set[asyncio.Task[None]] = set()
        topology.changed.append(self._leave)

    async def write(self, key: bytes, *command: bytes | str | int) -> Any:
        """Send one command that changes the record at `key`, once.

        Raises:
            Unavailable: it was not carried out.
            OutcomeUnknown: it was sent and nobody knows, or not enough replicas have it.
        """

        def send(node: Node, within: float, asking: bool) -> Awaitable[Any]:  # noqa: FBT001 as it is called
            return node.write(*command, within=within, asking=asking)

        return await self._at_owner(key, send)

    async def read(self, key: bytes, *command: bytes | str | int) -> Any:
        """Send one command that reads the record at `key`.

        Raises:
            Unavailable: there is no answer.
        """

        async def send(node: Node, within: float, asking: bool) -> Any:  # noqa: FBT001 as it is called
            commands: list[Command] = [("ASKING",)] if asking else []
            return (await node.read_many([*commands, command], within=within))[-1]

        return await self._at_owner(key, send)

    def owner(self, key: bytes) -> Address | None:
        """The master that a key belongs to, as far as is known."""
        return self._topology.owner(key)

    @property
    def clustered(self) -> bool:
        """Whether the masters share the keys, each with slots of its own."""
        return self._topology.clustered

    @property
    def keeps_together(self) -> bool:
        """Whether one command may have the keys of several records, as far as is known."""
        nodes = [self._nodes.get(master) for master in self.masters]
        return not self.clustered and all(node is not None and node.has_every_key for node in nodes)

    @property
    def masters(self) -> tuple[Address, ...]:
        """The masters that take writes, as far as is known."""
        return self._topology.masters

    async def read_at(self, master: Address, commands: Sequence[Command]) -> list[Any]:
        """Send commands that change nothing to one of the masters, all at once.

        Raises:
            Unavailable: one has no answer.
            Redirected: another master has what one asks for.
        """
        await self._admit(master)
        try:
            return await self.node(master).read_many(commands, within=self._timeout)
        except (Redirected, Unavailable):
            self._topology.doubt()
            raise

    async def _at_owner(
        self, key: bytes, send: Callable[[Node, float, bool], Awaitable[Any]]
    ) -> Any:
        """Send to the master that has a key, and after it where it is said to be.

        Args:
            key: of the record.
            send: to a server, to be answered within some seconds, perhaps as one that the key is
                just being moved to.

        Raises:
            Unavailable: nobody could be asked.
        """
        await self._admit(self._topology.owner(key))
        master = self._topology.owner(key)
        asking = False
        deadline = monotonic() + self._timeout
        for _ in range(_MOST_REDIRECTIONS):
            if master is None:
                break
            try:
                node = self.node(master)
                return await send(node, deadline - monotonic(), asking)
            except Redirected as redirected:
                asking = redirected.to is not None and not redirected.for_good
                if redirected.to is None:
                    await asyncio.sleep(_TRY_AGAIN)
                else:
                    master = self._topology.canonical(redirected.to)
                    if redirected.for_good:
                        self._topology.moved(key, master)
            except Unavailable as unavailable:
                self._topology.doubt()
                asking = False
                left = deadline - monotonic()
                master = await self._another_owner(key, master, unavailable, within=left)
                if master is None:
                    raise
        self._topology.doubt()
        raise Unavailable(AWAY)

    async def write_all(self, writes: Sequence[tuple[bytes, Command]]) -> list[Any]:
        """Send commands that each change the record at a key, each once, many together.

        Args:
            writes: keys and commands; those of one key are carried out in order only if none of
                them fails.

        Returns:
            For each its reply, or the `Unavailable` or `OutcomeUnknown` that `write` would raise.
        """
        groups: dict[Address | None, list[int]] = {}
        for index, (key, _) in enumerate(writes):
            groups.setdefault(self._topology.owner(key), []).append(index)
        replies: list[Any] = [None] * len(writes)

        async def write(master: Address | None, group: list[int]) -> None:
            said = await self._write_group(master, [writes[index] for index in group])
            for index, reply in zip(group, said, strict=True):
                replies[index] = reply
                if isinstance(reply, Unavailable):
                    self._topology.doubt()
                elif isinstance(reply, Redirected):
                    key, command = writes[index]
                    try:
                        replies[index] = await self.write(key, *command)
                    except Unavailable as unavailable:
                        replies[index] = unavailable

        await asyncio.gather(*(write(master, group) for master, group in groups.items()))
        return replies

    async def _write_group(
        self, master: Address | None, writes: Sequence[tuple[bytes, Command]]
    ) -> list[Any]:
        """Send commands to one master; for each its reply, or why there is no reply."""
        if master is None:
            return [Redirected()] * len(writes)
        try:
            await self._admit(master)
        except Unavailable as unavailable:
            return [unavailable] * len(writes)
        commands = [command for _, command in writes]
        said = await self.node(master).write_all(commands, within=self._timeout)
        key, _ = writes[-1]
        failure = said[-1]
        if isinstance(failure, Unavailable) and await self._another_owner(
            key, master, failure, within=self._timeout
        ):
            replica = [isinstance(one, Unavailable) and is_replica(one) for one in said]
            said = [Redirected() if is_ else one for one, is_ in zip(said, replica, strict=True)]
        return said

    async def _another_owner(
        self, key: bytes, former: Address, failure: Unavailable, *, within: float
    ) -> Address | None:
        """Which other master has a key, if a failure says that the former one is a replica now.

        Returns:
            The other master; None where the failure says something else, or where no other master
            has the key in time.
        """
        if not is_replica(failure):
            return None
        return await self._topology.owner_after(key, former, within=within)

    def node(self, address: Address) -> Node:
        """The server at an address."""
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = self._new_node(address)
        return node

    def _leave(self, slots: Collection[int] | None) -> None:
        """Close the connections to servers that are not masters any more."""
        del slots
        for address in self._nodes.keys() - set(self._topology.masters):
            closing = asyncio.ensure_future(self._nodes.pop(address).close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every connection."""
        for node in self._nodes.values():
            await node.close()


async def _always(master: Address | None) -> None:
    """Let everything be sent."""
    del master

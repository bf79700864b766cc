"""Writes and plain reads of one Redis server, through redis-py's connections."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as HungUp
from redis.exceptions import ReadOnlyError, RedisError

from csms_redis.contract.errors import OutcomeUnknown, Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.connections import ERROR_REPLIES, Command, connection_to, exchange, hello
from csms_redis.redis.durability import MASTER_ONLY, Durability, tell_of_old_server, unconfirmed
from csms_redis.redis.names import blamed
from csms_redis.redis.outcomes import AWAY, UNKNOWN, Redirected, failure
from csms_redis.redis.together import Together

Said: TypeAlias = tuple[Any, Any]
"""What was said to a write: its reply, or why there is none; and the reply of who confirms it."""


class Node:
    """A bounded number of connections to one server, on which commands are sent.

    This class is responsible for sending each command once and in time. What an error reply means
    is in `outcomes`, where a write must be in `durability`.

    redis-py makes the connections and speaks the protocol. Its pool, its time-outs and its retries
    are left out: the first two take a third of a write's time, and a repeated write could undo
    someone else's acknowledged one.
    """

    def __init__(
        self,
        address: Address,
        *,
        max_connections: int,
        durability: Durability = MASTER_ONLY,
        new_connection: Callable[[Address], AbstractConnection] | None = None,
    ) -> None:
        """Know a server; nothing is sent until it is used.

        Args:
            address: where the server is.
            max_connections: how many commands may be under way at once; others wait.
            durability: where a write must be before it is acknowledged.
            new_connection: makes a connection, not connected yet, that does not retry.
        """
        self.address = address
        self._new_connection = new_connection or connection_to
        self._slots = asyncio.Semaphore(max_connections)
        self._free: list[AbstractConnection] = []  # the last used last
        self._durability = durability
        self._mode: bytes | None = None  # as the server says; a proxy, which has several, does not
        self._together = Together(self._send_writes)
        self._told_of_age = False  # whether the log says that the server has no WAITAOF
        self._closed = False

    @property
    def has_every_key(self) -> bool:
        """Whether the server said that it is one by itself; a proxy may share the keys out."""
        return self._mode == b"standalone"

    async def write(self, *command: bytes | str | int, within: float, asking: bool = False) -> Any:
        """Send one command that changes something, once.

        Those of one turn of the event loop are sent together, for each costs less so; but not
        through a proxy, where one would wait for another's server.

        Args:
            command: with its arguments.
            within: seconds: to wait, to connect, to be answered; replicas have theirs besides.
            asking: the key is just being moved to this server (ASK).

        Raises:
            Unavailable: it was not carried out.
            OutcomeUnknown: it was sent and nobody knows, or not enough replicas have it.
            Redirected: it was not carried out.
        """
        if asking or self._mode is None:
            ((reply, confirmed),) = await self._send_writes([command], within=within, asking=asking)
        else:
            reply, confirmed = await self._together.send(command, within=within)
        # by each caller itself, so that what is logged is logged of its request
        failed = self._refused(command, reply) or self._missing(confirmed)
        if failed is not None:
            raise failed
        return reply

    async def write_all(self, commands: Sequence[Command], *, within: float) -> list[Any]:
        """Send commands that change something, each once, all together.

        Returns:
            For each its reply, or the exception that `write` would raise.
        """
        said = await self._send_writes(commands, within=within)
        missing = self._missing(said[0][1])
        return [
            self._refused(command, reply) or missing or reply
            for command, (reply, _) in zip(commands, said, strict=True)
        ]

    async def _send_writes(
        self, commands: Sequence[Command], *, within: float, asking: bool = False
    ) -> list[Said]:
        """Send commands that change something; for each what was said to it."""
        durability = self._durability
        try:
            replies = await self._send(
                commands,
                before=[("ASKING",)] if asking else [],
                after=durability.commands,
                broken=OutcomeUnknown(UNKNOWN),
                within=within + (durability.timeout if durability.replicas else 0),
                master=True,
            )
        except (Unavailable, Redirected) as reason:
            return [(reason, None)] * len(commands)
        confirmed = replies[-1] if len(replies) > len(commands) else None
        return [(reply, confirmed) for reply in replies[: len(commands)]]

    def _refused(self, command: Command, reply: Any) -> Exception | None:
        """Why a write was not carried out, or is not known to be; None where it was."""
        if isinstance(reply, ERROR_REPLIES):
            return failure(self.address, command[0], reply, writing=True)
        return reply if isinstance(reply, Unavailable | Redirected) else None

    def _missing(self, confirmed: Any) -> OutcomeUnknown | None:
        """Why a write is not where it must be; None where it is, or nobody was waited for."""
        return None if confirmed is None else unconfirmed(confirmed, self._durability)

    async def read(self, *command: bytes | str | int, within: float) -> Any:
        """Send one command that changes nothing, and be answered `within` seconds.

        Raises:
            Unavailable: there is no answer.
            Redirected: another server has it.
        """
        (reply,) = await self._send([command], broken=Unavailable(AWAY), within=within)
        if isinstance(reply, ERROR_REPLIES):
            raise failure(self.address, command[0], reply, writing=False)
        return reply

    async def read_many(self, commands: Sequence[Command], *, within: float) -> list[Any]:
        """Send commands that change nothing to a master, all at once on one connection.

        Args:
            commands: each with its arguments.
            within: seconds in which all must be answered.

        Returns:
            Their replies, in order.

        Raises:
            Unavailable: one has no answer, or this is no master.
            Redirected: another server has what one asks for.
        """
        replies = await self._send(commands, broken=Unavailable(AWAY), within=within, master=True)
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, ERROR_REPLIES):
                raise failure(self.address, command[0], reply, writing=False)
        return replies

    async def ask(self, *commands: Command, within: float, master: bool = False) -> list[Any]:
        """Send commands, all at once on one connection, to see what becomes of them.

        Args:
            commands: each with its arguments.
            within: seconds in which all must be answered.
            master: whether it must be one.

        Returns:
            Their replies, in order; one that is an error is redis-py's exception.

        Raises:
            Unavailable: one has no answer.
        """
        broken = Unavailable(AWAY)
        return await self._send(commands, broken=broken, within=within, master=master)

    async def close(self) -> None:
        """Close every connection; one that is in use is closed when its command is answered."""
        self._closed = True
        while self._free:
            await self._free.pop().disconnect(nowait=True)

    async def _send(  # noqa: PLR0913 each says something of how they are sent
        self,
        commands: Sequence[Command],
        *,
        broken: Unavailable,
        within: float,
        master: bool = False,
        before: Sequence[Command] = (),
        after: Sequence[Command] = (),
    ) -> list[Any]:
        """Send commands together; their replies, the errors among them.

        Args:
            commands: each with its arguments.
            broken: what to raise when they were sent and not all are answered.
            within: seconds.
            master: whether it must be one.
            before: sent before them, whose replies do not matter.
            after: sent after them, whose replies follow theirs: of no use if each is refused, and
                then not waited for.
        """
        fault = Unavailable(AWAY)
        try:
            async with asyncio.timeout(within), self._slots:
                connection = self._free.pop() if self._free else self._new_connection(self.address)
                try:
                    await self._ensure_connected(connection, master=master)
                    fault = broken
                    replies = await exchange(connection, commands, before=before, after=after)
                    if self._closed or any(isinstance(reply, ERROR_REPLIES) for reply in replies):
                        await connection.disconnect(nowait=True)
                except BaseException:
                    # what it still has to say belongs to no one
                    await connection.disconnect(nowait=True)
                    raise
                finally:
                    self._free.append(connection)
        except ERROR_REPLIES as error:
            raise failure(self.address, "connect", error, writing=False) from error
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            # ValueError: a redirection that names no server
            raise fault from blamed(self.address.host, self.address.port, error)
        return replies

    async def _ensure_connected(self, connection: AbstractConnection, *, master: bool) -> None:
        if connection.is_connected and await connection.can_read():
            # Redis closed it, or sent what nobody asked for
            await connection.disconnect(nowait=True)
        if connection.is_connected:
            return
        try:
            await connection.connect()  # type: ignore[no-untyped-call] # redis-py's
        except HungUp as error:
            if isinstance(error.__cause__, ERROR_REPLIES):  # WRONGPASS
                raise error.__cause__ from None
            raise
        if master:
            said = await hello(connection)
            if said.get(b"role", b"master") != b"master":
                raise ReadOnlyError("it is a replica", status_code="READONLY")
            self._mode = said.get(b"mode")
            if self._durability.on_disk and not self._told_of_age:
                version = said.get(b"version", b"").decode()
                self._told_of_age = tell_of_old_server(str(self.address), version)

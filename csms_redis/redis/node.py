"""Writes and plain reads of one Redis server, through redis-py's connections."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import structlog
from hiredis import pack_command
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as HungUp

from csms_redis.contract.errors import OutcomeUnknown, Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.names import blamed, connect

Command: TypeAlias = tuple[bytes | str | int, ...]

AWAY = "Redis cannot be reached. Nothing was changed; try again."
_REFUSED = "Redis refused the request ({}). Nothing was changed; an operator must look at Redis."
_UNKNOWN = "Redis did not confirm the write. It may have been applied; send it again."
_PERHAPS = (
    "Redis answered the write with an error ({}). It may have been applied, or a part of it; send "
    "it again. If that fails too, an operator must look at Redis."
)
_CANNOT_WAIT = "Redis cannot confirm that a write is on disk: it has no WAITAOF"
_WHAT_TO_DO = "update it to Redis 7.2 or newer, or Valkey, or unset redis.wait_for_disk"
_WAITAOF_SINCE = [7, 2]
_NO_WAITAOF = (
    "Redis cannot confirm that a write is on disk, as redis.wait_for_disk wants it: it has no "
    f"WAITAOF. The write was applied, and may be lost; an operator must {_WHAT_TO_DO}."
)

NOT_THE_MASTER = frozenset(["CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOAUTH", "READONLY"])
"""Codes of replies that say of the server, not of the key, that it is not the one to ask."""

_WORDS = {
    "MISCONF": "it cannot write to its disk",
    "NOAUTH": "it wants a password",
    "NOPERM": "its user lacks a right",
    "NOREPLICAS": "too few of its replicas are in touch",
    "OOM": "it is out of memory",
    "WRONGPASS": "it does not take the user or the password",
    "WRONGTYPE": "what is at the key is none of our records",
}
"""What Redis' codes mean, for people."""

_NOT_READY = NOT_THE_MASTER - {"NOAUTH"}
_LASTING = frozenset(["NOAUTH", "NOPERM", "OOM", "WRONGPASS", "WRONGTYPE"])
"""Codes of refusals that end only when an operator does something."""

_REFUSALS = NOT_THE_MASTER | {
    "BUSY",
    "CROSSSLOT",
    "DENIED",
    "MISCONF",
    "NOPERM",
    "NOREPLICAS",
    "OOM",
    "WRONGPASS",
}
"""Codes of replies by which a server says that it has not begun to carry out a command.

What has another code may be a proxy's, which lost the server after it had passed the command on
("ERR Connection timed out", "upstream failure").
"""

_UNKNOWN_COMMAND = re.compile(r"unknown command|unsupported command", re.IGNORECASE)
_ERRORS = (ResponseError, BusyLoadingError, AuthenticationError)
_WITHIN_SCRIPT = re.compile(r"CHANGED |.*(@user_script|failure in script|running script)")
_NOT_PERMITTED = re.compile(r"ACL failure in script|user executing the script can't run")
_CODE = re.compile(r"((UN)?CHANGED )?(.*@user_script: ?\d+: )?-?(?P<code>[A-Z]+\b)?")
_log = structlog.get_logger()


class Redirected(Exception):
    """Nothing was done: the key is at another server, or will be in a moment."""

    def __init__(self, to: Address | None = None, *, for_good: bool = False) -> None:
        """Name the other server; None where it is the same one, a little later."""
        super().__init__()
        self.to = to
        self.for_good = for_good


@dataclass(frozen=True, slots=True)
class Durability:
    """Where a write must be before it is acknowledged, besides the master."""

    replicas: int = 0
    timeout: float = 0.0  # seconds that they have to say that they have it
    on_disk: bool = False  # whether all must have it in their append-only files, and not in memory

    @property
    def commands(self) -> "list[Command]":
        """What asks for it, after the write and on its connection."""
        if not self.replicas:
            return []
        milliseconds = round(self.timeout * 1000)
        wait: list[Command] = [("WAIT", self.replicas, milliseconds)]
        # WAITAOF alone would take a second: asked for the first time, replicas tell how far they
        # are before they write to their disks, and after that only once a second
        return [*wait, ("WAITAOF", 1, self.replicas, milliseconds)] if self.on_disk else wait


_MASTER_ONLY = Durability()


def is_replica(failure: Unavailable) -> bool:
    """Whether a server did nothing because it is a replica (now): another one is the master."""
    error = failure.__cause__
    certain = not isinstance(failure, OutcomeUnknown)
    return certain and isinstance(error, RedisError) and code_of(error) == "READONLY"


class Node:
    """A bounded number of connections to one server.

    redis-py makes the connections and speaks the protocol. Its pool, its time-outs and its retries
    are left out: the first two take a third of a write's time, and a repeated write could undo
    someone else's acknowledged one.
    """

    def __init__(
        self,
        address: Address,
        *,
        max_connections: int,
        durability: Durability = _MASTER_ONLY,
        new_connection: Callable[[Address], AbstractConnection] | None = None,
    ) -> None:
        """Know a server; nothing is sent until it is used.

        Args:
            address: where it is.
            max_connections: how many commands may be under way at once; others wait.
            durability: of its writes.
            new_connection: makes one, not connected yet, that does not retry.
        """
        self.address = address
        self._new_connection = new_connection or connection_to
        self._slots = asyncio.Semaphore(max_connections)
        self._free: list[AbstractConnection] = []  # the last used last
        self._durability = durability
        self.has_every_key = False
        """Whether it said that it is one server by itself; a proxy may share the keys out."""
        self._told = False  # of what the server cannot do
        self._closed = False

    async def write(self, *command: bytes | str | int, within: float, asking: bool = False) -> Any:
        """Send one command that changes something, once.

        Args:
            command: with its arguments.
            within: seconds: to wait, to connect, to be answered; replicas have theirs besides.
            asking: the key is just being moved to this server (ASK).

        Raises:
            Unavailable: it was not carried out.
            OutcomeUnknown: it was sent and nobody knows, or not enough replicas have it.
            Redirected: it was not carried out.
        """
        (reply,) = await self._carry_out([command], within=within, asking=asking)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def write_all(self, commands: Sequence[Command], *, within: float) -> list[Any]:
        """Send commands that change something, each once, all together.

        Returns:
            For each its reply, or the exception that `write` would raise.
        """
        try:
            return await self._carry_out(commands, within=within)
        except (Unavailable, Redirected) as failure:
            return [failure] * len(commands)

    async def _carry_out(
        self, commands: Sequence[Command], *, within: float, asking: bool = False
    ) -> list[Any]:
        """Send commands that change something; for each its reply, or why it is not confirmed."""
        durability = self._durability
        replies = await self._send(
            commands,
            before=[("ASKING",)] if asking else [],
            after=durability.commands,
            broken=OutcomeUnknown(_UNKNOWN),
            within=within + (durability.timeout if durability.replicas else 0),
            master=True,
        )
        waited = len(replies) > len(commands)
        unconfirmed = _unconfirmed(replies[-1], durability) if waited else None
        return [
            self._refused(command[0], reply, writing=True)
            if isinstance(reply, _ERRORS)
            else unconfirmed or reply
            for command, reply in zip(commands, replies, strict=False)
        ]

    async def read(self, *command: bytes | str | int, within: float) -> Any:
        """Send one command that changes nothing, and be answered `within` seconds.

        Raises:
            Unavailable: there is no answer.
            Redirected: another server has it.
        """
        (reply,) = await self._send([command], broken=Unavailable(AWAY), within=within)
        if isinstance(reply, _ERRORS):
            raise self._refused(command[0], reply) from reply
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
            if isinstance(reply, _ERRORS):
                raise self._refused(command[0], reply) from reply
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
        """Close every connection, those in use when they are free."""
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
                    replies = await _exchange(connection, commands, before=before, after=after)
                    if self._closed or any(isinstance(reply, _ERRORS) for reply in replies):
                        await connection.disconnect(nowait=True)
                except BaseException:
                    # what it still has to say belongs to no one
                    await connection.disconnect(nowait=True)
                    raise
                finally:
                    self._free.append(connection)
        except _ERRORS as error:
            raise self._refused("connect", error) from error
        except (RedisError, OSError, TimeoutError) as error:
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
            if isinstance(error.__cause__, _ERRORS):  # WRONGPASS
                raise error.__cause__ from None
            raise
        if master:
            hello = await _hello(connection)
            if hello.get(b"role", b"master") != b"master":
                raise ReadOnlyError("it is a replica", status_code="READONLY")
            self.has_every_key = hello.get(b"mode") == b"standalone"
            if self._durability.on_disk:
                self._tell_of_its_disk(hello.get(b"version", b"").decode())

    def _tell_of_its_disk(self, version: str) -> None:
        """Say once that a server cannot do what `redis.wait_for_disk` wants of it."""
        numbers = version.split(".")[:2]
        old = all(map(str.isdigit, numbers)) and [*map(int, numbers)] < _WAITAOF_SINCE
        if old and not self._told:
            self._told = True
            _log.error(_CANNOT_WAIT, redis=str(self.address), version=version, to_do=_WHAT_TO_DO)

    def _refused(
        self, command: bytes | str | int, error: RedisError, *, writing: bool = False
    ) -> Exception:
        failure = self._failure(command, error, writing=writing)
        failure.__cause__ = error
        return failure

    def _failure(
        self, command: bytes | str | int, error: RedisError, *, writing: bool
    ) -> Exception:
        if isinstance(error, AskError):  # MOVED is one
            to = self.address.at(error.host, error.port)
            return Redirected(to, for_good=isinstance(error, MovedError))
        if isinstance(error, TryAgainError):
            return Redirected()
        code = code_of(error)
        _log.error("Redis refused a command", command=command, reason=code)
        words = _in_words(code, error)
        lasting = code in _LASTING or _is_unknown(error)
        if writing and not _changed_nothing(error):
            return OutcomeUnknown(_PERHAPS.format(words), lasting=lasting)
        if code in _NOT_READY:
            return Unavailable(AWAY)
        return Unavailable(_REFUSED.format(words), lasting=lasting)


async def _exchange(
    connection: AbstractConnection,
    commands: Sequence[Command],
    *,
    before: Sequence[Command] = (),
    after: Sequence[Command] = (),
) -> list[Any]:
    """Send commands together; their replies, as `Node._send` has them."""
    sent = (*before, *commands, *after)
    packed = b"".join(pack_command(command) for command in sent)  # type: ignore[arg-type]
    await connection.send_packed_command(packed, check_health=False)
    for _ in before:
        await _reply(connection)
    replies = [await _reply(connection) for _ in commands]
    if not all(isinstance(reply, _ERRORS) for reply in replies):
        replies += [await _reply(connection) for _ in after]
    return replies


async def _reply(connection: AbstractConnection) -> Any:
    """The next one, be it an error."""
    try:
        return await connection.read_response()
    except _ERRORS as error:
        return error


async def _hello(connection: AbstractConnection) -> dict[bytes, Any]:
    """What a server says of itself; nothing where it does not.

    No user can be forbidden to ask HELLO; what does not know it may know ROLE. A proxy refuses what
    it does not know, or hangs up on it, as twemproxy does: it is connected to anew, and asked less.
    """
    hello = await _exchange_or_reconnect(connection, ("HELLO",))
    if isinstance(hello, list):
        return dict(zip(hello[::2], hello[1::2], strict=True))
    if isinstance(hello, AuthenticationError):
        return {}
    role = await _exchange_or_reconnect(connection, ("ROLE",))
    return {b"role": role[0]} if isinstance(role, list) and role else {}


async def _exchange_or_reconnect(connection: AbstractConnection, command: Command) -> Any:
    """The reply; None where the other side hung up on the command, and is connected to anew."""
    try:
        return (await _exchange(connection, [command]))[0]
    except HungUp:
        await connection.disconnect(nowait=True)
        await connection.connect()  # type: ignore[no-untyped-call] # redis-py's
        return None


class _TcpConnection(Connection):
    """redis-py's, with a TLS context of ours, and to one of a name's IP addresses if need be."""

    def __init__(self, address: Address, ip: str, **options: Any) -> None:
        super().__init__(host=address.host, port=address.port, **options)
        self._address = address
        self._ip = ip
        self._arguments: dict[str, Any] = {}

    async def _connect(self) -> None:
        address = self._address
        tls = await address.tls.context() if address.tls is not None else None
        connected = await connect(self._ip or address.host, address.port)
        self._arguments = {"sock": connected}
        if tls is not None:
            self._arguments |= {"ssl": tls, "server_hostname": address.host}
        try:
            await super()._connect()  # type: ignore[no-untyped-call] # redis-py's
        finally:
            self._arguments = {}

    def _connection_arguments(self) -> dict[str, Any]:
        return self._arguments


def connection_to(address: Address, *, ip: str = "") -> AbstractConnection:
    """A connection of redis-py's, not connected yet, without its retries and time-outs.

    Args:
        address: where to.
        ip: instead of what the address's host name would be resolved to; the certificate is still
            to be for the name.
    """
    options: dict[str, Any] = {
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "protocol": 2,  # what every server and proxy speaks
        "driver_info": None,  # no CLIENT SETINFO
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "retry": Retry(NoBackoff(), 0),
    }
    if address.path:
        return UnixDomainSocketConnection(path=address.path, **options)
    return _TcpConnection(address, ip, **options)


def _unconfirmed(confirmed: Any, wanted: Durability) -> OutcomeUnknown | None:
    """None if WAIT or WAITAOF says that the writes are where they must be."""
    if isinstance(confirmed, _ERRORS):
        return _cannot_wait(confirmed, wanted)
    on_master, replicas = confirmed if wanted.on_disk else (1, confirmed)
    if not on_master:
        _log.error("the master did not write to its disk in time")
        return OutcomeUnknown(_UNKNOWN)
    if replicas < wanted.replicas:
        _log.error("not enough replicas have a write", confirmed=replicas, wanted=wanted.replicas)
        return OutcomeUnknown(
            f"Only {replicas} of {wanted.replicas} replicas confirmed the write. It may have been "
            "applied, and may be lost; send it again."
        )
    return None


def _cannot_wait(error: RedisError, wanted: Durability) -> OutcomeUnknown:
    code = code_of(error)
    if wanted.on_disk and _is_unknown(error):
        _log.error(_CANNOT_WAIT, to_do=_WHAT_TO_DO)
        failure = OutcomeUnknown(_NO_WAITAOF, lasting=True)
    else:  # such as UNBLOCKED, when the master is demoted
        _log.error("Redis could not wait for its replicas", reason=code)
        failure = OutcomeUnknown(_UNKNOWN, lasting=code in _LASTING or _is_unknown(error))
    failure.__cause__ = error
    return failure


def code_of(error: RedisError) -> str:
    """The error's code, such as OOM or NOPERM; the rest may quote what was stored.

    An error of a script has it after `UNCHANGED` or `CHANGED` (see `registry.resource.script`), and
    in Redis 6.2 after the script's line.
    """
    text = str(error)
    if _NOT_PERMITTED.search(text):
        return "NOPERM"
    if error.status_code and "@user_script" not in text:
        return error.status_code
    found = _CODE.match(text)
    return (found and found["code"]) or "ERR"


def _changed_nothing(error: RedisError) -> bool:
    """Whether an error proves that its command was not carried out, not even a part of it."""
    text = str(error)
    if text.startswith("UNCHANGED "):
        return True
    if _WITHIN_SCRIPT.match(text):
        return False
    return code_of(error) in _REFUSALS or _is_unknown(error)


def _in_words(code: str, error: RedisError) -> str:
    words = "it does not know the command" if _is_unknown(error) else _WORDS.get(code)
    return f"{code}: {words}" if words else code


def _is_unknown(error: RedisError) -> bool:
    """Whether a server, or a proxy before it, does not have the command, or not any more."""
    return _UNKNOWN_COMMAND.search(str(error)) is not None

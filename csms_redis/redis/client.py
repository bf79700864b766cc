"""The writes and plain reads that go to Redis through redis-py, one connection for each at a time.

redis-py's defaults repeat a command after a fault. A repeated write could undo someone else's
acknowledged one, so here everything is sent once: a fault before the command left is `Unavailable`,
one after it is `OutcomeUnknown`.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import structlog
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from csms_redis.contract.errors import OutcomeUnknown, Unavailable
from csms_redis.redis.url import Address

Command: TypeAlias = Sequence[bytes | str | int]

_log = structlog.get_logger()
_AWAY = "Redis cannot be reached. Nothing was changed; try again."
_REFUSED = "Redis refused the request. Nothing was changed; an operator must look at Redis."
_UNKNOWN = "Redis did not confirm the write. It may have been applied; send it again."


class RedisClient:
    """A bounded number of connections to one Redis.

    redis-py makes the connections and speaks the protocol. Its pool and its time-outs are left
    out: they take a third of a write's time, a task and several timers each.
    """

    def __init__(
        self,
        new_connection: Callable[[], AbstractConnection],
        *,
        timeout: float,
        max_connections: int,
    ) -> None:
        """Make a client; nothing is sent until it is used.

        Args:
            new_connection: makes one, not connected yet, that does not retry.
            timeout: seconds, for all of a command: to wait, to connect, to be answered.
            max_connections: how many commands may be under way at once; others wait.
        """
        self._new_connection = new_connection
        self._timeout = timeout
        self._slots = asyncio.Semaphore(max_connections)
        self._free: list[AbstractConnection] = []  # the last used last

    @classmethod
    def connect(cls, address: Address, *, timeout: float, max_connections: int) -> "RedisClient":
        """Make a client of the Redis at `address`; see `__init__`."""
        options: dict[str, Any] = {
            "db": address.db,
            "username": address.username,
            "password": address.password,
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "retry": Retry(NoBackoff(), 0),
        }

        def new_connection() -> AbstractConnection:
            if address.path:
                return UnixDomainSocketConnection(path=address.path, **options)
            kind = SSLConnection if address.tls else Connection
            return kind(host=address.host, port=address.port, **options)

        return cls(new_connection, timeout=timeout, max_connections=max_connections)

    async def write(self, *command: bytes | str | int) -> Any:
        """Send one command that changes something, once.

        Raises:
            Unavailable: it was not carried out.
            OutcomeUnknown: it was sent, and nobody knows.
        """
        (reply,) = await self._send([command], broken=OutcomeUnknown(_UNKNOWN))
        return reply

    async def transaction(self, *commands: Command) -> list[Any]:
        """Send commands as one MULTI/EXEC, once; their replies in order.

        Raises:
            Unavailable: none was carried out.
            OutcomeUnknown: they were sent, and nobody knows.
        """
        sent = [("MULTI",), *commands, ("EXEC",)]
        *_, replies = await self._send(sent, broken=OutcomeUnknown(_UNKNOWN))
        if not isinstance(replies, list):
            raise Unavailable(_REFUSED)
        for reply in replies:
            if isinstance(reply, ResponseError):
                _log.error("Redis refused a part of a write", reason=_code(reply))
                raise OutcomeUnknown(_UNKNOWN)
        return replies

    async def read(self, *command: bytes | str | int) -> Any:
        """Send one command that changes nothing.

        Raises:
            Unavailable: there is no answer.
        """
        (reply,) = await self._send([command], broken=Unavailable(_AWAY))
        return reply

    async def _send(self, commands: Sequence[Command], *, broken: Unavailable) -> list[Any]:
        fault: Unavailable = Unavailable(_AWAY)
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                connection = self._free.pop() if self._free else self._new_connection()
                try:
                    await _ensure_connected(connection)
                    fault = broken
                    packed = connection.pack_commands(commands)
                    await connection.send_packed_command(packed, check_health=False)
                    return [await connection.read_response() for _ in commands]
                except BaseException:
                    # what it still has to say belongs to no one
                    await connection.disconnect(nowait=True)
                    raise
                finally:
                    self._free.append(connection)
        except (ResponseError, BusyLoadingError) as error:
            _log.error("Redis refused a command", command=commands[0][0], reason=_code(error))
            raise Unavailable(_REFUSED) from error
        except (RedisError, OSError, TimeoutError) as error:
            raise fault from error

    async def close(self) -> None:
        """Close every connection that is not in use."""
        while self._free:
            await self._free.pop().disconnect()


async def _ensure_connected(connection: AbstractConnection) -> None:
    if connection.is_connected and await connection.can_read():
        # Redis closed it, or sent what nobody asked for
        await connection.disconnect(nowait=True)
    if not connection.is_connected:
        await connection.connect()  # type: ignore[no-untyped-call] # redis-py's


def _code(error: RedisError) -> str:
    """The error's code, such as OOM or NOPERM; the rest may quote what was stored."""
    return error.status_code or (str(error).split(maxsplit=1) or ["ERR"])[0]

"""The writes and plain reads that go to Redis through redis-py, one connection for each at a time.

redis-py's defaults repeat a command after a fault. A repeated write could undo someone else's
acknowledged one, so here everything is sent once: a fault before the command left is `Unavailable`,
one after it is `OutcomeUnknown`.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import structlog
from redis.asyncio.connection import (
    AbstractConnection,
    BlockingConnectionPool,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from csms_redis.contract.errors import OutcomeUnknown, Unavailable
from csms_redis.redis.url import Address

Command: TypeAlias = Sequence[bytes | str | int]

_log = structlog.get_logger()
_AWAY = "Redis cannot be reached. Nothing was changed; try again."
_REFUSED = "Redis refused the request. Nothing was changed; an operator must look at Redis."
_UNKNOWN = "Redis did not confirm the write. It may have been applied; send it again."


class RedisClient:
    """A bounded pool of connections to one Redis."""

    def __init__(self, pool: BlockingConnectionPool) -> None:
        """Use `pool`, whose connections must not retry."""
        self._pool = pool

    @classmethod
    def connect(cls, address: Address, *, timeout: float, max_connections: int) -> "RedisClient":
        """Make a client; nothing is sent until it is used.

        Args:
            address: of the Redis.
            timeout: seconds, for connecting and for each reply.
            max_connections: how many commands may be under way at once; others wait `timeout`.
        """
        where: dict[str, Any] = {"host": address.host, "port": address.port}
        kind: type[AbstractConnection] = SSLConnection if address.tls else Connection
        if address.path:
            where = {"path": address.path}
            kind = UnixDomainSocketConnection
        return cls(
            BlockingConnectionPool(
                connection_class=kind,
                max_connections=max_connections,
                timeout=timeout,
                db=address.db,
                username=address.username,
                password=address.password,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 0),
                **where,
            )
        )

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
        return replies

    async def read(self, *command: bytes | str | int) -> Any:
        """Send one command that changes nothing.

        Raises:
            Unavailable: there is no answer.
        """
        (reply,) = await self._send([command], broken=Unavailable(_AWAY))
        return reply

    async def _send(self, commands: Sequence[Command], *, broken: Unavailable) -> list[Any]:
        try:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call] # redis-py's
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(_AWAY) from error
        try:
            await connection.send_packed_command(connection.pack_commands(commands))
            return [await connection.read_response() for _ in commands]
        except ResponseError as error:
            # the replies after it are still on their way
            await connection.disconnect()
            _log.error("Redis refused a command", command=commands[0][0], reason=_code(error))
            raise Unavailable(_REFUSED) from error
        except (RedisError, OSError, TimeoutError) as error:
            await connection.disconnect()
            raise broken from error
        except asyncio.CancelledError:
            await connection.disconnect()
            raise
        finally:
            await self._pool.release(connection)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


def _code(error: ResponseError) -> str:
    """The error's first word (OOM, READONLY, NOPERM …); the rest may quote what was stored."""
    return (str(error).split(maxsplit=1) or ["ERR"])[0]

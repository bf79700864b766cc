"""Connections to one server, which redis-py makes and speaks the protocol on.

redis-py's retries and time-outs are switched off: who uses a connection limits the time, and a
repeated write could undo someone else's acknowledged one.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from hiredis import pack_command
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, ResponseError
from redis.exceptions import ConnectionError as HungUp

from csms_redis.redis.address import Address
from csms_redis.redis.names import connect

Command: TypeAlias = tuple[bytes | str | int, ...]
"""A command and its arguments."""

ERROR_REPLIES = (ResponseError, BusyLoadingError, AuthenticationError)
"""What redis-py makes of a reply that is an error; its other exceptions are of the connection."""


class _TcpConnection(Connection):
    """redis-py's connection over a socket of our own.

    The name is resolved by `names`, or replaced by one of its IP addresses; the TLS context is
    read from the files as they are now.
    """

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
    """Make a connection, which is not connected yet and neither retries nor limits the time.

    Args:
        address: where to connect to.
        ip: connect to this address, and do not resolve the host's name. The server's certificate
            must still be for the name.
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


async def exchange(
    connection: AbstractConnection,
    commands: Sequence[Command],
    *,
    before: Sequence[Command] = (),
    after: Sequence[Command] = (),
) -> list[Any]:
    """Send commands together.

    Args:
        connection: one that is connected.
        commands: each with its arguments.
        before: sent before them; their replies are dropped.
        after: sent after them; of no use if each of `commands` is refused, and then not waited for.

    Returns:
        The replies to `commands`, then those to `after`; a reply that is an error is redis-py's
        exception.
    """
    sent = (*before, *commands, *after)
    packed = b"".join(pack_command(command) for command in sent)  # type: ignore[arg-type]
    await connection.send_packed_command(packed, check_health=False)
    for _ in before:
        await _reply(connection)
    replies = [await _reply(connection) for _ in commands]
    if not all(isinstance(reply, ERROR_REPLIES) for reply in replies):
        replies += [await _reply(connection) for _ in after]
    return replies


async def _reply(connection: AbstractConnection) -> Any:
    """The next reply; one that is an error is returned, not raised."""
    try:
        # else it hangs up at LOADING, before the other replies are read; who sent them hangs up
        return await connection.read_response(disconnect_on_error=False)
    except ERROR_REPLIES as error:
        return error


async def hello(connection: AbstractConnection) -> dict[bytes, Any]:
    """What a server says of itself; an empty dictionary where it says nothing.

    No user can be forbidden to send HELLO. A server that does not know HELLO may know ROLE. A proxy
    refuses a command that it does not know, or hangs up on it, as twemproxy does; then the
    connection is made anew, and the next question is asked.
    """
    answer = await _exchange_or_reconnect(connection, ("HELLO",))
    if isinstance(answer, list):
        return dict(zip(answer[::2], answer[1::2], strict=True))
    if isinstance(answer, AuthenticationError):
        return {}
    role = await _exchange_or_reconnect(connection, ("ROLE",))
    return {b"role": role[0]} if isinstance(role, list) and role else {}


async def _exchange_or_reconnect(connection: AbstractConnection, command: Command) -> Any:
    """The reply; None where the other side hung up, and the connection was made anew."""
    try:
        return (await exchange(connection, [command]))[0]
    except HungUp:
        await connection.disconnect(nowait=True)
        await connection.connect()  # type: ignore[no-untyped-call] # redis-py's
        return None

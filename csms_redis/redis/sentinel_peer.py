"""One sentinel: what it is asked, and what it says (https://valkey.io/topics/sentinel/)."""

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from csms_redis.redis.address import Address
from csms_redis.redis.connections import Command, connection_to

Where: TypeAlias = tuple[str, int]
"""A host, as it was announced or resolved, and a port."""

_SWITCHED = "+switch-master"  # the channel of a sentinel whose word has changed
_REASONS = {
    "NOAUTH": "wants a password",
    "NOPERM": "does not let its user ask",
    "WRONGPASS": "refuses the user or the password",
}


@dataclass(frozen=True, slots=True)
class Word:
    """What one sentinel answered."""

    sent: float  # when the questions left, in monotonic seconds
    id: str  # of the sentinel; empty where it does not tell
    master: Where | None  # None where the sentinel does not know the name
    others: dict[str, Where]  # the other sentinels that it knows, by id


class SentinelPeer:
    """One sentinel at one IP address, with the connections to it.

    This class asks and listens. It does not judge what the sentinel says: that takes a majority,
    see `sentinel.Sentinel`.

    Attributes:
        word: what the sentinel answered last; None where the last question failed.
        problem: why the last question failed.
        silent: whether it failed because no answer came in time.
    """

    def __init__(self, address: Address, host: str, name: str, timeout: float) -> None:
        """Know the sentinel; nothing is sent yet.

        Args:
            address: how to speak to it; its host is the name for which the certificate must be.
            host: the IP address to connect to.
            name: by which sentinels know the master.
            timeout: seconds to connect and to be answered.
        """
        self.word: Word | None = None
        self.problem: str | None = None
        self.silent = False
        self._address = address
        self._where = host, address.port
        self._name = name
        self._timeout = timeout
        self._asking: AbstractConnection | None = None
        self._listening: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return host_and_port(self._where)

    async def ask(self) -> None:
        """Ask it, and set `word`, or `problem` where there is no answer."""
        self.silent = False
        try:
            async with asyncio.timeout(self._timeout):
                self.word = await self._exchange()
            self.problem = None
        except asyncio.CancelledError:
            await self._hang_up()
            raise
        except Exception as error:  # noqa: BLE001 whatever listens there may answer anything
            await self._hang_up()
            self.word = None
            self.problem = _reason(error)
            self.silent = isinstance(error, TimeoutError)
            if self._listening is not None:  # what it says would not arrive either
                self._listening.cancel()

    async def _exchange(self) -> Word:
        if self._asking is not None and await self._asking.can_read():
            await self._hang_up()  # it closed the connection, perhaps to start anew
        if self._asking is None:
            self._asking = await self._connect()
        connection = self._asking
        sent = monotonic()
        await _send(
            connection,
            ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name),
            ("SENTINEL", "MYID"),
            ("SENTINEL", "SENTINELS", self._name),
        )
        master = await connection.read_response()
        try:
            id_ = (await connection.read_response()).decode()
        except ResponseError:  # Redis before 6.2, or a user without the right
            id_ = ""
        try:
            others = await connection.read_response()
        except ResponseError:
            if master is not None:
                raise
            others = []  # it does not know the name
        return Word(sent, id_, master and _where(*master), dict(map(_other, others)))

    async def _connect(self) -> AbstractConnection:
        """Log in at this very address.

        redis-py would resolve the name again, and might come to another sentinel; the certificate
        is still for the name.
        """
        host, _ = self._where
        connection = connection_to(self._address, ip=host)
        try:
            await connection.connect()  # type: ignore[no-untyped-call] # redis-py's
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def listen(self, switched: Callable[[], None]) -> None:
        """Call `switched` whenever the sentinel tells of another master; `ask` finds the rest."""
        if self._listening is None or self._listening.done():
            self._listening = asyncio.get_running_loop().create_task(self._listen(switched))

    async def _listen(self, switched: Callable[[], None]) -> None:
        # Silence is normal here. The kernel's keep-alive ends what is dead, and so does `ask`; the
        # next look that is answered subscribes again.
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(self._timeout):
                connection = await self._connect()
            try:
                async with asyncio.timeout(self._timeout):
                    await _send(connection, ("SUBSCRIBE", _SWITCHED))
                    await connection.read_response()
                while True:
                    *_, message = await connection.read_response()
                    if message.split()[:1] == [self._name.encode()]:
                        switched()
            finally:
                await connection.disconnect(nowait=True)

    async def _hang_up(self) -> None:
        connection, self._asking = self._asking, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Close the connections to it."""
        await self._hang_up()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})


async def _send(connection: AbstractConnection, *commands: Command) -> None:
    packed = b"".join(pack_command(command) for command in commands)  # type: ignore[arg-type]
    await connection.send_packed_command(packed, check_health=False)


def _where(host: bytes, port: bytes) -> Where:
    return host.decode(), int(port)


def _other(flat: Sequence[bytes]) -> tuple[str, Where]:
    """The id and the place of a sentinel that another one knows."""
    said = dict(zip(flat[::2], flat[1::2], strict=True))
    return said[b"runid"].decode(), _where(said[b"ip"], said[b"port"])


def host_and_port(where: Where) -> str:
    """A place as URLs have it: an IPv6 address in brackets."""
    return Address().at(*where).host_and_port


def _reason(error: Exception) -> str:
    """What went wrong, without what a server quotes."""
    # redis-py wraps what the network says
    cause = error if isinstance(error, OSError) else error.__context__
    code = getattr(error, "status_code", None)
    if code in _REASONS:
        reason = _REASONS[code]
    elif isinstance(error, TimeoutError | RedisTimeoutError):
        reason = "does not answer"
    elif isinstance(error, AuthenticationError):
        reason = "takes no password, or another one"
    elif isinstance(cause, ssl.SSLCertVerificationError):
        reason = f"has a certificate that is refused: {cause.verify_message}"
    elif isinstance(cause, ssl.SSLError):
        reason = "does not speak TLS as it should"
    elif isinstance(error, RedisConnectionError | OSError):
        number = cause.errno if isinstance(cause, OSError) else None
        reason = "cannot be reached" + (f": {os.strerror(number).lower()}" if number else "")
    else:
        reason = "does not answer as a sentinel does"
    return reason

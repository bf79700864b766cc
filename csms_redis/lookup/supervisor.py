"""Keeps the read connection up, and proves each second that it still speaks for the truth."""

import asyncio
import random
import ssl
from contextlib import suppress
from time import monotonic
from typing import Any

import structlog

from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.read_connection import ConnectionBroken, ReadConnection, ReadError
from csms_redis.redis.url import Address
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN

_PROBE_INTERVAL = 1.0  # seconds
_PROBE_TIMEOUT = 2.0  # seconds
_FIRST_DELAY, _LONGEST_DELAY = 0.02, 1.0  # seconds between attempts to connect
_REASONS = {
    "LOADING": "it is loading its data",
    "NOAUTH": "it wants a password",
    "NOPERM": "its user may not run what a lookup needs",
    "WRONGPASS": "it refuses the user or the password",
}
_log = structlog.get_logger()


class NotTheMaster(Exception):
    """The server answers, but it is a replica."""


class Supervisor:
    """Connects `Lookups` to Redis, again and again.

    A lease proves that the connection is to a master that answers: a probe each second, a `HELLO`
    and an `HMGET`, answered within two. PING would not do: a master that was demoted or cut off
    answers it. HELLO tells the role as `ROLE` does, and no user can be forbidden to ask it.
    """

    def __init__(
        self, lookups: Lookups, address: Address, *, prefix: bytes, timeout: float
    ) -> None:
        """Connect `lookups` to `address`.

        Args:
            lookups: told of the connection, its lease and its invalidations.
            address: of the Redis.
            prefix: of every key.
            timeout: seconds to connect, and then to log in.
        """
        self._lookups = lookups
        self._address = address
        self._timeout = timeout
        self._prefixes = [resource.key(prefix, "") for resource in (STATION, TOKEN, CERTIFICATE)]
        self._said: str | None = None
        self.problem: str | None = "has not been reached yet"

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        delay = _FIRST_DELAY
        while True:
            started = monotonic()
            try:
                await self._connect_and_hold()
            except (OSError, TimeoutError, UnicodeError, ReadError, NotTheMaster) as error:
                lasted = monotonic() - started
                if lasted > _LONGEST_DELAY or (self.problem is None and lasted > delay):
                    delay = _FIRST_DELAY
                self._say(_reason(error))
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 jitter
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _connect_and_hold(self) -> None:
        connection = await self._connect()
        try:
            tracked = await self._handshake(connection)
            sent = await self._probe(connection)
            self._lookups.connected(connection, tracked=tracked)
            self._lookups.renew(sent)
            self._reached(tracked=tracked)
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0, sent + _PROBE_INTERVAL - monotonic())):
                        await connection.ended.wait()
                sent = await self._probe(connection)
                self._lookups.renew(sent)
        finally:
            connection.abort()

    async def _connect(self) -> ReadConnection:
        loop = asyncio.get_running_loop()
        address = self._address

        def protocol() -> ReadConnection:
            return ReadConnection(
                invalidated=self._lookups.invalidated,
                caught_up=self._lookups.deliver,
                lost=self._lookups.lost,
            )

        async with asyncio.timeout(self._timeout):
            if address.path:
                _, connection = await loop.create_unix_connection(protocol, address.path)
            else:
                context = ssl.create_default_context() if address.tls else None
                _, connection = await loop.create_connection(
                    protocol, address.host, address.port, ssl=context
                )
        return connection

    async def _handshake(self, connection: ReadConnection) -> bool:
        """Log in, choose the database, switch tracking on; whether it is on."""
        address = self._address
        async with asyncio.timeout(self._timeout):
            auth: tuple[str, ...] = ()
            if address.password is not None:
                auth = ("AUTH", address.username or "default", address.password)
            await connection.call("HELLO", 3, *auth, "SETNAME", "csms-redis")
            if address.db:
                await connection.call("SELECT", address.db)
            if not self._lookups.caches:
                return False
            prefixes = [word for prefix in self._prefixes for word in (b"PREFIX", prefix)]
            await connection.call("CLIENT", "TRACKING", "ON", "BCAST", *prefixes)
            return True

    async def _probe(self, connection: ReadConnection) -> float:
        """Prove that this is a master that reads; when the question left (monotonic seconds)."""
        values: Any
        hello: Any
        sent = monotonic()
        async with asyncio.timeout(_PROBE_TIMEOUT):
            values, hello = await asyncio.gather(
                connection.call("HMGET", self._prefixes[0], "securityProfile"),
                connection.call("HELLO", 3),
                return_exceptions=True,
            )
        if isinstance(hello, BaseException):
            raise hello
        # someone's key of another type is no fault: Redis read it
        if isinstance(values, BaseException) and getattr(values, "code", None) != "WRONGTYPE":
            raise values
        if not isinstance(hello, dict) or hello.get(b"role") != b"master":
            raise NotTheMaster
        if connection.ended.is_set():
            raise ConnectionBroken("the connection ended after its last reply")
        return sent

    def _reached(self, *, tracked: bool) -> None:
        self.problem = None
        self._said = None
        _log.info(
            "Redis reached",
            redis=str(self._address),
            near_cache=tracked,
            # in all, since the start: what the time without it did to lookups
            stale_answers=self._lookups.stale_answers,
            refused=self._lookups.refused,
        )

    def _say(self, reason: str) -> None:
        self.problem = f"cannot be reached: {reason}"
        if reason != self._said:
            self._said = reason
            _log.warning("Redis cannot be reached", redis=str(self._address), reason=reason)


def _reason(error: Exception) -> str:
    """One line for the operator, without what Redis quotes of a command."""
    if isinstance(error, NotTheMaster):
        return "it is a replica"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ConnectionBroken):
        return "it closed the connection"
    if isinstance(error, ReadError):
        return _REASONS.get(error.code, f"it answers {error.code}")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__

"""The start of a read connection: connects, logs in, and switches tracking on."""

import asyncio
from collections.abc import Callable

from csms_redis.lookup.reading.abilities import Abilities
from csms_redis.lookup.reading.failures import NOT_NOW
from csms_redis.lookup.reading.read_connection import ConnectionBroken, ReadConnection, ReadError
from csms_redis.redis.address import Address
from csms_redis.redis.names import connect
from csms_redis.redis.outcomes import NOT_THE_MASTER


async def open_connection(
    address: Address, protocol: Callable[[], ReadConnection]
) -> ReadConnection:
    """Connect to a server; over TLS where its address says so.

    Raises:
        OSError: it cannot be connected to.
    """
    loop = asyncio.get_running_loop()
    if address.path:
        _, connection = await loop.create_unix_connection(protocol, address.path)
        return connection
    context = await address.tls.context() if address.tls else None
    _, connection = await loop.create_connection(
        protocol,
        sock=await connect(address.host, address.port),
        ssl=context,
        server_hostname=address.host if context else None,
    )
    return connection


class Handshake:
    """Logs in, chooses the database, and switches tracking on, before anything is read.

    It does not connect, and proves nothing: `Probe` does.
    """

    def __init__(self, address: Address, tracked: list[bytes], abilities: Abilities) -> None:
        """Log in at one server.

        Args:
            address: with the user, the password and the database.
            tracked: what the keys begin with of whose changes Redis is to tell; empty for none.
            abilities: what the server was found to be able to do.
        """
        self._address = address
        self._tracked = tracked
        self._abilities = abilities
        self.untracked: str | None = None
        """Why the server does not tell of changes, so that nothing can be kept; None where it does,
        or is not asked to."""

    async def shake(self, connection: ReadConnection) -> bool:
        """Do so on a new connection.

        Returns:
            Whether the server tells of changes.

        Raises:
            ReadError: it refuses the user, or what cannot be done without.
        """
        address = self._address
        self.untracked = await self._hello(connection)
        self._abilities.speaks_resp3 = speaks_resp3 = self.untracked is None
        if not speaks_resp3 and address.password is not None:
            user = (address.username,) if address.username else ()
            await connection.call("AUTH", *user, address.password)
        if address.db:
            await connection.call("SELECT", address.db)
        return bool(self._tracked) and speaks_resp3 and await self._track(connection)

    async def _hello(self, connection: ReadConnection) -> str | None:
        """Ask for RESP3, and log in; return why the server does not speak it, None if it does."""
        address = self._address
        auth: tuple[str, ...] = ()
        if address.password is not None:
            auth = ("AUTH", address.username or "default", address.password)
        if not self._abilities.may_be_asked("HELLO"):
            return "it hangs up on HELLO"
        try:
            await connection.call("HELLO", 3, *auth, "SETNAME", "csms-redis")
        except ConnectionBroken:
            self._abilities.hung_up_on("HELLO")
            raise
        except ReadError as error:
            if error.code in NOT_NOW:
                raise
            return "it does not speak RESP3"
        return None

    async def _track(self, connection: ReadConnection) -> bool:
        prefixes = [word for prefix in self._tracked for word in (b"PREFIX", prefix)]
        try:
            await connection.call("CLIENT", "TRACKING", "ON", "BCAST", *prefixes)
        except ReadError as error:
            if isinstance(error, ConnectionBroken) or error.code in NOT_THE_MASTER:
                raise
            self.untracked = f"it refuses CLIENT TRACKING ({error.code})"
            return False
        return True

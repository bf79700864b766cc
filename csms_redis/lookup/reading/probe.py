"""The question that proves a lease: whether a server is a master, and reads."""

import asyncio
from time import monotonic
from typing import Any

from csms_redis.lookup.reading.abilities import Abilities
from csms_redis.lookup.reading.failures import IsReplica
from csms_redis.lookup.reading.read_connection import ConnectionBroken, ReadConnection, ReadError
from csms_redis.lookup.reading.watches import Watches
from csms_redis.redis.address import Address
from csms_redis.redis.outcomes import NOT_THE_MASTER
from csms_redis.redis.topology import Topology

_ROLES = {b"master": "master", b"replica": "replica", b"slave": "replica"}
_READ_ANYWAY = frozenset(["ASK", "MOVED", "TRYAGAIN", "WRONGTYPE"])


class Probe:
    """Asks one server for its role and for a record.

    PING would not do: a master that was demoted or cut off answers it. HELLO tells the role as
    `ROLE` does, and no user can be forbidden to ask it. When to ask, and what the answer is good
    for, `Link` decides.
    """

    def __init__(
        self, topology: Topology, master: Address, key_start: bytes, abilities: Abilities
    ) -> None:
        """Ask a server of a topology.

        Args:
            topology: which key the server has.
            master: the server.
            key_start: what the key of a record begins with.
            abilities: what the server was found to be able to do.
        """
        self.role = "unknown"
        """What the server said last that it is: master, replica or unknown."""
        self._topology = topology
        self._master = master
        self._key_start = key_start
        self._abilities = abilities

    async def prove(self, connection: ReadConnection, watches: Watches) -> float:
        """Prove that the server is a master, and that it reads records.

        Args:
            connection: to the server.
            watches: what is asked together with it.

        Returns:
            When the question left (monotonic seconds).

        Raises:
            IsReplica: the server is a replica.
            ReadError: it does not read, or the connection ended.
        """
        role: bytes | BaseException | None
        values: Any
        sent = monotonic()
        key = self._topology.sample_key(self._master, self._key_start)
        watches.ask(connection)
        values, role = await asyncio.gather(
            connection.call("HMGET", key, "securityProfile") if key else _nothing(),
            self._role(connection),
            return_exceptions=True,
        )
        if isinstance(role, BaseException):
            raise role
        # someone's key of another type is no fault: Redis read it; nor is a slot that moves
        if isinstance(values, BaseException) and getattr(values, "code", None) not in _READ_ANYWAY:
            raise values
        self.role = _ROLES.get(role or b"", "unknown")
        if role not in {b"master", None}:
            raise IsReplica
        refuse_ended(connection)
        watches.answered()
        return sent

    async def _role(self, connection: ReadConnection) -> bytes | None:
        """The server's role; None where it has no way to tell."""
        if self._abilities.speaks_resp3:
            hello: Any = await connection.call("HELLO", 3)
            return hello.get(b"role", b"unknown") if isinstance(hello, dict) else b"unknown"
        if not self._abilities.may_be_asked("ROLE"):
            return None
        try:
            role: Any = await connection.call("ROLE")
        except ConnectionBroken:
            self._abilities.hung_up_on("ROLE")
            raise
        except ReadError as error:
            if error.code in NOT_THE_MASTER:
                raise
            return None
        return role[0] if isinstance(role, list) and role else None


async def _nothing() -> None:
    """For a master that no key can be asked of."""


def refuse_ended(connection: ReadConnection) -> None:
    """Believe no reply of a connection that has ended since.

    Raises:
        ConnectionBroken: it has.
    """
    if connection.ended.is_set():
        raise ConnectionBroken("the connection ended after its last reply")

"""Questions to the nodes of a cluster: their connections, and why one gave no map."""

import asyncio
import ssl
from collections.abc import Collection, Iterable, Sequence
from time import monotonic
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from csms_redis.redis.address import Address
from csms_redis.redis.cluster_map import ClusterMap, parse
from csms_redis.redis.connections import connection_to
from csms_redis.redis.names import NotResolved, blamed, places

_RESOLVE = 0.2  # seconds that a look waits for names
_ASK = pack_command(("CLUSTER", "NODES"))  # type: ignore[arg-type] # its stub wants a 1-tuple
_NO_NAMES = "none of the cluster's names can be resolved"
_DISABLED = "cluster support disabled"  # in the reply of a server that is no part of a cluster


class ClusterQuestions:
    """A connection to each node that was asked, and the seeds' names.

    This class does not choose whom to ask and does not judge a map; `cluster.Cluster` does.
    """

    def __init__(self, seeds: Sequence[Address], *, timeout: float) -> None:
        """Know the seeds; nothing is sent yet.

        Args:
            seeds: some nodes, or names that stand for many.
            timeout: seconds for a node to be reached and to answer.
        """
        self._seeds = seeds
        self._timeout = timeout
        self._connections: dict[Address, AbstractConnection] = {}
        self._resolving: dict[Address, asyncio.Task[list[Address]]] = {}

    async def ask(self, address: Address) -> ClusterMap | str:
        """Ask a node for its map, on a connection that is kept.

        Returns:
            The map, or why there is none, in words for the operator; no words where the node does
            not answer.
        """
        connection = self._connections.pop(address, None) or connection_to(address)
        try:
            async with asyncio.timeout(self._timeout):
                if connection.is_connected and await connection.can_read():
                    await connection.disconnect(nowait=True)  # the node closed it
                if not connection.is_connected:
                    await connection.connect()  # type: ignore[no-untyped-call] # redis-py's
                at = monotonic()
                await connection.send_packed_command(_ASK, check_health=False)
                reply: Any = await connection.read_response()
            if not isinstance(reply, bytes):
                raise ValueError("no text")  # noqa: TRY301, TRY004 as what makes no sense
            answer = parse(reply.decode(), address, at)
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            await connection.disconnect(nowait=True)
            return _reason(blamed(address.host, address.port, error))
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connections[address] = connection
        return answer

    async def resolved(self, problems: list[str]) -> list[Address]:
        """The seeds' addresses: a name that stands for several nodes gives several.

        A name that is not resolved within a moment counts for the next call.

        Args:
            problems: gets the reason when there is no address at all.
        """
        for seed in self._seeds:
            # a name server that is silent must not get all threads, one after another
            if seed not in self._resolving:
                self._resolving[seed] = asyncio.create_task(_resolve(seed))
        await asyncio.wait(self._resolving.values(), timeout=_RESOLVE)
        found: list[Address] = []
        for seed, task in list(self._resolving.items()):
            if task.done():
                del self._resolving[seed]
                found += task.result()
        if not found:
            problems.append(_NO_NAMES)
        return list(dict.fromkeys(found))

    async def keep(self, nodes: Collection[Address]) -> None:
        """Close the connections to all but some nodes."""
        await self._disconnect(self._connections.keys() - set(nodes))

    async def close(self) -> None:
        """Close every connection, and wait for no name any more."""
        for task in self._resolving.values():
            task.cancel()
        await self._disconnect(list(self._connections))

    async def _disconnect(self, nodes: Iterable[Address]) -> None:
        for address in nodes:
            await self._connections.pop(address).disconnect(nowait=True)


async def _resolve(seed: Address) -> list[Address]:
    if seed.tls is not None and seed.tls.check_hostname:
        return [seed]  # the certificate is made out to the name; all its addresses are tried
    try:
        found = await places(seed.host, seed.port)
    except NotResolved:
        return []
    return [seed.at(place[0], seed.port) for _, place in found]


def _reason(error: BaseException) -> str:
    """Why a node gave no map, for the operator; quotes nothing that it said."""
    behind = error.__cause__ or error.__context__
    if isinstance(error, NotResolved) or isinstance(behind, NotResolved):
        return _NO_NAMES
    if isinstance(behind, ssl.SSLError):
        return f"TLS fails: {getattr(behind, 'verify_message', None) or behind.reason}"
    match error:
        case AuthenticationError():
            reason = "the user name or the password is wrong or missing"
        case NoPermissionError():
            reason = "the user may not run CLUSTER NODES"
        case ResponseError() if _DISABLED in str(error):
            reason = "it is no cluster"
        case ResponseError():
            reason = f"a node refuses CLUSTER NODES ({error.status_code or 'ERR'})"
        case RedisError() | OSError():
            reason = ""
        case _:
            reason = "a node's CLUSTER NODES makes no sense"
    return reason

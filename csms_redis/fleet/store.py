"""The Redis of the settings, for a command that runs beside the service or without it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient
from csms_redis.redis.deployment import client, plain_client, running
from csms_redis.redis.embedded import DataDirectoryInUse, EmbeddedValkey
from csms_redis.redis.standalone import Standalone
from csms_redis.redis.topology import Topology
from csms_redis.registry.layout import Layout, UnknownLayout
from csms_redis.settings import RedisSettings

_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0)  # seconds; a failover takes less


class FleetError(Exception):
    """It could not be brought to its end; the message is one line for the operator."""


@asynccontextmanager
async def store(settings: RedisSettings) -> AsyncIterator[RedisClient]:
    """Where the records are.

    The embedded store is that of the service where one runs; else it runs meanwhile.

    Raises:
        BadSettings: a setting cannot be used.
        EmbeddedError: the embedded store cannot be started.
        FleetError: Redis cannot be reached, or its records have a layout that is not known.
    """
    async with AsyncExitStack() as stack:
        topology: Topology
        try:
            topology = await stack.enter_async_context(running(settings))
        except DataDirectoryInUse:
            topology = Standalone(Address(path=EmbeddedValkey(settings.data_dir).socket))
        await topology.look()
        unguarded = plain_client(settings, topology)
        stack.push_async_callback(unguarded.close)
        layout = Layout(unguarded, settings.key_prefix.encode())
        redis = client(settings, topology, admit=layout.admit)
        stack.push_async_callback(redis.close)
        if topology.problem is not None:
            raise FleetError(f"{topology}: {topology.problem}")
        try:
            # each new connection is asked whether it is to a master, in a way that it understands
            for master in topology.masters:
                await redis.read_at(master, [])
        except UnknownLayout as unknown:
            raise FleetError(unknown.error) from None
        except Unavailable as away:
            said = (
                f"{topology}: {away.error.partition('. ')[0]}"
                if away.lasting
                else f"{topology} cannot be reached or used"
            )
            raise FleetError(f"{said}; csms-redis check tells why") from None
        following = asyncio.create_task(topology.run())
        try:
            yield redis
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


def pauses() -> Iterator[float]:
    """Seconds to wait after each attempt that failed; when there are no more, it is given up."""
    yield from _PAUSES

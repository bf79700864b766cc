"""The Redis of the settings, connected for a command that runs beside the service or without it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient
from csms_redis.redis.deployment import client, plain_client, running
from csms_redis.redis.embedded import DataDirectoryInUse, EmbeddedValkey, has_store, no_store
from csms_redis.redis.standalone import Standalone
from csms_redis.redis.topology import Topology
from csms_redis.redis.url import EMBEDDED
from csms_redis.registry.layout import Layout, UnknownLayout
from csms_redis.settings import RedisSettings


class UnusableRedis(Exception):
    """Redis cannot be reached, or has records that this version cannot use.

    The message is one line for the operator.
    """


@asynccontextmanager
async def connected(settings: RedisSettings) -> AsyncIterator[RedisClient]:
    """Connect to Redis, and follow its failovers until the block ends.

    The embedded server is shared with the service while the service runs; otherwise it is started
    for as long as the block takes. Only the service makes a new store.

    Raises:
        BadSettings: a setting cannot be used.
        EmbeddedError: the embedded server cannot be started.
        UnusableRedis: Redis cannot be reached, or its records have an unknown layout.
    """
    if settings.url.get_secret_value() == EMBEDDED and not has_store(settings.data_dir):
        raise UnusableRedis(no_store(settings.data_dir))
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
            raise UnusableRedis(f"{topology}: {topology.problem}")
        try:
            # a read of nothing opens a connection, and a new connection is asked for its role
            for master in topology.masters:
                await redis.read_at(master, [])
        except UnknownLayout as unknown:
            raise UnusableRedis(unknown.error) from None
        except Unavailable as away:
            problem = (
                f"{topology}: {away.error.partition('. ')[0]}"
                if away.lasting
                else f"{topology} cannot be reached or used"
            )
            raise UnusableRedis(f"{problem}; csms-redis check says why") from None
        following = asyncio.create_task(topology.run())
        try:
            yield redis
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

"""The Redis that `[redis]` names: where it is, and the client that writes to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from csms_redis import aside
from csms_redis.redis.address import Address
from csms_redis.redis.client import Admit, RedisClient
from csms_redis.redis.durability import Durability
from csms_redis.redis.embedded import EmbeddedValkey
from csms_redis.redis.node import Node
from csms_redis.redis.standalone import Standalone
from csms_redis.redis.topology import Topology
from csms_redis.redis.url import configured
from csms_redis.settings import RedisSettings

_log = structlog.get_logger()


@asynccontextmanager
async def running(settings: RedisSettings, *, serves: bool = False) -> AsyncIterator[Topology]:
    """Where Redis is; the embedded one runs meanwhile.

    Args:
        settings: of it.
        serves: whether for a service, which waits for a command that has the embedded store.

    Raises:
        BadSettings: a setting cannot be used.
        EmbeddedError: the embedded store cannot be started.
    """
    # a file that is named may be on a mount that hangs
    if topology := await aside.run(lambda: configured(settings)):
        try:
            yield topology
        finally:
            await topology.close()
        return
    valkey = EmbeddedValkey(settings.data_dir, serves=serves)
    await valkey.start()
    _log.info("embedded store", data_dir=str(settings.data_dir.resolve()))
    try:
        yield Standalone(Address(path=valkey.socket))
    finally:
        await valkey.stop()


def client(
    settings: RedisSettings, topology: Topology, *, admit: Admit | None = None
) -> RedisClient:
    """Writes to a topology, as `[redis]` wants them, when they are admitted."""
    durability = Durability(
        replicas=settings.wait_replicas,
        timeout=settings.wait_timeout,
        on_disk=settings.wait_for_disk,
    )

    def node(address: Address) -> Node:
        return Node(address, max_connections=settings.max_connections, durability=durability)

    waits = durability.replicas > 0
    return RedisClient(topology, node, timeout=settings.timeout, admit=admit, waits=waits)


def plain_client(settings: RedisSettings, topology: Topology) -> RedisClient:
    """One whose writes wait for no replica, on one connection to each master."""
    return client(settings.model_copy(update={"wait_replicas": 0, "max_connections": 1}), topology)

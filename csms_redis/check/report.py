"""The whole report: checks the settings, each master, the stored records and the replicas."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

from csms_redis.check.access import access
from csms_redis.check.exposure import exposure
from csms_redis.check.finding import Finding, error, ok
from csms_redis.check.inspection import Server
from csms_redis.check.preload import preload
from csms_redis.check.replication import cut_off, disks, replicas
from csms_redis.check.rights import Rights
from csms_redis.check.server import (
    eviction,
    hash_tag,
    lifetimes,
    memory,
    persistence,
    role,
    version,
)
from csms_redis.check.stored import stored_layout
from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.embedded import EmbeddedValkey, has_store, no_store
from csms_redis.redis.standalone import Standalone
from csms_redis.redis.topology import Topology
from csms_redis.redis.url import Kind, RedisUrl, configured, parse
from csms_redis.settings import RedisSettings, Settings

_FAIL_OVER = ("sentinel", "cluster")
_NO_CLUSTER = ("", "standalone")
_TRIED: Mapping[Kind, Sequence[str]] = {
    "standalone": _NO_CLUSTER,
    "unix": _NO_CLUSTER,
    "sentinel": _NO_CLUSTER,
    "cluster": ("", "cluster"),
}
"""The modes of a server at which commands are tried, for each kind of URL; empty is not known."""


async def check(settings: Settings) -> AsyncIterator[Finding]:
    """Check the settings and the Redis that they name; no record is changed.

    Yields:
        Each finding as soon as it is known.

    Raises:
        BadSettings: `redis.url`, or a setting that goes with it, cannot be used.
    """
    topology = configured(settings.redis)
    yield ok("settings", "valid")
    for finding in access(settings.auth, settings.server):
        yield finding
    if topology is None:
        async for finding in _inspect_embedded(settings.redis):
            yield finding
        return
    try:
        await topology.look()
        async for finding in _inspect(topology, settings.redis):
            yield finding
        if topology.masters and topology.problem is None:
            async for finding in preload(topology, settings):
                yield finding
    finally:
        await topology.close()


async def _inspect_embedded(settings: RedisSettings) -> AsyncIterator[Finding]:
    data_dir = settings.data_dir.absolute()
    server = Server(Address(path=EmbeddedValkey(data_dir).socket), settings.timeout)
    try:
        await server.reach()
    except Unavailable as unavailable:
        # who has set where the store is to be may check that before there is one
        is_set = not settings.model_fields_set.isdisjoint({"url", "data_dir"})
        if not (is_set or has_store(data_dir)):
            yield error("redis", no_store(settings.data_dir))
            return
        if server.nobody_listens(unavailable):
            yield ok("redis", f"embedded, not running: csms-redis serve starts it in {data_dir}")
            return
    async for finding in _inspect_server(server):
        yield finding
    yield await stored_layout(Standalone(server.address), settings)


async def _inspect(topology: Topology, settings: RedisSettings) -> AsyncIterator[Finding]:
    url = parse(settings.url.get_secret_value())
    for finding in (*hash_tag(settings.key_prefix, url.kind), *_exposure(url, settings, topology)):
        yield finding
    if topology.problem is not None:
        yield error("redis", f"{topology}: {topology.problem}")
    servers = [Server(master, settings.timeout) for master in topology.masters]
    for server in servers:
        async for finding in _inspect_master(server, topology, url, settings):
            yield finding
    if servers and topology.problem is None:
        yield await stored_layout(topology, settings)
    async for finding in _inspect_replicas(
        [server for server in servers if server.info], url, settings
    ):
        yield finding


async def _inspect_master(
    server: Server, topology: Topology, url: RedisUrl, settings: RedisSettings
) -> AsyncIterator[Finding]:
    async for finding in _inspect_server(server):
        yield finding
    for finding in role(server.info, url.kind):
        yield finding
    if server.answers and server.mode in _TRIED[url.kind] and server.info.get("role") != "slave":
        async for finding in Rights(server, topology, settings).try_all():
            yield finding
    if url.kind == "sentinel" and server.info:
        yield cut_off(server, settings.wait_replicas)


async def _inspect_server(server: Server) -> AsyncIterator[Finding]:
    async for finding in server.inspect():
        yield finding
    if server.info:
        yield version(server.info)
        for finding in persistence(server.info, server.config):
            yield finding
        yield eviction(server.info)
        for finding in (
            *lifetimes(server.info, server.address.db),
            *memory(server.info),
        ):
            yield finding


async def _inspect_replicas(
    masters: list[Server], url: RedisUrl, settings: RedisSettings
) -> AsyncIterator[Finding]:
    fails_over = url.kind in _FAIL_OVER
    for finding in replicas(masters, settings.wait_replicas, fails_over=fails_over):
        yield finding
    if settings.wait_for_disk:
        for master in masters:
            found = master.replicas()
            for replica in found:
                async for _ in replica.inspect():
                    pass  # a replica may be reachable for its master only: that is no finding
            for finding in disks(master, found, settings):
                yield finding


def _exposure(url: RedisUrl, settings: RedisSettings, topology: Topology) -> Iterator[Finding]:
    hosts = [host for host, _ in url.hosts] + [master.host for master in topology.masters]
    secret = url.password or settings.password_file or settings.sentinel_password_file
    return exposure(hosts, url, password=bool(secret))

"""The whole report: the settings, each master, and what replicas make of an acknowledgement."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

from csms_redis.check.access import access
from csms_redis.check.exposure import exposure
from csms_redis.check.finding import Finding, error, ok
from csms_redis.check.look import Look
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
from csms_redis.redis.embedded import EmbeddedValkey
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
"""The modes of servers that the service would use, by the kind of the URL."""


async def check(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the settings and at the Redis they name; no record is changed.

    Raises:
        BadSettings: `redis.url`, or what belongs to it, cannot be used.
    """
    topology = configured(settings.redis)
    yield ok("settings", "valid")
    for finding in access(settings.auth, settings.server):
        yield finding
    if topology is None:
        async for finding in _look_at_embedded(settings.redis):
            yield finding
        return
    try:
        await topology.look()
        async for finding in _look_at(topology, settings.redis):
            yield finding
    finally:
        await topology.close()


async def _look_at_embedded(settings: RedisSettings) -> AsyncIterator[Finding]:
    data_dir = settings.data_dir.absolute()
    look = Look(Address(path=EmbeddedValkey(data_dir).socket), settings.timeout)
    try:
        await look.reach()
    except Unavailable as unavailable:
        if look.nobody_listens(unavailable):
            yield ok("redis", f"embedded, not running: csms-redis serve starts it in {data_dir}")
            return
    async for finding in _look_at_server(look):
        yield finding
    yield await stored_layout(Standalone(look.address), settings)


async def _look_at(topology: Topology, settings: RedisSettings) -> AsyncIterator[Finding]:
    url = parse(settings.url.get_secret_value())
    for finding in (*hash_tag(settings.key_prefix, url.kind), *_exposure(url, settings, topology)):
        yield finding
    if topology.problem is not None:
        yield error("redis", f"{topology}: {topology.problem}")
    looks = [Look(master, settings.timeout) for master in topology.masters]
    for look in looks:
        async for finding in _look_at_master(look, topology, url, settings):
            yield finding
    if looks and topology.problem is None:
        yield await stored_layout(topology, settings)
    async for finding in _look_at_replicas([look for look in looks if look.info], url, settings):
        yield finding


async def _look_at_master(
    look: Look, topology: Topology, url: RedisUrl, settings: RedisSettings
) -> AsyncIterator[Finding]:
    async for finding in _look_at_server(look):
        yield finding
    for finding in role(look.info, url.kind):
        yield finding
    if look.answers and look.mode in _TRIED[url.kind] and look.info.get("role") != "slave":
        async for finding in Rights(look, topology, settings).try_all():
            yield finding
    if url.kind == "sentinel" and look.info:
        yield cut_off(look, settings.wait_replicas)


async def _look_at_server(look: Look) -> AsyncIterator[Finding]:
    async for finding in look.look():
        yield finding
    if look.info:
        yield version(look.info)
        for finding in persistence(look.info, look.config):
            yield finding
        yield eviction(look.info)
        for finding in (*lifetimes(look.info, look.address.db), *memory(look.info)):
            yield finding


async def _look_at_replicas(
    masters: list[Look], url: RedisUrl, settings: RedisSettings
) -> AsyncIterator[Finding]:
    fails_over = url.kind in _FAIL_OVER
    for finding in replicas(masters, settings.wait_replicas, fails_over=fails_over):
        yield finding
    if settings.wait_for_disk:
        for master in masters:
            found = master.replicas()
            for replica in found:
                async for _ in replica.look():
                    pass  # one that cannot be looked at is behind a network that only masters see
            for finding in disks(master, found, settings):
                yield finding


def _exposure(url: RedisUrl, settings: RedisSettings, topology: Topology) -> Iterator[Finding]:
    hosts = [host for host, _ in url.hosts] + [master.host for master in topology.masters]
    secret = url.password or settings.password_file or settings.sentinel_password_file
    return exposure(hosts, url, password=bool(secret))

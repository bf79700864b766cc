"""Checks that each process can hold all records, so that it needs Redis for none of them."""

from collections import Counter
from collections.abc import AsyncIterator
from time import monotonic

from redis.exceptions import ResponseError

from csms_redis.check.finding import Finding, ok, warning
from csms_redis.contract.errors import Unavailable
from csms_redis.lookup.known.near_cache import FILLED
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient
from csms_redis.redis.connections import Command
from csms_redis.redis.deployment import plain_client
from csms_redis.redis.outcomes import code_of
from csms_redis.redis.scan import pattern_of
from csms_redis.redis.topology import Topology
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN
from csms_redis.settings import Settings

_KINDS = {STATION: "stations", CERTIFICATE: "certificates", TOKEN: "tokens"}
_COUNT = 1000  # keys that one SCAN looks at
_WITHIN = 10.0  # seconds that counting may take


async def preload(topology: Topology, settings: Settings) -> AsyncIterator[Finding]:
    """Count the records, and compare the number with what a process may hold."""
    lookup = settings.lookup
    if not lookup.preload or lookup.cache_entries == 0:
        yield ok("preload", "off: what nobody asked for is read from Redis")
        return
    redis = plain_client(settings.redis, topology)
    try:
        counts, others = await _count(redis, topology, settings.redis.key_prefix.encode())
    except TimeoutError:
        yield ok("preload", f"the records were not counted: that takes over {_WITHIN:g} s")
        return
    except Unavailable as unavailable:
        cause = unavailable.__cause__
        why = f" ({code_of(cause)})" if isinstance(cause, ResponseError) else ""
        yield warning(
            "preload",
            f"SCAN is refused{why}: no process holds all records, and an outage of Redis turns "
            "away stations that were not looked up before; give the user +scan, or set "
            "lookup.preload = false",
        )
        return
    finally:
        await redis.close()
    total = sum(counts.values())
    said = ", ".join(f"{counts[kind]:,} {name}" for kind, name in _KINDS.items())
    if total > lookup.cache_entries * FILLED:
        yield warning(
            "preload",
            f"{said}: more than a process may hold; set lookup.cache_entries to "
            f"{round(total * 1.2)} or more, and lookup.cache_bytes as deploy/size.md says",
        )
    else:
        yield ok("preload", f"{said}: each process holds them, if lookup.cache_bytes allows it")
    if others:
        yield warning(
            "preload",
            f"{others:,} keys with the name of a record are no hashes: a lookup of their ids "
            "always asks Redis; remove them, or set redis.key_prefix if they are another program's",
        )


async def _count(
    redis: RedisClient, topology: Topology, prefix: bytes
) -> tuple[Counter[object], int]:
    """Count the records of each kind, and the keys with such a name that are no hashes.

    Raises:
        TimeoutError: that took longer than `_WITHIN`.
        Unavailable: Redis did not answer, or refused SCAN.
    """
    until = monotonic() + _WITHIN
    counts: Counter[object] = Counter()
    others = 0
    for master in topology.masters:
        for kind in _KINDS:
            pattern = pattern_of(kind.key(prefix, ""))
            hashes = await _keys(redis, master, ("MATCH", pattern, "TYPE", "hash"), until)
            others += len(await _keys(redis, master, ("MATCH", pattern), until)) - len(hashes)
            counts[kind] += sum(kind.id_of(prefix, key) is not None for key in hashes)
    return counts, others


async def _keys(redis: RedisClient, master: Address, which: Command, until: float) -> set[bytes]:
    """List the keys of a master that a scan names."""
    found: set[bytes] = set()
    cursor = 0
    while True:
        scan: Command = ("SCAN", cursor, *which, "COUNT", _COUNT)
        ((after, keys),) = await redis.read_at(master, [scan])
        found.update(keys)
        cursor = int(after)
        if cursor == 0:
            return found
        if monotonic() > until:
            raise TimeoutError

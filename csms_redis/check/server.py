"""Checks one server: what it is, and whether its settings keep the writes that it acknowledges."""

import re
from collections.abc import Iterator, Mapping

from csms_redis.check.finding import Finding, error, ok, warning
from csms_redis.redis.keyspace import KEYS, volatile
from csms_redis.redis.url import Kind

_NEXT_SECOND = "set appendfsync always (in exchange, each write waits for the disk)"
_NEARLY_FULL = 0.9  # of maxmemory
_HASH_TAG = re.compile(r"[^{]*\{[^}]+\}")


def hash_tag(prefix: str, kind: Kind) -> Iterator[Finding]:
    """Report a key prefix that puts all keys into one slot of a cluster."""
    if kind == "cluster" and _HASH_TAG.match(prefix):
        yield warning(
            "key_prefix",
            "has a hash tag: all records are in one slot, at one master; leave out its braces",
        )


def version(info: Mapping[str, str]) -> Finding:
    """Name the server and its version: Valkey's own, not that of the Redis it stands for."""
    if valkey := info.get("valkey_version"):
        return ok("version", f"Valkey {valkey}")
    return ok("version", f"Redis {info.get('redis_version', 'of an unknown version')}")


def role(info: Mapping[str, str], kind: Kind) -> Iterator[Finding]:
    """Report a server that is not what `redis.url` says, or that refuses writes.

    Args:
        info: what INFO says.
        kind: the kind of `redis.url`.
    """
    mode = info.get("redis_mode") or info.get("server_mode")  # of Redis, of Valkey
    if mode == "sentinel":
        yield error("role", "this is a sentinel: name it in redis+sentinel://host:26379/mymaster")
    elif mode == "cluster" and kind != "cluster":
        yield error("role", "this is a node of a cluster: name it in redis+cluster://host:6379")
    elif info.get("role") == "slave":
        yield error("role", "this is a replica, which refuses writes: name its primary")


def persistence(info: Mapping[str, str], config: Mapping[str, str]) -> Iterator[Finding]:
    """Report which acknowledged writes a crash would lose.

    Args:
        info: what INFO says.
        config: what CONFIG GET says; a setting that is not known is left out.
    """
    if info.get("aof_enabled") != "1":
        yield _without_append_only_file(config.get("save"))
        return
    yield ok("appendonly", "yes")
    fsync = config.get("appendfsync")
    if fsync == "always":
        yield ok("appendfsync", "always: what was acknowledged is on the disk")
        if config.get("no-appendfsync-on-rewrite") == "yes":
            yield warning(
                "appendfsync",
                "not while the append-only file is rewritten: a crash of the machine then loses "
                "what was acknowledged meanwhile; set no-appendfsync-on-rewrite no",
            )
    elif fsync == "everysec":
        yield warning(
            "appendfsync",
            "everysec: a crash of the machine loses the writes acknowledged in the last second or "
            f"two; {_NEXT_SECOND}",
        )
    elif fsync is not None:
        yield warning(
            "appendfsync",
            f"{fsync}: a crash of the machine loses the writes that the operating system still "
            f"held, often those of the last 30 seconds; {_NEXT_SECOND}",
        )


def lifetimes(info: Mapping[str, str], db: int) -> Iterator[Finding]:
    """Report keys with a time to live: no record should have one.

    Args:
        info: what INFO says.
        db: the number of the database that the service uses.
    """
    try:
        counts = volatile(info.get(f"db{db}", ""))
    except ValueError:
        return
    keys, hashes = counts.pop(KEYS, 0), sum(counts.values())
    if keys or hashes:
        yield warning(
            "expires",
            f"in database {db}, {keys} keys have a time to live, and fields of {hashes} hashes: "
            "csms-redis gives none; a record among them is answered until its end, and reads cost "
            "Redis up to two commands more; redis-cli PERSIST KEY takes it off a key",
        )


def _without_append_only_file(save: str | None) -> Finding:
    if save == "":
        loses = "no, and save is empty: nothing is kept on disk, a restart of Redis loses all"
    else:
        snapshots = f"snapshots only (save {save})" if save else "at most snapshots"
        loses = f"no, {snapshots}: a crash loses every write acknowledged since the last one"
    return warning("appendonly", f"{loses}; set appendonly yes and appendfsync always")


def eviction(info: Mapping[str, str]) -> Finding:
    """Report whether Redis evicts records when its memory is full."""
    policy = info.get("maxmemory_policy")
    about = "maxmemory-policy"
    if policy is None:
        return warning(about, "INFO does not say: make sure that it is noeviction")
    if policy == "noeviction":
        return ok(about, "noeviction: when memory is full, writes are refused and nothing is lost")
    remedy = "set maxmemory-policy noeviction"
    if policy.startswith("volatile-"):
        # The registry's records have no time to live, but others in the same Redis may have one.
        return warning(about, f"{policy}: evicts keys that expire when memory is full; {remedy}")
    limit = info.get("maxmemory_human", "0B")
    when = f"at maxmemory {limit}" if limit != "0B" else "once maxmemory is set"
    return warning(about, f"{policy}: evicts records {when}, acknowledged or not; {remedy}")


def memory(info: Mapping[str, str]) -> Iterator[Finding]:
    """Report memory that is full or nearly full, if no records are evicted then.

    Args:
        info: of INFO. Redis does not count its output buffers, so they are not counted here.
    """
    try:
        limit = int(info.get("maxmemory", 0))
        used = int(info["used_memory"]) - int(info.get("mem_not_counted_for_evict", 0))
    except (KeyError, ValueError):
        return
    if not limit or info.get("maxmemory_policy", "noeviction") != "noeviction":
        return
    share = f"{used:,} of {limit:,} bytes are used"
    if used >= limit:
        yield error(
            "maxmemory",
            f"{share}: nothing new is stored (OOM), such writes are answered 503; a station can "
            "still be blocked, and records removed; raise it, or remove what is not needed",
        )
    elif used >= _NEARLY_FULL * limit:
        yield warning(
            "maxmemory", f"{share}: when it is full, writes are refused (OOM); raise it in time"
        )

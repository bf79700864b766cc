"""Whether the service would run well, and keep what it acknowledges: `csms-redis check`."""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.client import RedisClient
from csms_redis.redis.embedded import EmbeddedValkey
from csms_redis.redis.url import Address, configured
from csms_redis.settings import Settings

_CONFIG = ("appendfsync", "no-appendfsync-on-rewrite", "save")
_NEXT_SECOND = "set appendfsync always (in exchange, each write waits for the disk)"


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"  # it runs, but records could be lost or something was not looked at
    ERROR = "error"  # it would not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; it never holds a password."""

    level: Level
    about: str
    text: str


def _ok(about: str, text: str) -> Finding:
    return Finding(Level.OK, about, text)


def _warning(about: str, text: str) -> Finding:
    return Finding(Level.WARNING, about, text)


def _error(about: str, text: str) -> Finding:
    return Finding(Level.ERROR, about, text)


async def check(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the settings and at the Redis they name; nothing is changed.

    Raises:
        BadSettings: `redis.url` or `redis.password_file` cannot be used.
    """
    address = configured(settings.redis)
    yield _ok("settings", "valid")
    embedded = address is None
    data_dir = settings.redis.data_dir.absolute()
    if address is None:
        address = Address(path=EmbeddedValkey(data_dir).socket)
    # One command after the other needs one connection.
    redis = RedisClient.connect(address, timeout=settings.redis.timeout, max_connections=1)
    try:
        await redis.read("PING")
    except Unavailable as error:
        if embedded and _nobody_listens(error):
            yield _ok("redis", f"embedded, not running: csms-redis serve starts it in {data_dir}")
        else:
            yield _error("redis", f"{address}: {_reason(error, settings.redis.timeout)}")
    else:
        yield _ok("redis", f"{address} answers")
        async for finding in _look_at(redis):
            yield finding
    finally:
        await redis.close()


async def _look_at(redis: RedisClient) -> AsyncIterator[Finding]:
    try:
        info = parse_info(await redis.read("INFO"))
    except Unavailable as error:
        yield _not_looked_at("INFO", "version, persistence and eviction policy", error)
        return
    yield version(info)
    for finding in role(info):
        yield finding
    config: dict[str, str] = {}
    for name in _CONFIG:
        try:
            config |= _texts(await redis.read("CONFIG", "GET", name))
        except Unavailable as error:
            yield _not_looked_at("CONFIG GET", f"{', '.join(_CONFIG)}", error)
            break
    for finding in persistence(info, config):
        yield finding
    yield eviction(info)


def _not_looked_at(command: str, what: str, error: Unavailable) -> Finding:
    why = "may not be used here" if isinstance(error.__cause__, ResponseError) else "got no answer"
    return _warning(command.lower(), f"{command} {why}: look at {what} yourself")


def _texts(reply: Mapping[bytes, bytes]) -> dict[str, str]:
    return {key.decode(): value.decode("utf-8", "replace") for key, value in reply.items()}


def parse_info(reply: bytes) -> dict[str, str]:
    """Read the reply of INFO: `name:value` lines below `# Section` lines."""
    lines = reply.decode("utf-8", "replace").splitlines()
    pairs = (line.partition(":") for line in lines if not line.startswith("#"))
    return {name: value for name, colon, value in pairs if colon}


def version(info: Mapping[str, str]) -> Finding:
    """Name the server; Valkey says which Redis it equals and, apart from it, its own version."""
    if valkey := info.get("valkey_version"):
        return _ok("version", f"Valkey {valkey}")
    return _ok("version", f"Redis {info.get('redis_version', 'of an unknown version')}")


def role(info: Mapping[str, str]) -> Iterator[Finding]:
    """Refuse a replica: it takes no writes, and `redis.url` is where they go."""
    if info.get("role") == "slave":
        yield _error("role", "this is a replica, which refuses writes: name its primary")


def persistence(info: Mapping[str, str], config: Mapping[str, str]) -> Iterator[Finding]:
    """Say what of the acknowledged writes would be lost in a crash.

    Args:
        info: of INFO.
        config: of CONFIG GET; what is not known is not in it.
    """
    if info.get("aof_enabled") != "1":
        yield _without_append_only_file(config.get("save"))
        return
    yield _ok("appendonly", "yes")
    fsync = config.get("appendfsync")
    if fsync == "always":
        yield _ok("appendfsync", "always: what was acknowledged is on the disk")
        if config.get("no-appendfsync-on-rewrite") == "yes":
            yield _warning(
                "appendfsync",
                "not while the append-only file is rewritten: a crash of the machine then loses "
                "what was acknowledged meanwhile; set no-appendfsync-on-rewrite no",
            )
    elif fsync == "everysec":
        yield _warning(
            "appendfsync",
            "everysec: a crash of the machine loses the writes acknowledged in the last second or "
            f"two; {_NEXT_SECOND}",
        )
    elif fsync is not None:
        yield _warning(
            "appendfsync",
            f"{fsync}: a crash of the machine loses the writes that the operating system still "
            f"held, often those of the last 30 seconds; {_NEXT_SECOND}",
        )


def _without_append_only_file(save: str | None) -> Finding:
    if save == "":
        loses = "no, and save is empty: nothing is kept on disk, a restart of Redis loses all"
    else:
        snapshots = f"snapshots only (save {save})" if save else "at most snapshots"
        loses = f"no, {snapshots}: a crash loses every write acknowledged since the last one"
    return _warning("appendonly", f"{loses}; set appendonly yes and appendfsync always")


def eviction(info: Mapping[str, str]) -> Finding:
    """Say whether Redis would throw records away when its memory is full."""
    policy = info.get("maxmemory_policy")
    about = "maxmemory-policy"
    if policy is None:
        return _warning(about, "not told by INFO: see that it is noeviction")
    if policy == "noeviction":
        return _ok(about, "noeviction: when memory is full, writes are refused and nothing is lost")
    remedy = "set maxmemory-policy noeviction"
    if policy.startswith("volatile-"):
        # The registry's records have no expiry, but what shares the Redis may have.
        return _warning(about, f"{policy}: evicts keys that expire when memory is full; {remedy}")
    limit = info.get("maxmemory_human", "0B")
    when = f"at maxmemory {limit}" if limit != "0B" else "once maxmemory is set"
    return _warning(about, f"{policy}: evicts records {when}, acknowledged or not; {remedy}")


def _nobody_listens(error: Unavailable) -> bool:
    """Whether there is no socket, or one that a killed server left."""
    gone = (FileNotFoundError, ConnectionRefusedError)
    return any(isinstance(cause, gone) for cause in _causes(error))


def _reason(error: Unavailable, timeout: float) -> str:
    """Why there is no answer, in words that are not the server's: it may quote the password."""
    cause = error.__cause__
    if isinstance(cause, AuthenticationError):
        return (
            "refuses the user or the password, or wants one: set them in redis.url, "
            "or redis.password_file"
        )
    if isinstance(cause, NoPermissionError):
        return "the user lacks permissions: PING may not be used"
    if isinstance(cause, ResponseError):
        return "refuses the connection: is the database's number right?"
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout:g} s (redis.timeout)"
    for deeper in _causes(error):
        if isinstance(deeper, OSError) and (deeper.errno or deeper.strerror):
            number = deeper.errno or 0
            told = os.strerror(number) if number > 0 else deeper.strerror or ""
            return f"cannot be reached: {told.lower()}"
    return "closed the connection: is it a Redis, and is TLS (rediss://) used on both sides?"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__

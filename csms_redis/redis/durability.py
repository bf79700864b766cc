"""Where a write must be before it is acknowledged: WAIT and WAITAOF, and what they answered."""

from dataclasses import dataclass
from typing import Any

import structlog
from redis.exceptions import RedisError

from csms_redis.contract.errors import OutcomeUnknown
from csms_redis.redis.connections import ERROR_REPLIES, Command
from csms_redis.redis.outcomes import UNKNOWN, code_of, is_lasting, is_unknown_command

_CANNOT_WAIT = "Redis cannot confirm that a write is on disk: it has no WAITAOF"
_WHAT_TO_DO = "update it to Redis 7.2 or newer, or Valkey, or unset redis.wait_for_disk"
_WAITAOF_SINCE = [7, 2]
_NO_WAITAOF = (
    "Redis cannot confirm that a write is on disk, as redis.wait_for_disk wants it: it has no "
    f"WAITAOF. The write was applied, and may be lost; an operator must {_WHAT_TO_DO}."
)
_NO_FILE = "appendonly is disabled"  # in the error of a WAITAOF; its code is ERR
_APPEND_NOTHING = (
    "Redis cannot confirm that a write is on disk, as redis.wait_for_disk wants it: it has "
    "appendonly no. The write was applied, and may be lost; an operator must set appendonly yes in "
    "Redis, or unset redis.wait_for_disk."
)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Durability:
    """Where a write must be before it is acknowledged, besides the master."""

    replicas: int = 0  # how many of them must have the write
    timeout: float = 0.0  # seconds that the replicas have to confirm the write
    on_disk: bool = False  # whether it must be in append-only files, the master's too

    @property
    def commands(self) -> list[Command]:
        """The commands that ask for it, to be sent behind the write on the same connection."""
        if not self.replicas:
            return []
        milliseconds = round(self.timeout * 1000)
        wait: list[Command] = [("WAIT", self.replicas, milliseconds)]
        # WAITAOF alone would take a second: asked for the first time, replicas tell how far they
        # are before they write to their disks, and after that only once a second
        return [*wait, ("WAITAOF", 1, self.replicas, milliseconds)] if self.on_disk else wait


MASTER_ONLY = Durability()


def tell_of_old_server(server: str, version: str) -> bool:
    """Log it if a server is too old for `redis.wait_for_disk`; whether it is."""
    numbers = version.split(".")[:2]
    old = all(map(str.isdigit, numbers)) and [*map(int, numbers)] < _WAITAOF_SINCE
    if old:
        _log.error(_CANNOT_WAIT, redis=server, version=version, to_do=_WHAT_TO_DO)
    return old


def unconfirmed(confirmed: Any, wanted: Durability) -> OutcomeUnknown | None:
    """None if WAIT or WAITAOF says that the writes are where they must be."""
    if isinstance(confirmed, ERROR_REPLIES):
        return _cannot_wait(confirmed, wanted)
    on_master, replicas = confirmed if wanted.on_disk else (1, confirmed)
    if not on_master:
        _log.error("the master did not write to its disk in time")
        return OutcomeUnknown(UNKNOWN)
    if replicas < wanted.replicas:
        _log.error("not enough replicas have a write", confirmed=replicas, wanted=wanted.replicas)
        return OutcomeUnknown(
            f"Only {replicas} of {wanted.replicas} replicas confirmed the write. It may have been "
            "applied, and may be lost; send it again."
        )
    return None


def _cannot_wait(error: RedisError, wanted: Durability) -> OutcomeUnknown:
    code = code_of(error)
    if wanted.on_disk and is_unknown_command(error):
        _log.error(_CANNOT_WAIT, to_do=_WHAT_TO_DO)
        failure = OutcomeUnknown(_NO_WAITAOF, lasting=True)
    elif wanted.on_disk and _NO_FILE in str(error):
        _log.error(
            "Redis cannot confirm that a write is on disk: it has appendonly no",
            to_do="set appendonly yes in Redis, or unset redis.wait_for_disk",
        )
        failure = OutcomeUnknown(_APPEND_NOTHING, lasting=True)
    else:  # such as UNBLOCKED, when the master is demoted
        _log.error("Redis could not wait for its replicas", reason=code)
        failure = OutcomeUnknown(UNKNOWN, lasting=is_lasting(error))
    failure.__cause__ = error
    return failure

"""The log line for each write that a command makes or is refused, as the service writes its own.

`operation`, the record, `outcome` and `request_id` are those of the service's line. The person is
the `user` of the operating system, and `command` takes the place of `method` and `status`.
"""

import asyncio
import logging
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

from csms_redis.contract.errors import OutcomeUnknown, Problem, Unavailable
from csms_redis.fleet import TransferFailed
from csms_redis.redis.embedded import EmbeddedError
from csms_redis.registry.connected import UnusableRedis
from csms_redis.settings import BadSettings, Settings
from csms_redis.telemetry import log

_NOT_POSSIBLE = BadSettings | EmbeddedError | TransferFailed | UnusableRedis


@contextmanager
def audited(settings: Settings, command: str, operation: str) -> Iterator[dict[str, Any]]:
    """Write the log line when the block ends, however it ends.

    Args:
        settings: name the log's format and level.
        command: as it was typed, for example `station add`.
        operation: the API's name for it (`operationId`).

    Yields:
        What the block adds to the line: the record, and what changes in it; never a secret. An
        `outcome` in it counts more than how the block ends.
    """
    line: dict[str, Any] = {}
    began = time.perf_counter()
    failure: BaseException | None = None
    try:
        yield line
    except BaseException as error:
        failure = error
        raise
    finally:
        outcome = line.pop("outcome", None) or _outcome(failure)
        reason = None if failure is None else _reason(failure)
        log.line(
            settings.telemetry,
            logging.INFO if outcome == "done" else logging.WARNING,
            "write",
            command=command,
            operation=operation,
            **line,
            outcome=outcome,
            **({"reason": reason} if reason else {}),
            **_user(),
            request_id=token_hex(16),
            ms=round((time.perf_counter() - began) * 1000, 2),
        )


def _outcome(failure: BaseException | None) -> str:
    """One of `telemetry.metrics.OUTCOMES`."""
    if failure is None:
        return "done"
    if isinstance(failure, OutcomeUnknown | asyncio.CancelledError | KeyboardInterrupt):
        return "unknown"
    if isinstance(failure, Unavailable | _NOT_POSSIBLE):
        return "unavailable"
    return "refused" if isinstance(failure, Problem) else "error"


def _reason(failure: BaseException) -> str:
    if isinstance(failure, Problem):
        return failure.error
    if isinstance(failure, _NOT_POSSIBLE):
        return str(failure)
    if isinstance(failure, asyncio.CancelledError | KeyboardInterrupt):
        return str(failure) or "interrupted"
    return "unexpected error"


def _user() -> dict[str, str]:
    """Who runs the command, from the process and not from its environment, which anyone may set.

    For root, the user who called sudo is named too: only root could have set that otherwise.
    """
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's user may have no name
        name = str(uid)
    sudo = os.environ.get("SUDO_USER") if uid == 0 else None
    return {"user": name} | ({"sudo_user": sudo} if sudo else {})

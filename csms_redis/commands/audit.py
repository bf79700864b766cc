"""The line in the log for each write that a command makes, and for each that is refused.

It is as the service's own: `operation`, the record, `outcome` and `request_id`; who it was is the
`user` of the operating system, and `command` stands in the place of `method` and `status`.
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
from csms_redis.fleet import FleetError
from csms_redis.redis.embedded import EmbeddedError
from csms_redis.settings import BadSettings, Settings
from csms_redis.telemetry import log


@contextmanager
def audited(settings: Settings, command: str, operation: str) -> Iterator[dict[str, Any]]:
    """Write the line when the block has ended, in whatever way.

    What the block puts into the dictionary is part of it: the record, and how it is changed;
    never a secret.
    """
    told: dict[str, Any] = {}
    began = time.perf_counter()
    failure: BaseException | None = None
    try:
        yield told
    except BaseException as error:
        failure = error
        raise
    finally:
        outcome = told.pop("outcome", None) or _outcome(failure)
        reason = None if failure is None else _reason(failure)
        log.line(
            settings.telemetry,
            logging.INFO if outcome == "done" else logging.WARNING,
            "write",
            command=command,
            operation=operation,
            **told,
            outcome=outcome,
            **({"reason": reason} if reason else {}),
            **_who(),
            request_id=token_hex(16),
            ms=round((time.perf_counter() - began) * 1000, 2),
        )


def _outcome(failure: BaseException | None) -> str:
    """One of `telemetry.metrics.OUTCOMES`."""
    if failure is None:
        return "done"
    if isinstance(failure, OutcomeUnknown | asyncio.CancelledError | KeyboardInterrupt):
        return "unknown"
    if isinstance(failure, Unavailable | FleetError | EmbeddedError | BadSettings):
        return "unavailable"
    return "refused" if isinstance(failure, Problem) else "error"


def _reason(failure: BaseException) -> str:
    if isinstance(failure, Problem):
        return failure.error
    if isinstance(failure, FleetError | EmbeddedError | BadSettings):
        return str(failure)
    if isinstance(failure, asyncio.CancelledError | KeyboardInterrupt):
        return str(failure) or "interrupted"
    return "unexpected error"


def _who() -> dict[str, str]:
    """The user, not by the environment, which says what the caller likes; root's also by sudo."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # as in a container
        name = str(uid)
    sudo = os.environ.get("SUDO_USER") if uid == 0 else None
    return {"user": name} | ({"sudo_user": sudo} if sudo else {})

"""How a command ends: its work done, or one line on standard error and an exit code."""

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import click
import structlog
import uvloop

from csms_redis.contract.errors import BadRequest, NotFound, Problem
from csms_redis.fleet import TransferFailed
from csms_redis.redis.embedded import EmbeddedError
from csms_redis.registry.connected import UnusableRedis
from csms_redis.remote.failure import UnusableService
from csms_redis.settings import BadSettings

_T = TypeVar("_T")

FAILED = 1
WRONG_INPUT = 2  # click's own code for a wrong command line
NOT_FOUND = 3
ALREADY_THERE = 4
ROWS_LEFT_OUT = 3  # of an import or an export
_TERMINATED = 128 + signal.SIGTERM  # as a shell shows it


class AlreadyThere(Problem):
    """There is a record with this id already, and it is not to be replaced."""


def run_or_exit(work: Coroutine[Any, Any, _T]) -> _T:
    """Do a command's work and return its result, or end the process with the reason.

    The reason is one line on standard error, so the log is silent meanwhile, but for the audit's
    line. SIGTERM cancels the work as Ctrl-C does.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_until_terminated(work))
    except asyncio.CancelledError:
        sys.exit(_TERMINATED)
    except KeyboardInterrupt:
        click.echo("Aborted!", err=True)
        sys.exit(FAILED)
    except Problem as problem:
        exit_with(problem.error, _exit_code(problem))
    except (BadSettings, EmbeddedError, TransferFailed, UnusableRedis, UnusableService) as error:
        exit_with(str(error))


def exit_with(message: str, code: int = FAILED) -> NoReturn:
    """End the process: one line on standard error, and an exit code."""
    click.echo(f"csms-redis: {message}", err=True)
    sys.exit(code)


def _exit_code(problem: Problem) -> int:
    match problem:
        case BadRequest():
            return WRONG_INPUT
        case NotFound():
            return NOT_FOUND
        case AlreadyThere():
            return ALREADY_THERE
    return FAILED


async def _until_terminated(work: Coroutine[Any, Any, _T]) -> _T:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 a runner runs it
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work

"""From settings to a result or to one line about what is wrong."""

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import structlog
import uvloop

from csms_redis.fleet import FleetError
from csms_redis.redis.embedded import EmbeddedError
from csms_redis.settings import BadSettings, Settings, load

_T = TypeVar("_T")

_TERMINATED = 128 + signal.SIGTERM  # exit code, as shells have it

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The settings file; default: $CSMS_CONFIG, else ./config.toml where there is one.",
)


def read_settings(config: Path | None, flags: dict[str, dict[str, Any]] | None = None) -> Settings:
    """Read the settings; end with one line where they cannot be used."""
    given = {
        section: {key: value for key, value in keys.items() if value is not None}
        for section, keys in (flags or {}).items()
    }
    try:
        return load(config, given)
    except BadSettings as error:
        fail(str(error))


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Do what a command is for; what goes wrong is told by it, not also by a line of the log.

    SIGTERM cancels it, as Ctrl-C does, so that it leaves nothing behind but its line of the audit.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_until_terminated(work))
    except asyncio.CancelledError:
        sys.exit(_TERMINATED)
    except KeyboardInterrupt:
        click.echo("Aborted!", err=True)
        sys.exit(1)


async def _until_terminated(work: Coroutine[Any, Any, _T]) -> _T:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 a runner runs it
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def finish(work: Coroutine[Any, Any, _T]) -> _T:
    """As `run`; end with one line where Redis, the settings or a file do not let it."""
    try:
        return run(work)
    except (BadSettings, EmbeddedError, FleetError) as error:
        fail(str(error))


def read_password() -> bytes:
    """The password on standard input; one newline at its end is not part of it."""
    password = sys.stdin.buffer.read().removesuffix(b"\n").removesuffix(b"\r")
    if not password:
        fail("the password is empty")
    return password


def fail(message: str) -> NoReturn:
    """End with exit code 1."""
    click.echo(f"csms-redis: {message}", err=True)
    sys.exit(1)

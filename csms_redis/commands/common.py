"""From settings to a result or to one line about what is wrong."""

import asyncio
import logging
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
    """Do what a command is for; what goes wrong is told by it, not also by a line of the log."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


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

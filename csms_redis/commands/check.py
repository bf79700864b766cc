"""`csms-redis check`: the report, printed line by line."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator

import click
import structlog

from csms_redis.check import Finding, Level, check
from csms_redis.commands.exits import FAILED
from csms_redis.commands.where import Where, where_options
from csms_redis.contract.errors import Unavailable
from csms_redis.remote.failure import UnusableService
from csms_redis.settings import BadSettings, load


@click.command("check")
@where_options
def check_command(where: Where) -> None:
    """Check the settings and the Redis they name.

    Can Redis be reached, does it let the service do all that the service needs, and could it lose
    writes that were acknowledged? Each finding is one line: ok, warning or error, what the finding
    is about, and what to do. The exit code is 1 if there is an error, else 0. No record is changed;
    each command is tried at keys that no record can have. With --server a service checks its own.
    """
    # A failure is a finding of the report, and not also a line of the log.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    levels = asyncio.run(_print_report(where))
    sys.exit(FAILED if Level.ERROR in levels else 0)


async def _print_report(where: Where) -> set[Level]:
    """Print each finding as soon as it is known; return the levels of all."""
    levels = set()
    try:
        async for finding in _findings(where):
            levels.add(finding.level)
            _print(finding)
    except BadSettings as error:
        levels.add(Level.ERROR)
        _print(Finding(Level.ERROR, "settings", str(error)))
    except (UnusableService, Unavailable) as error:
        levels.add(Level.ERROR)
        _print(Finding(Level.ERROR, "server", str(error)))
    return levels


async def _findings(where: Where) -> AsyncIterator[Finding]:
    """What is found: here, or by the service where that runs."""
    if where.service is None:
        async for finding in check(load(where.config)):
            yield finding
        return
    from csms_redis.remote.registry import open_registry  # noqa: PLC0415 loads aiohttp

    async with open_registry(where.service) as registry:
        async for line in registry.findings():
            yield Finding(Level(line["level"]), line["about"], line["text"])


def _print(finding: Finding) -> None:
    colour = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}[finding.level]
    level = click.style(f"{finding.level:<7}", fg=colour)
    click.echo(f"{level}  {finding.about:<16}  {finding.text}")

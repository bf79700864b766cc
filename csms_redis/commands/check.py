"""`csms-redis check`: the report, printed line by line."""

import asyncio
import logging
import sys
from pathlib import Path

import click
import structlog

from csms_redis.check import Finding, Level, check
from csms_redis.commands.exits import FAILED
from csms_redis.commands.inputs import config_option
from csms_redis.settings import BadSettings, load


@click.command("check")
@config_option
def check_command(config: Path | None) -> None:
    """Check the settings and the Redis they name.

    Can Redis be reached, does it let the service do all that the service needs, and could it lose
    writes that were acknowledged? Each finding is one line: ok, warning or error, what the finding
    is about, and what to do. The exit code is 1 if there is an error, else 0. No record is changed;
    each command is tried at keys that no record can have.
    """
    # A failure is a finding of the report, and not also a line of the log.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    levels = asyncio.run(_print_report(config))
    sys.exit(FAILED if Level.ERROR in levels else 0)


async def _print_report(config: Path | None) -> set[Level]:
    """Print each finding as soon as it is known; return the levels of all."""
    levels = set()
    try:
        async for finding in check(load(config)):
            levels.add(finding.level)
            _print(finding)
    except BadSettings as error:
        levels.add(Level.ERROR)
        _print(Finding(Level.ERROR, "settings", str(error)))
    return levels


def _print(finding: Finding) -> None:
    colour = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}[finding.level]
    level = click.style(f"{finding.level:<7}", fg=colour)
    click.echo(f"{level}  {finding.about:<16}  {finding.text}")

"""`csms-redis check`."""

import asyncio
import logging
import sys
from pathlib import Path

import click
import structlog

from csms_redis.check import Finding, Level, check
from csms_redis.commands.inputs import config_option
from csms_redis.settings import BadSettings, load


@click.command("check")
@config_option
def check_command(config: Path | None) -> None:
    """Check the settings and the Redis they name.

    Can it be reached, does it let the service do all that it does, and could it lose what was
    acknowledged? One line a finding: ok, warning or error, what it is about, and what to do. The
    exit code is 1 after an error, else 0. No record is changed; each command is tried at keys that
    no record can have.
    """
    # What goes wrong is a finding, not also a line of the log.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    worked = asyncio.run(_report(config))
    sys.exit(0 if worked else 1)


async def _report(config: Path | None) -> bool:
    worked = True
    try:
        async for finding in check(load(config)):
            worked &= finding.level is not Level.ERROR
            _print(finding)
    except BadSettings as error:
        _print(Finding(Level.ERROR, "settings", str(error)))
        worked = False
    return worked


def _print(finding: Finding) -> None:
    colour = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}[finding.level]
    level = click.style(f"{finding.level:<7}", fg=colour)
    click.echo(f"{level}  {finding.about:<16}  {finding.text}")

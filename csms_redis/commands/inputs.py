"""What a command is given: the settings, and a password on standard input."""

import sys
from pathlib import Path
from typing import Any

import click

from csms_redis.commands.exits import exit_with
from csms_redis.settings import BadSettings, Settings, load

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The settings file. Default: $CSMS_CONFIG, else ./config.toml if there is one.",
)


def read_settings(config: Path | None, flags: dict[str, dict[str, Any]] | None = None) -> Settings:
    """Read the settings, or end the process with the reason why they cannot be used.

    Args:
        config: the file that `--config` names.
        flags: settings from the command line by section and name; None means: not given.
    """
    given = {
        section: {name: value for name, value in values.items() if value is not None}
        for section, values in (flags or {}).items()
    }
    try:
        return load(config, given)
    except BadSettings as error:
        exit_with(str(error))


def read_password() -> bytes:
    """Read the password from standard input; one line end after it is not part of it."""
    password = sys.stdin.buffer.read().removesuffix(b"\n").removesuffix(b"\r")
    if not password:
        exit_with("the password is empty")
    return password

"""What a command is given: the settings, and a password on standard input."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import click

from csms_redis.commands.exits import exit_with
from csms_redis.contract.doubts import PROFILE_NUMBERS
from csms_redis.contract.passwords import bytes_of_hex
from csms_redis.settings import BadSettings, Settings, load

Command: TypeAlias = Callable[..., None]
"""What click makes a command of; options are put around it."""

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


def read_password(*, in_hex: bool = False) -> bytes:
    """Read the password from standard input; one line end after it is not part of it.

    Args:
        in_hex: what stands there is the password's bytes in hexadecimal.
    """
    return password_of(without_line_end(sys.stdin.buffer.read()), in_hex=in_hex)


def ask_hidden(question: str, instead: str, *, twice: bool = False) -> str:
    """Ask at the terminal for what is not shown while it is typed.

    Args:
        question: without a colon.
        instead: what to do with what is not UTF-8.
        twice: whether it must be typed again.
    """
    try:
        typed: str = click.prompt(question, hide_input=True, confirmation_prompt=twice, err=True)
    except UnicodeDecodeError:  # getpass reads the terminal as UTF-8 only
        click.echo(err=True)  # and has left the question's line open
        exit_with(f"what was typed is not UTF-8; {instead}")
    return typed


def without_line_end(content: bytes) -> bytes:
    """What a password's file has, without the one line end that is not part of it."""
    return content.removesuffix(b"\n").removesuffix(b"\r")


def password_of(given: bytes, *, in_hex: bool) -> bytes:
    """The password that was given, as it is or in hexadecimal."""
    if not given:
        exit_with("the password is empty")
    if not in_hex:
        return given
    try:
        return bytes_of_hex(given.decode("ascii", "replace").strip())
    except ValueError as error:
        exit_with(f"the password {error}")


class _SecurityProfile(click.IntRange):
    """A security profile; who types one that there is not is told how the numbers map."""

    def __init__(self) -> None:
        super().__init__(0, 2)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            profile: int = super().convert(value, param, ctx)
        except click.BadParameter:
            raise click.BadParameter(
                f"{value} is not 0, 1 or 2; {PROFILE_NUMBERS}.", ctx=ctx, param=param
            ) from None
        return profile


SECURITY_PROFILE = _SecurityProfile()
PROFILE_HELP = (
    "OCPP's number minus one: 0 is plain text with a password (OCPP's 1), 1 is TLS with a password "
    "(OCPP's 2), 2 is TLS with a client certificate (OCPP's 3)."
)

hex_option = click.option(
    "--hex",
    "in_hex",
    is_flag=True,
    help="The password is read as the hexadecimal digits of its bytes, as OCPP 1.6's "
    "AuthorizationKey is kept.",
)

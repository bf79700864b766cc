"""Which stations a command is for: named one by one, in a file, or by what they have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TextIO

import click

from csms_redis.commands.inputs import PROFILE_HELP, SECURITY_PROFILE, Command


def filter_options(command: Command) -> Command:
    """Add the options of stations' filters; the command gets them as `filters`, by property."""

    @wraps(command)
    def with_filters(
        *args: Any,
        status: str | None,
        security_profile: int | None,
        prefix: str | None,
        **kwargs: Any,
    ) -> None:
        filters = {
            "registrationStatus": status,
            "securityProfile": security_profile,
            "csIdPrefix": prefix,
        }
        command(*args, filters=filters, **kwargs)

    for option in (
        click.option("--prefix", help="Only stations whose ids begin with this."),
        click.option("--security-profile", type=SECURITY_PROFILE, help=PROFILE_HELP),
        click.option("--status", type=click.Choice(["Accepted", "Pending", "Rejected"])),
    ):
        option(with_filters)
    return with_filters


@dataclass(frozen=True, slots=True)
class Selection:
    """The stations that a command is for.

    Attributes:
        ids: those that are named; None where filters say which.
        filters: what they have in common.
        yes: whether not to ask before many are changed.
        is_one: whether it is a single station that was named as an argument.
    """

    ids: tuple[str, ...] | None
    filters: Mapping[str, Any]
    yes: bool
    is_one: bool


def selection_options(command: Command) -> Command:
    """Add an argument and options that select stations; the command gets them as `selection`."""

    @wraps(command)
    def with_selection(
        *args: Any,
        cs_ids: tuple[str, ...],
        file: TextIO | None,
        filters: Mapping[str, Any],
        yes: bool,
        **kwargs: Any,
    ) -> None:
        filtered = any(value is not None for value in filters.values())
        if bool(cs_ids) + (file is not None) + filtered != 1:
            raise click.UsageError(
                "say which stations: their ids, or --from a file, or one or more of --prefix, "
                "--status and --security-profile"
            )
        ids = cs_ids or (None if file is None else _ids_in(file))
        one = len(cs_ids) == 1
        command(*args, selection=Selection(ids, filters, yes, one), **kwargs)

    decorated: Command = filter_options(with_selection)
    for decorate in (
        click.option(
            "--yes", is_flag=True, help="Do not ask before stations are selected by filter."
        ),
        click.option(
            "--from",
            "file",
            type=click.File("r", encoding="utf-8"),
            help="A file with an id on each line, '-' for standard input.",
        ),
        click.argument("cs_ids", nargs=-1, metavar="[CS_ID]..."),
    ):
        decorate(decorated)
    return decorated


def _ids_in(file: TextIO) -> tuple[str, ...]:
    try:
        lines = [line.removesuffix("\n").removesuffix("\r") for line in file]
    except UnicodeDecodeError:
        raise click.UsageError(f"{file.name}: is not UTF-8 text") from None
    return tuple(dict.fromkeys(line for line in lines if line.strip()))

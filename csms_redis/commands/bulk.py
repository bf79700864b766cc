"""The arguments that `csms-redis import` and `export` share."""

from collections.abc import Callable
from typing import Any

import click

from csms_redis.fleet import KINDS, Format

kind_argument = click.argument("kind", type=click.Choice(list(KINDS)))


class _Formats(click.Choice[Format]):
    """A choice by the formats' values, as csv; click alone offers the names of an enumeration."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        del ctx
        return str(choice)


def format_option(text: str) -> Callable[[Any], Any]:
    """Make the option `--format`, with its help."""
    return click.option("--format", "format_", type=_Formats(list(Format)), help=text)

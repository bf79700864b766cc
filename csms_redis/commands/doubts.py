"""What is doubtful about a record, for the person who gives the command."""

from collections.abc import Iterable

import click

from csms_redis.contract.doubts import Doubt


def warn(doubts: Iterable[Doubt]) -> None:
    """Tell what is doubtful about what was given."""
    for doubt in doubts:
        click.echo(f"warning: {doubt}: {doubt.text}", err=True)

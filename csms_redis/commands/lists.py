"""How the commands print a list of records: as a table, or as JSON Lines."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from csms_redis.commands.exits import run_or_exit
from csms_redis.commands.inputs import Command
from csms_redis.commands.places import Place
from csms_redis.commands.records import RecordKind, all_records
from csms_redis.commands.tables import Table, cell, flat


@dataclass(frozen=True, slots=True)
class Listed:
    """How a list is printed.

    Attributes:
        limit: the most records; None for all.
        sort: the property by which it is sorted; None for the order in which Redis has them.
        reverse: whether the greatest comes first.
        as_json: JSON Lines instead of a table.
    """

    limit: int | None
    sort: str | None
    reverse: bool
    as_json: bool


def list_options(columns: Sequence[str]) -> Callable[[Command], Command]:
    """Make the options that say how a list is printed; the command gets them as `listed`.

    Args:
        columns: by which it may be sorted.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_listed(
            *args: Any,
            limit: int | None,
            sort: str | None,
            reverse: bool,
            as_json: bool,
            **kwargs: Any,
        ) -> None:
            command(*args, listed=Listed(limit, sort, reverse, as_json), **kwargs)

        for option in (
            click.option("--json", "as_json", is_flag=True, help="JSON Lines for scripts."),
            click.option("--reverse", is_flag=True, help="With --sort, the greatest first."),
            click.option(
                "--sort",
                type=click.Choice(columns),
                help="Sort by this property. All records are read first.",
            ),
            click.option(
                "--limit",
                type=click.IntRange(1),
                help="List no more records than this. Default: all.",
            ),
        ):
            option(with_listed)
        return with_listed

    return decorate


def list_records(
    kind: RecordKind, place: Place, filters: Mapping[str, Any], listed: Listed
) -> None:
    """Print the records that filters let through: as a table, or as JSON Lines.

    Args:
        kind: of the records.
        place: where the records are.
        filters: the API's, by name; None means that a filter is not set.
        listed: how they are printed.
    """
    printed = Printed(kind.columns, kind.spared, as_json=listed.as_json)

    async def work() -> None:
        async with kind.opened(place) as records:
            found = all_records(kind, records, filters)
            if listed.sort is not None:
                property_ = listed.sort
                every = [record async for record in found]
                every.sort(key=lambda record: _sort_key(record, property_), reverse=listed.reverse)
                for record in every[: listed.limit]:
                    printed.add(record)
                return
            number = 0
            async for record in found:
                printed.add(record)
                number += 1
                if number == listed.limit:
                    return

    run_or_exit(work())
    printed.end()


class Printed:
    """Prints records, as rows of a table or as JSON Lines."""

    def __init__(self, columns: Sequence[str], spared: Sequence[str], *, as_json: bool) -> None:
        """Print nothing yet.

        Args:
            columns: of the table: names of properties.
            spared: those that a narrow terminal does without, the first one first.
            as_json: JSON Lines instead of a table.
        """
        self._columns = columns
        self._table = None if as_json else Table(columns, spared=spared)

    def add(self, record: bytes) -> None:
        """Print a record, JSON."""
        if self._table is None:
            sys.stdout.buffer.write(record + b"\n")
        else:
            values = flat(record)
            self._table.add([cell(values.get(column)) for column in self._columns])

    def end(self) -> None:
        """Print what is left, and on standard error which columns had no room."""
        if self._table is None:
            sys.stdout.buffer.flush()
            return
        self._table.end()
        if self._table.left_out:
            names = ", ".join(self._table.left_out)
            click.echo(f"left out, for this terminal is narrow: {names}", err=True)


def _sort_key(record: bytes, property_: str) -> tuple[bool, Any]:
    """Texts by their characters, numbers by their size; what is not set comes last."""
    value = flat(record).get(property_)
    return (value is None, "" if value is None else value)

"""Tables of records for people, and texts that are safe to show on a terminal."""

from collections.abc import Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

_NO_FOLDING = 10_000  # characters
_NESTED = "auth"  # a station's properties that the API gives in an object of their own


def new_table(columns: Sequence[str], *, header: bool = True) -> Table:
    """Make an empty table, with or without the line that names the columns."""
    table = Table(box=None, show_header=header, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table, folded to the width of the terminal; into a file or a pipe, not folded."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_NO_FOLDING)
    console.print(table)


def flat(record: bytes) -> dict[str, Any]:
    """Read a record's JSON into properties on one level."""
    properties: dict[str, Any] = {}
    for name, value in orjson.loads(record).items():
        properties |= value if name == _NESTED else {name: value}
    return properties


def cell(value: Any) -> Text:
    """Show a property's value; one that is not set is an empty cell."""
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text("" if value is None else printable(str(value)))


def printable(text: str) -> str:
    """Escape what a terminal would obey instead of show."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )

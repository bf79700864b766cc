"""Tables of records for people, and texts that are safe to show on a terminal."""

import shutil
import sys
from collections.abc import Collection, Sequence
from typing import Any

import click
import orjson
from rich.cells import cell_len

_MEASURED = 1000  # rows that are held back until it is known how wide the columns are
_BETWEEN = "  "
_NESTED = "auth"  # a station's properties that the API gives in an object of their own


class Table:
    """Prints rows under the names of their columns, each on a line of its own.

    A cell is never cut or folded, so that an id or a hash can be copied. The columns are as wide as
    the first thousand rows need; a later cell that is longer moves the rest of its line. A terminal
    that is too narrow for all columns gets fewer columns.
    """

    def __init__(self, columns: Sequence[str], *, spared: Sequence[str] = ()) -> None:
        """Print nothing yet.

        Args:
            columns: their names.
            spared: those that a narrow terminal does without, the first one first.
        """
        self._names = columns
        self._spared = spared
        self._held: list[Sequence[str]] = []
        self._shown: list[tuple[int, int]] = []  # the index and the width of each column
        self.left_out: list[str] = []
        """The columns that the terminal has no room for; known at the end."""

    def add(self, row: Sequence[str]) -> None:
        """Print a row, now or a little later."""
        if self._shown:
            self._print(row)
            return
        self._held.append(row)
        if len(self._held) == _MEASURED:
            self._begin()

    def end(self) -> None:
        """Print what is still held back."""
        if not self._shown:
            self._begin()

    def _begin(self) -> None:
        held = [self._names, *self._held]
        widths = [max(map(cell_len, column)) for column in zip(*held, strict=True)]
        self.left_out = _left_out(dict(zip(self._names, widths, strict=True)), self._spared)
        self._shown = [
            (index, width)
            for index, (name, width) in enumerate(zip(self._names, widths, strict=True))
            if name not in self.left_out
        ]
        click.echo(click.style(self._line(self._names), bold=True))
        for row in self._held:
            self._print(row)
        self._held = []

    def _print(self, row: Sequence[str]) -> None:
        click.echo(self._line(row))

    def _line(self, row: Sequence[str]) -> str:
        cells = [_padded(row[index], width) for index, width in self._shown]
        return _BETWEEN.join(cells).rstrip()


def print_properties(properties: dict[str, Any]) -> None:
    """Print a record, each property on a line of its own, which is never cut or folded."""
    width = max(map(cell_len, properties), default=0)
    for name, value in properties.items():
        click.echo(f"{_padded(name, width)}{_BETWEEN}{cell(value)}".rstrip())


def _left_out(widths: dict[str, int], spared: Collection[str]) -> list[str]:
    """Which columns are left out on this terminal; none where a file or a pipe is written."""
    if not sys.stdout.isatty():
        return []
    room = shutil.get_terminal_size().columns
    left_out: list[str] = []
    for name in spared:
        shown = [width for column, width in widths.items() if column not in left_out]
        if sum(shown) + len(_BETWEEN) * (len(shown) - 1) <= room:
            break
        left_out.append(name)
    return left_out


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def flat(record: bytes) -> dict[str, Any]:
    """Read a record's JSON into properties on one level."""
    properties: dict[str, Any] = {}
    for name, value in orjson.loads(record).items():
        properties |= value if name == _NESTED else {name: value}
    return properties


def cell(value: Any) -> str:
    """Show a property's value; one that is not set is an empty cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else printable(str(value))


def printable(text: str) -> str:
    """Escape what a terminal would obey instead of show."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )

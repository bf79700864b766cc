"""How far it is: a bar on a terminal, a line now and then elsewhere; on standard error."""

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_EVERY = 10.0  # seconds between plain lines


class Meter:
    """Shows what `told` says of the work, with its rate."""

    def __init__(self, doing: str, told: Callable[[], tuple[int, float | None]]) -> None:
        """Show a piece of work.

        Args:
            doing: what it is.
            told: how many records are done, and which part of all, None where that is not known.
        """
        self._doing = doing
        self._told = told
        self._began = self._shown = monotonic()
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[said]}"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(doing, total=None, said="")
        self._console = console

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self) -> None:
        """Something was done."""
        now = monotonic()
        done, part = self._told()
        said = f"{done} records, {done / max(now - self._began, 0.001):.0f}/s"
        if self._bar:
            total = None if part is None else 1.0
            self._bar.update(self._task, total=total, completed=part or 0, said=said)
        elif now - self._shown >= _EVERY:
            self._shown = now
            share = "" if part is None else f", {part:.0%}"
            self._console.print(f"{self._doing}: {said}{share}", highlight=False, soft_wrap=True)

"""How far an import or an export is: a bar on a terminal, a line now and then elsewhere."""

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_EVERY = 10.0  # seconds between plain lines


class Meter:
    """Shows on standard error how many records are done, and how fast.

    It counts nothing itself: it asks `measure` whenever it is told to `show`.
    """

    def __init__(self, doing: str, measure: Callable[[], tuple[int, float | None]]) -> None:
        """Show the progress of one piece of work.

        Args:
            doing: what the work is, as `importing`.
            measure: gives how many records are done, and what share of the work that is, from 0
                to 1; None if the share is not known.
        """
        self._doing = doing
        self._measure = measure
        self._began = self._shown = monotonic()
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(doing, total=None, rate="")
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
        """Show how far the work is now; call it after each record or batch."""
        now = monotonic()
        done, share = self._measure()
        rate = f"{done} records, {done / max(now - self._began, 0.001):.0f}/s"
        if self._bar:
            total = None if share is None else 1.0
            self._bar.update(self._task, total=total, completed=share or 0, rate=rate)
        elif now - self._shown >= _EVERY:
            self._shown = now
            percent = "" if share is None else f", {share:.0%}"
            self._console.print(f"{self._doing}: {rate}{percent}", highlight=False, soft_wrap=True)

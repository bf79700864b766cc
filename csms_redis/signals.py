"""The signals of an operator: end, end quickly, read files again."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_log = structlog.get_logger()


class Signals:
    """Takes the signals and lets the service ask for them; it does not end the process itself.

    SIGTERM and SIGINT: the first asks for an orderly end, the second for a quick one; during the
    start the first ends it. SIGHUP: what can be read anew without a restart is.
    """

    def __init__(self) -> None:
        """Take the signals from now on."""
        self._starting: asyncio.Task[None] | None = None
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.reloads: list[Callable[[], None]] = []
        """Functions that SIGHUP calls; each logs its result."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stop, signum)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _stop(self, signum: signal.Signals) -> None:
        hurry = self.first.is_set()
        _log.info("stopping at once" if hurry else "stopping", signal=signum.name)
        (self.second if hurry else self.first).set()
        if self._starting is not None:
            self._starting.cancel()

    async def unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Do all the work of the service; a signal cancels the work until `started` is called."""
        self._starting = working = asyncio.create_task(work)
        try:
            await working
        except asyncio.CancelledError:
            if not self.first.is_set():
                raise

    def started(self) -> None:
        """Note that the service has started: from now on its work looks at the signals itself."""
        self._starting = None

    @staticmethod
    def ended() -> None:
        """Ignore the operator's signals from now on: the process is about to end by itself.

        The end of the event loop restores the default actions, by which a signal that comes then
        would end the process with another status.
        """
        loop = asyncio.get_running_loop()
        for signum in _SIGNALS:
            loop.remove_signal_handler(signum)
            signal.signal(signum, signal.SIG_IGN)

    def _reload(self) -> None:
        if not self.reloads:
            _log.info("nothing to reload: settings are read at the start", signal="SIGHUP")
        for reload in self.reloads:
            reload()

    @property
    def problem(self) -> str | None:
        """Why the service is not ready, for readiness; None before the first signal."""
        return "is shutting down" if self.first.is_set() else None

    async def delay(self, seconds: float) -> None:
        """Wait some seconds, or until a second signal."""
        await self.unless_hurried(asyncio.sleep(seconds))

    async def unless_hurried(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work; a second signal cancels the work."""
        working = asyncio.create_task(work)
        hurry = asyncio.create_task(self.second.wait())
        await asyncio.wait({working, hurry}, return_when=asyncio.FIRST_COMPLETED)
        for task in (working, hurry):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

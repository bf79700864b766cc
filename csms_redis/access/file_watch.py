"""Reads files again when they change, as secrets and certificates do on Kubernetes."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar

import structlog

from csms_redis import aside, files
from csms_redis.settings import BadSettings

PERIOD: Final = 1.0
"""Seconds from one look to the next."""

PATIENCE: Final = 5.0
"""Seconds that a look may take. After that another look begins, which may take twice as long."""

_MOST_PATIENCE: Final = 3600.0
"""The most seconds that a look may take: a look that hangs keeps a thread, so there must be few."""

_T = TypeVar("_T")
_Digests: TypeAlias = list[bytes | None]
_log = structlog.get_logger()


class FileWatch(Generic[_T]):
    """Watches some files, and puts their contents in use when they have changed.

    Contents that cannot be used are logged, and the last good ones stay in use. Contents are
    compared and not times, because times mislead: a file may be a link into a directory that is
    swapped (as in Kubernetes' volumes), and a time may have too few digits.
    """

    def __init__(
        self,
        about: str,
        watched: Sequence[Path],
        read: Callable[[], _T],
        use: Callable[[_T], None],
    ) -> None:
        """Read for the first time.

        Args:
            about: the setting that names the files, for the log.
            watched: the files that `read` reads.
            read: reads and checks the files; later it runs in another thread.
            use: puts in use what `read` gave; it runs in the event loop.

        Raises:
            BadSettings: the files cannot be used.
        """
        self._about = about
        self._files = watched
        self._read = read
        self._use = use
        self._wanted = asyncio.Event()
        self._logged: str | None = None  # what was logged as wrong since all was well
        self._seen = self._look()  # the digests of what is in use
        use(read())

    def look_now(self) -> None:
        """Look at once, and log the outcome even if nothing has changed."""
        self._wanted.set()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        patience = PATIENCE
        while True:
            await self._until_wanted(PERIOD)
            wanted = self._wanted.is_set()
            self._wanted.clear()
            looking = aside.start(self._changed)
            # who calls look_now may have repaired what this look hangs at
            asked = asyncio.create_task(self._wanted.wait())
            either: set[asyncio.Future[Any]] = {looking, asked}
            try:
                await asyncio.wait(either, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            finally:
                asked.cancel()
                if not looking.done():
                    looking.cancel()
            if looking.cancelled() or not looking.done():
                patience = min(2 * patience, _MOST_PATIENCE)
                problem = f"{self._names} cannot be read: that takes too long"
                self._log_problem(problem, wanted=wanted)
                continue
            patience = PATIENCE
            try:
                self._take(looking.result(), wanted=wanted)
            except BadSettings as error:
                self._log_problem(str(error), wanted=wanted)

    def _take(self, changed: "tuple[_Digests, _T] | None", *, wanted: bool) -> None:
        if changed is None:
            if wanted:
                _log.info("not reloaded: nothing has changed", about=self._about)
        else:
            seen, new = changed
            self._use(new)
            self._seen = seen
            _log.info("reloaded", about=self._about)
        self._logged = None

    def _log_problem(self, reason: str, *, wanted: bool) -> None:
        """Log what is wrong: once, and after each `look_now`."""
        if wanted or reason != self._logged:
            self._logged = reason
            _log.error("not reloaded: the old one stays", about=self._about, reason=reason)

    async def _until_wanted(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()

    def _changed(self) -> "tuple[_Digests, _T] | None":
        """What is in the files now, where that is not in use already.

        Raises:
            BadSettings: it cannot be used.
        """
        # before the reading, so that what changes meanwhile is seen by the next look
        seen = self._look()
        return None if seen == self._seen else (seen, self._read())

    def _look(self) -> _Digests:
        return [_digest(file) for file in self._files]

    @property
    def _names(self) -> str:
        return ", ".join(map(str, self._files))


def _digest(file: Path) -> bytes | None:
    try:
        return sha256(files.read(file)).digest()
    except OSError:
        return None

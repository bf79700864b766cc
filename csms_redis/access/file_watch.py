"""Files that are read again when they change, as secrets and certificates do on Kubernetes."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog

from csms_redis.settings import BadSettings

PERIOD: Final = 1.0
"""Seconds from one look to the next."""

_T = TypeVar("_T")
_log = structlog.get_logger()


class FileWatch(Generic[_T]):
    """Keeps in use what was last read well.

    The contents are compared, not the times: where a file is a link into a directory that is
    swapped, and where its time has too few digits, that is what is certain.
    """

    def __init__(
        self,
        about: str,
        files: Sequence[Path],
        read: Callable[[], _T],
        use: Callable[[_T], None],
    ) -> None:
        """Read for the first time.

        Args:
            about: the setting, for the log.
            files: that `read` reads.
            read: may run in another thread.
            use: is given what was read, in the event loop.

        Raises:
            BadSettings: what is there cannot be used.
        """
        self._about = about
        self._files = files
        self._read = read
        self._use = use
        self._wanted = asyncio.Event()
        self._seen = self._look()
        use(read())

    def look_now(self) -> None:
        """Do not wait for the next look; this one is logged whatever it finds."""
        self._wanted.set()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PERIOD):
                    await self._wanted.wait()
            wanted = self._wanted.is_set()
            self._wanted.clear()
            # before the reading, so that what changes meanwhile is seen by the next look
            seen = await asyncio.to_thread(self._look)
            if seen == self._seen:
                if wanted:
                    _log.info("not reloaded: nothing has changed", about=self._about)
                continue
            self._seen = seen
            try:
                self._use(await asyncio.to_thread(self._read))
            except BadSettings as error:
                _log.error("not reloaded: the old one stays", about=self._about, reason=str(error))
            else:
                _log.info("reloaded", about=self._about)

    def _look(self) -> list[bytes | None]:
        return [_digest(file) for file in self._files]


def _digest(file: Path) -> bytes | None:
    try:
        return sha256(file.read_bytes()).digest()
    except OSError:
        return None

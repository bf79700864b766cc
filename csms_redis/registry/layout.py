"""The version of the layout in which records are stored, kept beside them."""

import asyncio

import structlog
from redis.exceptions import NoPermissionError

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.client import RedisClient

LAYOUT = 1
"""What this program reads and writes; a store without a version has it too."""

_MOST_DIGITS = 9
_log = structlog.get_logger()


class UnknownLayout(Unavailable):
    """Nothing may be read or written: the records have a layout that this program does not know."""


class MayNotRead(Unavailable):
    """Redis' user has no right to read the version."""


class Layout:
    """Admits to the records once it is known that their layout is this program's."""

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Read it through `redis`.

        Args:
            redis: a client of its own, whose writes wait for no replica.
            prefix: of every key.
        """
        self._redis = redis
        self._key = prefix + b"layout"
        self._admitted = False
        self._looking: asyncio.Task[None] | None = None

    async def admit(self) -> None:
        """Return once the records may be used; at the first contact, write what is missing.

        Raises:
            UnknownLayout: they may not.
            Unavailable: nobody knows; to be asked again.
        """
        if self._admitted:
            return
        # all who ask meanwhile wait for one answer, and who gives up takes it from nobody
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(_retrieve)
        await asyncio.shield(self._looking)

    async def stored(self) -> int | None:
        """The version that stands in Redis; None where there is none.

        Raises:
            UnknownLayout: it is not this program's.
            MayNotRead: there is no right to read it.
            Unavailable: there is no answer.
        """
        try:
            value = await self._redis.read(self._key, "GET", self._key)
        except Unavailable as unavailable:
            cause = unavailable.__cause__
            if isinstance(cause, NoPermissionError):
                raise MayNotRead(str(unavailable)) from cause
            if str(cause).startswith("WRONGTYPE"):
                raise self._foreign() from cause
            raise
        if value is None:
            return None
        if not value.isdigit() or len(value) > _MOST_DIGITS:
            raise self._foreign()
        version = int(value)
        if version != LAYOUT:
            raise UnknownLayout(
                f"The records in Redis have storage layout {version} ({self._name}), and this "
                f"version of csms-redis knows {LAYOUT}: run the one that wrote them."
            )
        return version

    async def _look(self) -> None:
        try:
            if await self.stored() is None:
                await self._write()
        except MayNotRead:
            _log.warning("the storage layout is not known", key=self._key.decode(), reason="NOPERM")
        self._admitted = True

    async def _write(self) -> None:
        """Say what the records are from now on; where that fails the next start tries again."""
        try:
            await self._redis.write(self._key, "SET", self._key, LAYOUT, "NX")
        except Unavailable:
            _log.warning("the storage layout was not written", key=self._key.decode())
        else:
            # another may have been first
            await self.stored()

    @property
    def _name(self) -> str:
        return f"key {self._key.decode()}"

    def _foreign(self) -> UnknownLayout:
        return UnknownLayout(
            f"In Redis, {self._name} is not the version of a storage layout that csms-redis wrote: "
            "is it another program's? Set redis.key_prefix."
        )


def _retrieve(looked: asyncio.Task[None]) -> None:
    """Leave no exception that only a cancelled caller would have seen."""
    if not looked.cancelled():
        looked.exception()

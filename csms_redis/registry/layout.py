"""The version of the layout in which records are stored, kept beside them."""

import asyncio

import structlog
from redis.exceptions import NoPermissionError

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient

LAYOUT = 1
"""What this program reads and writes; a store without a version has it too."""

LAYOUT_KEY = b"layout"
"""Where the version is, behind the prefix of every key."""

_MOST_DIGITS = 9
_log = structlog.get_logger()


class UnknownLayout(Unavailable):
    """Nothing may be read or written: the records have a layout that this program does not know."""


class MayNotRead(Unavailable):
    """Redis' user has no right to read the version."""


class Layout:
    """Admits to the records unless their layout is known to be another's.

    In a cluster one master has the version for all. While it cannot be read that master is not
    used, and the others are: no part that is away may take the rest with it. Once it was read and
    is not this program's, nobody is admitted until it was read again and is.
    """

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Read it through `redis`.

        Args:
            redis: a client of its own, whose writes wait for no replica.
            prefix: of every key.
        """
        self._redis = redis
        self.key = prefix + LAYOUT_KEY
        self._known = False  # whether it is this program's, and nothing may have changed since
        self._others_may = False  # whether masters that do not have it are used meanwhile
        self._refused: str | None = None  # what is wrong with the one that was read last
        self._value: bytes | None = None  # as it was read last
        self._doubts = 0
        self._warned: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    async def admit(self, master: Address | None = None) -> None:
        """Return once the records may be used; at the first contact, write what is missing.

        Args:
            master: whose they are; None for all.

        Raises:
            UnknownLayout: they may not.
            Unavailable: nobody knows; to be asked again.
        """
        while not self._known:
            looking = self._look_soon()
            owner = self._redis.owner(self.key)
            elsewhere = master is not None and master != owner
            if elsewhere and self._others_may:
                return
            try:
                await asyncio.shield(looking)
            except UnknownLayout:
                raise
            except Unavailable:
                if self._refused is not None:
                    raise UnknownLayout(self._refused) from None
                if not elsewhere:
                    raise

    def is_at(self, master: Address) -> bool:
        """Whether a master has it, as far as is known."""
        return self._redis.owner(self.key) == master

    def found(self, value: bytes | None) -> None:
        """It was read in passing: if it is not what it was, it is read again.

        Not every change is told of: `SWAPDB` puts another data set under a connection.
        """
        if self._known and value != self._value:
            self.changed()

    def changed(self) -> None:
        """It was written: until it was read again nothing is sent to any master."""
        self._doubt()
        self._others_may = False

    def unwatched(self, master: Address) -> None:
        """Whoever changed what `master` has may not have been heard: it is read again."""
        if self.is_at(master):
            self._doubt()

    def _doubt(self) -> None:
        self._doubts += 1
        self._known = False

    def _look_soon(self) -> asyncio.Task[None]:
        # all who ask meanwhile wait for one answer, and who gives up takes it from nobody
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(_retrieve)
        return self._looking

    async def stored(self) -> int | None:
        """The version that stands in Redis; None where there is none.

        Raises:
            UnknownLayout: it is not this program's.
            MayNotRead: there is no right to read it.
            Unavailable: there is no answer.
        """
        try:
            value = await self._redis.read(self.key, "GET", self.key)
        except Unavailable as unavailable:
            cause = unavailable.__cause__
            if isinstance(cause, NoPermissionError):
                raise MayNotRead(str(unavailable)) from cause
            if str(cause).startswith("WRONGTYPE"):
                raise self._foreign() from cause
            raise
        self._value = value
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
        doubts = self._doubts
        try:
            if await self.stored() is None:
                await self._write()
        except UnknownLayout as unknown:
            self._refused = unknown.error
            self._others_may = False
            raise
        except MayNotRead:
            self._warn("the storage layout is not known", reason="NOPERM")
        except Unavailable:
            self._others_may = self._refused is None
            raise
        self._refused = None
        if doubts == self._doubts:
            self._known = self._others_may = True

    async def _write(self) -> None:
        """Say what the records are from now on; where that fails the next start tries again."""
        try:
            await self._redis.write(self.key, "SET", self.key, LAYOUT, "NX")
        except Unavailable:
            self._warn("the storage layout was not written")
        else:
            # another may have been first
            await self.stored()

    def _warn(self, event: str, **more: str) -> None:
        """Say something once, however often it is looked at."""
        if event not in self._warned:
            self._warned.add(event)
            _log.warning(event, key=self.key.decode(), **more)

    @property
    def _name(self) -> str:
        return f"key {self.key.decode()}"

    def _foreign(self) -> UnknownLayout:
        return UnknownLayout(
            f"In Redis, {self._name} is not the version of a storage layout that csms-redis wrote: "
            "is it another program's? Set redis.key_prefix."
        )


def _retrieve(looked: asyncio.Task[None]) -> None:
    """Leave no exception that only a cancelled caller would have seen."""
    if not looked.cancelled():
        looked.exception()

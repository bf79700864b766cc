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
"""The key of the version, behind the prefix that every key has."""

_MOST_DIGITS = 9
_log = structlog.get_logger()


class UnknownLayout(Unavailable):
    """Nothing may be read or written: the records have a layout that this program does not know."""


class MayNotRead(Unavailable):
    """Redis' user has no right to read the version."""


class Layout:
    """Admits to the records, unless their layout is one that this program does not know.

    In a cluster one master has the version for all masters. While the version cannot be read, that
    master is not used and the other masters are: a part that is away must not take the rest with
    it. Once another version was read, no record may be used until this program's version is read.
    """

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Read the version through `redis`; nothing is sent yet.

        Args:
            redis: a client of its own, whose writes wait for no replica.
            prefix: what every key begins with.
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
            master: the master whose records are to be used; None for all masters.

        Raises:
            UnknownLayout: the records must not be used.
            Unavailable: the version cannot be read now; ask again later.
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
        """Whether a master has the version, as far as is known."""
        return self._redis.owner(self.key) == master

    def found(self, value: bytes | None) -> None:
        """Take the version that a probe has read: if it is another value, it is read again.

        Not every change is told of: `SWAPDB` puts another data set under a connection.
        """
        if self._known and value != self._value:
            self.changed()

    def changed(self) -> None:
        """Note that the key was written: no master is used until the version was read again."""
        self._doubt()
        self._others_may = False

    def unwatched(self, master: Address) -> None:
        """Note that a change at `master` may have gone unseen: the version is read again."""
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
        """The version that is stored in Redis; None where none is stored.

        Raises:
            UnknownLayout: the version is not this program's.
            MayNotRead: Redis' user has no right to read the version.
            Unavailable: Redis does not answer.
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
        """Store this program's version; where that fails, the next start tries again."""
        try:
            await self._redis.write(self.key, "SET", self.key, LAYOUT, "NX")
        except Unavailable:
            self._warn("the storage layout was not written")
        else:
            # another may have been first
            await self.stored()

    def _warn(self, event: str, **more: str) -> None:
        """Log a warning once, however often its reason is seen."""
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
    """Take the exception, which nobody else takes if every caller was cancelled."""
    if not looked.cancelled():
        looked.exception()

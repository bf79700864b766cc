"""The identity of the data set, kept beside its records: which set of records this is.

By the identity a reader sees that another data set has taken the place of the one that it read
before: no server tells of that (`SWAPDB`). Each process that starts and may write puts a mark of
its own before the other marks, so that an older copy differs from the data set that was copied. An
import, and with it a restore, does the same.

A mark is random and ends with the number of the database in which it was made: `f3…9c@0`. The last
few are kept, the newest first, so that who knows an earlier one sees that the data set is the same
(`csms_redis.lookup.reading.data_set_watch`).
"""

import asyncio
from secrets import token_hex
from time import monotonic

import structlog
from redis.exceptions import NoPermissionError

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient

IDENTITY_KEY = b"dataset"
"""The key of the identity, behind the prefix that every key has."""

MARKS = 32
"""How many marks are kept: so many processes may start between two probes of a reader."""

_FIRST_PAUSE = 1  # seconds, doubled after each write that failed
_LONGEST_PAUSE = 64

# A value that is not made of marks is another program's, and stays.
_RENEW = """
local kept = redis.call('GET', KEYS[1]) or ''
if kept ~= '' and not string.find(kept, '^%x+@%d+') then
  return 0
end
local marks = {ARGV[1]}
for mark in string.gmatch(kept, '%S+') do
  if #marks < tonumber(ARGV[2]) then
    marks[#marks + 1] = mark
  end
end
redis.call('SET', KEYS[1], table.concat(marks, ' '))
return 1
"""
_log = structlog.get_logger()


class DataSet:
    """Writes the identity. Where it cannot be written, the log says so once; nothing else stops.

    A missing one is written as soon as that is possible, unless the user lacks the right to.
    """

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Write the identity through `redis`; nothing is sent yet.

        Args:
            redis: a client of its own, whose writes wait for no replica.
            prefix: what every key begins with.
        """
        self._redis = redis
        self.key = prefix + IDENTITY_KEY
        self.mark: bytes | None = None
        """The mark that this process wrote last; nobody knows whether Redis took it."""
        self._renewed = False
        self._said = False
        self._forbidden = False  # whether the user of the present connection lacks the right
        self._pause = _FIRST_PAUSE
        self._next_try = 0.0  # monotonic seconds
        self._writing: asyncio.Task[None] | None = None

    def is_at(self, master: Address) -> bool:
        """Whether a master has the identity, as far as is known; a cluster has it at one master."""
        return self._redis.owner(self.key) == master

    def reached(self) -> None:
        """Note that the identity's master is reached anew: renew the identity, the first time."""
        self._forbidden = False
        if not self._renewed:
            self._begin()

    def missing(self) -> None:
        """Note that the identity is missing: write one, unless another process is faster."""
        if not self._forbidden and monotonic() >= self._next_try:
            self._begin()

    def _begin(self) -> None:
        # beside the reads, which are not to wait for a Redis that takes no writes
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        if self._renewed:
            await self._put_missing()
        else:
            self._renewed = await self.renew()

    async def _put_missing(self) -> None:
        try:
            put = await self._redis.write(self.key, "SET", self.key, self._new_mark(), "NX")
        except Unavailable as unavailable:
            self._failed(unavailable)
            return
        self._pause = _FIRST_PAUSE
        if put:
            _log.warning(
                "the data set's identity was missing",
                key=self.key.decode(),
                reason="Redis has started without its data, or has another data set",
            )

    async def renew(self) -> bool:
        """Put a new mark before the others; whether Redis took it."""
        try:
            renewed = await self._redis.write(
                self.key, "EVAL", _RENEW, 1, self.key, self._new_mark(), MARKS
            )
        except Unavailable as unavailable:
            self._failed(unavailable)
            return False
        self._pause = _FIRST_PAUSE
        if not renewed:
            self.unusable("the key is another program's: set redis.key_prefix")
        return True

    def _failed(self, unavailable: Unavailable) -> None:
        self._forbidden = isinstance(unavailable.__cause__, NoPermissionError)
        self._next_try = monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self.unusable("it cannot be written")

    def _new_mark(self) -> bytes:
        owner = self._redis.owner(self.key)
        self.mark = f"{token_hex(8)}@{owner.db if owner else 0}".encode()
        return self.mark

    def unusable(self, reason: str) -> None:
        """Log once why another data set in this one's place may go unseen."""
        if not self._said:
            self._said = True
            _log.warning(
                "the data set's identity is not kept", key=self.key.decode(), reason=reason
            )

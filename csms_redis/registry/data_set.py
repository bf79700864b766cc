"""The identity of the data set, kept beside its records: which set of records this is.

It is there so that one who reads can tell when another data set has taken the place of the one it
read before, for no server tells of that (`SWAPDB`). So that an older copy differs from what it was
copied of, each process that starts and may write it puts a mark of its own before the others; an
import, and with it a restore, does so as well.

A mark is random and ends with the number of the database in which it was made: `f3…9c@0`. The last
few are kept, the newest first, so that who knows an earlier one sees that the data set is the same
(`csms_redis.lookup.reading.data_set_watch`).
"""

import asyncio
from secrets import token_hex

import structlog

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient

IDENTITY_KEY = b"dataset"
"""The key of the identity, behind the prefix that every key has."""

MARKS = 32
"""How many are kept: as many processes may start between two probes of one that reads."""

# What is there and is no mark is another program's, and stays.
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
    """Writes the identity; that it cannot is said once and hinders nothing."""

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Write it through `redis`.

        Args:
            redis: a client of its own, whose writes wait for no replica.
            prefix: of every key.
        """
        self._redis = redis
        self.key = prefix + IDENTITY_KEY
        self.mark: bytes | None = None
        """The one that was put there last by this process, perhaps in vain."""
        self._renewed = False
        self._said = False
        self._writing: asyncio.Task[None] | None = None

    def is_at(self, master: Address) -> bool:
        """Whether a master has it, as far as is known; in a cluster one has it for all."""
        return self._redis.owner(self.key) == master

    def reached(self) -> None:
        """Note that the identity's master can be used: renew the identity, the first time."""
        if not self._renewed:
            self._begin(missing=False)

    def missing(self) -> None:
        """It was looked for and is not there: write one, if nobody else is faster."""
        self._begin(missing=True)

    def _begin(self, *, missing: bool) -> None:
        # beside the reads, which are not to wait for a Redis that takes no writes
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(missing=missing))

    async def _write(self, *, missing: bool) -> None:
        if missing and self._renewed:
            try:
                await self._redis.write(self.key, "SET", self.key, self._new_mark(), "NX")
            except Unavailable:
                self.unusable("it cannot be written")
        else:
            self._renewed = await self.renew()

    async def renew(self) -> bool:
        """Put a new mark before the others; whether Redis let it."""
        try:
            renewed = await self._redis.write(
                self.key, "EVAL", _RENEW, 1, self.key, self._new_mark(), MARKS
            )
        except Unavailable:
            self.unusable("it cannot be written")
            return False
        if not renewed:
            self.unusable("the key is another program's: set redis.key_prefix")
        return True

    def _new_mark(self) -> bytes:
        owner = self._redis.owner(self.key)
        self.mark = f"{token_hex(8)}@{owner.db if owner else 0}".encode()
        return self.mark

    def unusable(self, reason: str) -> None:
        """Say once why it may go unseen that another data set has taken this one's place."""
        if not self._said:
            self._said = True
            _log.warning(
                "the data set's identity is not kept", key=self.key.decode(), reason=reason
            )

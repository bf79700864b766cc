"""Whether a connection still reads the data set that it read before.

`SWAPDB` puts another data set under a connection, and no server of this family tells tracking
clients of it: what they keep would be answered for ever. So each probe reads the identity
(`csms_redis.registry.data_set`), and what was kept goes when it is another's. It is the same while
its newest mark is. A process that starts puts a new mark before the others; that must not empty the
cache of every other process, so it still is the same when all of this holds:

- The mark that was the newest is still there; where there was none, the one that this process has
  put there since.
- Those before it were made in the database that this connection reads. A copy in another database
  has the marks of what it was copied of, and those that were put before them there.
- An invalidation of the key has come since the last probe's answer, so that a command has changed
  it. Without this, two data sets that are swapped there and back would be taken for one.

Invalidations follow the replies of their own turn of Redis' loop. So where a new mark comes before
its invalidation, the identity is asked for once more: that reply comes after it.

What is missing after it was there is another data set's; what may not be read is not missing. Not
seen is a data set that is swapped away and back between two probes, nor a copy that is as old as
the newest mark, or younger, and was changed since.
"""

from typing import Any

from csms_redis.lookup.reading.read_connection import ReadConnection, ReadError, encode

_FOREIGN = b"?"  # stands for the newest mark where the key is of another type


class DataSetWatch:
    """Compares the identity in each probe of one connection with that of the probe before."""

    def __init__(self, key: bytes, db: int) -> None:
        """Know nothing yet.

        Args:
            key: of the identity.
            db: the number of the database that the connection reads.
        """
        self.problem: str | None = None
        """The code of the error for which it could not be read last, such as `NOPERM`."""
        self._key = key
        self._made_here = b"@%d" % db
        self._read = False  # whether it was ever
        self._newest: bytes | None = None  # mark at the last probe; None where there was none
        self._changes = 0  # invalidations of the key
        self._changes_then = 0  # those before the last probe's reply
        self._reply: tuple[Any, int] | None = None  # and those before it

    def ask(self, connection: ReadConnection) -> None:
        """Ask for the identity; the reply is judged by `is_another`."""
        connection.send(encode("GET", self._key), self)

    def replied(self, reply: Any) -> None:
        """Take the reply, in the order in which invalidations come."""
        self._reply = reply, self._changes

    def invalidated(self, keys: list[bytes] | None) -> None:
        """Take an invalidation."""
        if keys is not None and self._key in keys:
            self._changes += 1

    @property
    def is_missing(self) -> bool:
        """Whether there was none at the last probe."""
        return self._read and self._newest is None

    async def is_another(self, connection: ReadConnection, own: bytes | None) -> bool:
        """Whether the last reply is of another data set than the replies before.

        Args:
            connection: which gave the reply.
            own: the mark that this process has put there last, if any.
        """
        marks, changes = self._take()
        if marks is None:
            return False
        if self._read and self._is_renewed(marks, own) and changes == self._changes_then:
            try:
                self._reply = await connection.call("GET", self._key), self._changes
            except ReadError as error:
                self._reply = error, self._changes
            marks, changes = self._take()
            if marks is None:
                return False
        newest = marks[0] if marks else None
        told = changes != self._changes_then
        same = newest == self._newest or (told and self._is_renewed(marks, own))
        another = self._read and not same
        self._read = True
        self._newest = newest
        self._changes_then = changes
        return another

    def _take(self) -> tuple[list[bytes] | None, int]:
        """The marks of the last reply, None where it could not be read; and the changes before."""
        said, self._reply = self._reply, None
        reply, changes = (None, 0) if said is None else said
        self.problem = None
        if said is None:
            return None, changes
        if reply is None:
            return [], changes
        if isinstance(reply, bytes):
            return reply.split() or [_FOREIGN], changes
        if isinstance(reply, ReadError) and reply.code == "WRONGTYPE":
            return [_FOREIGN], changes
        self.problem = reply.code if isinstance(reply, ReadError) else "no text"
        return None, changes

    def _is_renewed(self, marks: list[bytes], own: bytes | None) -> bool:
        """Whether there are others before the mark that was the newest, all made in this database.

        Where there was none, those that stand before `own` and itself are such.
        """
        if self._newest in marks:
            newer = marks[: marks.index(self._newest)]
        elif self._newest is None and own in marks:
            newer = marks[: marks.index(own) + 1]
        else:
            return False
        return bool(newer) and all(mark.endswith(self._made_here) for mark in newer)

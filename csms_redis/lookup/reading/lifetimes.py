"""Which answers end by themselves: records, or fields, to which someone gave a time to live.

Redis tells of an end only when its background cycle meets the key, which may be minutes late where
many keys have one. So the time left is read together with such a record, and the answer is dropped
at its end. Where nothing has a time to live this asks for one `INFO keyspace` a second.
"""

import re
from collections.abc import Iterable
from math import inf
from time import monotonic
from typing import Any

from csms_redis.lookup.reading.read_connection import (
    ConnectionBroken,
    ReadConnection,
    ReadError,
    encode,
)
from csms_redis.redis.keyspace import HASHES, volatile

UNTOLD = 1.0
"""Seconds for which an answer is kept whose time left Redis does not tell (no right to `PTTL`)."""

_INFO_KEYSPACE = encode("INFO", "keyspace")

_PTTL = b"*2\r\n$4\r\nPTTL\r\n$%d\r\n%b\r\n"
_HPTTL = b"*%d\r\n$5\r\nHPTTL\r\n$%d\r\n%b\r\n$6\r\nFIELDS\r\n"
_ELSEWHERE = frozenset(["ASK", "MOVED", "TRYAGAIN"])  # then the record is not read either
_MOST_CHANGED = 10_000
_NO_HPTTL = re.compile("unknown command.{0,3}HPTTL", re.IGNORECASE)


class Lifetimes:
    """Says which records may have a time to live, as seen through one connection.

    It waits for the replies of `INFO keyspace`. One that says that there is none holds for every
    record that has not changed since: to set a time to live is a change, and pushes an
    invalidation (EXPIRE, HPEXPIRE, RESTORE and the others, on Redis 6.2 to 8.2 and Valkey 9.1).
    Replies and pushes come in Redis' order, so nothing falls between them.
    """

    __slots__ = (
        "_asks_fields",
        "_db",
        "_fields_end",
        "changed_keys",
        "fields_volatile",
        "problem",
        "told",
        "unseen_changes",
        "volatile",
    )

    def __init__(self, db: int) -> None:
        """Begin with nothing known: any record may have a time to live.

        Args:
            db: the number of the database that is read.
        """
        self.volatile = True  # whether anything may have a time to live
        self.fields_volatile = True  # whether any field may
        self.problem: str | None = None  # what Redis does not tell, for the operator
        self.told = True  # whether Redis has told of each record that was asked for
        self._db = db
        self._fields_end = True  # whether some field is known to have one
        self._asks_fields = True
        self.unseen_changes = 0  # how often anything may have changed without a push
        self.changed_keys: set[bytes] = set()  # keys, since the reply that said there was none

    def ask(self, connection: ReadConnection) -> None:
        """Ask for `INFO keyspace`."""
        connection.send(_INFO_KEYSPACE, _InfoReply(self))

    def replied(self, reply: Any) -> None:
        """Take the reply of `INFO keyspace`."""
        self.changed_keys.clear()
        try:
            counts = volatile(self._numbers(reply.decode()))
        except (AttributeError, TypeError, ValueError):
            self.volatile = self.fields_volatile = self._fields_end = True
            if isinstance(reply, ReadError) and not isinstance(reply, ConnectionBroken):
                self.problem = f"it refuses INFO ({reply.code})"
        else:
            self.volatile = bool(counts)
            self.fields_volatile = self._fields_end = not counts.keys().isdisjoint(HASHES)

    def _numbers(self, keyspace: str) -> str:
        names = (line.partition(":") for line in keyspace.splitlines())
        return next((numbers for name, _, numbers in names if name == f"db{self._db}"), "")

    def changed(self, keys: Iterable[bytes] | None) -> bool:
        """Take note that these keys changed; None when any may have, or others came.

        Slots bring their keys along without a push where Valkey 9 migrates them as a whole, and
        who tells of the slots is not who tells of times to live: so a reply that is on its way
        then counts no more.

        Returns:
            Whether it is worth while to ask for `INFO keyspace` soon.
        """
        known = not (self.volatile and self.fields_volatile)
        if keys is None:
            self.unseen_changes += 1
            self.volatile = self.fields_volatile = True
            return known
        if not known:
            return False
        first = not self.changed_keys
        self.changed_keys.update(keys)
        if len(self.changed_keys) > _MOST_CHANGED:
            self.volatile = self.fields_volatile = True
        return first

    def must_ask(self, key: bytes) -> bool:
        """Whether the time left must be read together with a record."""
        return self.volatile or key in self.changed_keys

    def questions(self, key: bytes, fields: tuple[bytes, ...]) -> list[bytes]:
        """The commands that ask for the time left of a hash, and of fields that may have one."""
        commands = [_PTTL % (len(key), key)]
        if self._asks_fields and (self.fields_volatile or key in self.changed_keys):
            words = [
                b"$%d\r\n%b\r\n" % (len(word), word) for word in (b"%d" % len(fields), *fields)
            ]
            head = _HPTTL % (len(fields) + 4, len(key), key)
            commands.append(head + b"".join(words))
        return commands

    def end(self, reply: Any) -> float:
        """When a record ends, by a reply to one of the questions (monotonic seconds).

        Args:
            reply: milliseconds, or a list of them; negative where there is no end.
        """
        if isinstance(reply, ConnectionBroken):
            return inf  # nor is there a record then
        if isinstance(reply, ReadError):
            if _NO_HPTTL.search(str(reply)) and not self._fields_end:
                self._asks_fields = False
                return inf
            if reply.code not in _ELSEWHERE:
                self.problem = f"it refuses PTTL or HPTTL ({reply.code})"
                self.told = False
            return monotonic() + UNTOLD
        left = min((each for each in _listed(reply) if each >= 0), default=inf)
        return monotonic() + left / 1000


class _InfoReply:
    """Takes a reply of `INFO keyspace`, unless anything may have changed since it was asked for."""

    __slots__ = ("_lifetimes", "_unseen_changes")

    def __init__(self, lifetimes: Lifetimes) -> None:
        self._lifetimes = lifetimes
        self._unseen_changes = lifetimes.unseen_changes

    def replied(self, reply: Any) -> None:
        if self._lifetimes.unseen_changes == self._unseen_changes:
            self._lifetimes.replied(reply)


def _listed(reply: Any) -> list[int]:
    """The numbers of a reply; one that ends now where it makes no sense."""
    numbers = reply if type(reply) is list else [reply]
    return numbers if all(type(number) is int for number in numbers) else [0]

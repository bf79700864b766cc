"""Whether all records of one kind at one master are known, so that every other id is a 404."""

from collections.abc import Container
from typing import Final

MOST_OPEN: Final = 10_000
"""Ids of one kind at one master that may be open; one more, and the kind is not whole."""

NOT_READ: Final = "not read yet"
BEING_READ: Final = "being read"
EVICTED: Final = "the near cache dropped some to make room"
MOVING: Final = "slots of their master are being moved"
MAY_HAVE_CHANGED: Final = "all may have changed"


class Whole:
    """Keeps track of whether all records of one kind at one master are known.

    | state | an id that is not held | begins with |
    |---|---|---|
    | not whole | asks Redis | the connection, `end`, `leave_off` |
    | being read | asks Redis; what changes is *open* | `begin` |
    | whole | has no record, unless it is *open*: then it asks Redis | `complete` |

    An id is open if it is not known whether it has a record: Redis, or a write of this process,
    told that the record changed, and it was not read since; or it could not be read or held. Only
    while all records are known, or being read, open ids are noted.

    It holds no record: the near cache does, and who drops a record from there says so here.
    """

    __slots__ = (
        "_held",
        "complete_once",
        "doubt",
        "is_whole",
        "open",
        "problem",
        "reading",
        "records",
        "serial",
    )

    def __init__(self, held: Container[bytes]) -> None:
        """Begin as not whole.

        Args:
            held: the targets of the records that are held, and are fresh.
        """
        self._held = held
        self.open: dict[bytes, None] = {}
        """The open ids, by their targets."""
        self.is_whole = False
        self.reading = False
        """Whether all records are being read."""
        self.serial = 0
        """Grows with each begin and end. Who sees it grown does not know what was open before."""
        self.records = 0
        """How many records are held of those that the present or the last scan has named."""
        self.complete_once = False
        """Whether a scan has ever ended, or was found to be impossible."""
        self.doubt: str | None = None
        """Why the scan under way goes on, but will not make the kind whole; None if it may."""
        self.problem: str | None = NOT_READ
        """Why the kind is not whole, for the operator; None while it is whole."""

    def lacks(self, target: bytes) -> bool:
        """Whether it is known that a lookup of this target must be answered 404."""
        return self.is_whole and target not in self.open and target not in self._held

    def begin(self) -> None:
        """Begin to read all records; from here on, what changes is open."""
        self.serial += 1
        self.open.clear()
        self.is_whole = False
        self.reading = True
        self.records = 0
        self.doubt = None
        self.problem = BEING_READ

    def changed(self, target: bytes) -> bool:
        """Take note that a record changed, or is held no more, or could not be read.

        Returns:
            Whether it is to be read again.
        """
        if not (self.is_whole or self.reading):
            return False
        self.open[target] = None
        if len(self.open) > MOST_OPEN:
            self.end(f"more than {MOST_OPEN} records changed and were not read again")
            return False
        return True

    def closed(self, target: bytes) -> None:
        """Take note that a record was read, and is held or known not to be there."""
        self.open.pop(target, None)

    def complete(self) -> None:
        """Take note that all records were read, and nothing has ended that: it is whole now."""
        self.reading = False
        self.is_whole = True
        self.complete_once = True
        self.problem = None

    def end(self, problem: str) -> None:
        """Take note that the kind is not whole, until all records are read anew.

        Args:
            problem: why, for the operator.
        """
        self.serial += 1
        self.open.clear()
        self.is_whole = self.reading = False
        self.problem = problem

    def doubted(self, problem: str) -> None:
        """Take note that the kind is not whole; a scan under way goes on, but does not make it so.

        Args:
            problem: why, for the operator.
        """
        if self.reading:
            self.doubt = problem
        elif self.is_whole:
            self.end(problem)

    def leave_off(self, problem: str) -> None:
        """Take note that the kind cannot be made whole for now.

        Args:
            problem: why, for the operator.
        """
        self.end(problem)
        self.complete_once = True

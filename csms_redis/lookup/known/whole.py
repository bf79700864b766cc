"""Whether all records of one kind at one master are known, so that an id that is not is a 404."""

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
    """What is known of all records of one kind at one master, beside those that are held.

    | state | an id that is not held | begins with |
    |---|---|---|
    | not whole | asks Redis | the connection, `end`, `leave_off` |
    | being read | asks Redis; what changes is *open* | `begin` |
    | whole | has no record, unless it is *open*: then it asks Redis | `complete` |

    Open is an id of which it is not known whether it has a record: Redis, or an own write, told
    that it changed, and it was not read since; or it could not be read, or its record not held.
    What is not whole has no open ids, for all ids are.

    It holds no record: the near cache does, and whoever drops one from there tells it.
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
        """Know nothing yet.

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
        """Another number with each begin and each end: what was open before is not known."""
        self.records = 0
        """How many of those that the scan under way, or the last one, named are held."""
        self.complete_once = False
        """Whether a scan has come to its end, or none is possible."""
        self.doubt: str | None = None
        """Why the scan under way will not make it whole, though it is worth while."""
        self.problem: str | None = NOT_READ
        """Why it is not whole, for the operator; None while it is."""

    def lacks(self, target: bytes) -> bool:
        """Whether it is known that there is no such record, or none to be shown."""
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
        """All records were read, and nothing put an end to that meanwhile: it is whole."""
        self.reading = False
        self.is_whole = True
        self.complete_once = True
        self.problem = None

    def end(self, problem: str) -> None:
        """It is not whole, until all records are read anew.

        Args:
            problem: why, for the operator.
        """
        self.serial += 1
        self.open.clear()
        self.is_whole = self.reading = False
        self.problem = problem

    def doubted(self, problem: str) -> None:
        """It is not whole, nor will the scan under way make it so; but that goes on.

        Args:
            problem: why, for the operator.
        """
        if self.reading:
            self.doubt = problem
        elif self.is_whole:
            self.end(problem)

    def leave_off(self, problem: str) -> None:
        """Give up for now to make it whole.

        Args:
            problem: why, for the operator.
        """
        self.end(problem)
        self.complete_once = True

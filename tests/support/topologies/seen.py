"""What a workload saw: each write, each lookup, and what was there in the end."""

from enum import Enum
from typing import NamedTuple, TypeAlias

Version: TypeAlias = int | None
"""Which write's record it is; None: there is no record, or none to be shown."""
FAULT, MASTER, OVER = "fault", "master", "over"
"""Moments: the fault begins; the topology has a master again; nothing is to be excused any more."""


class Outcome(Enum):
    """What a writer knows of its write."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"  # it was not carried out
    UNKNOWN = "unknown"


class Group(Enum):
    """Why a path is looked up."""

    CACHED = "cached"  # looked up before the fault, not written since
    OTHER = "other"  # never looked up before
    WRITTEN = "written"  # of a record that is being written


class State(NamedTuple):
    """What a key holds; a station that is blocked is not shown."""

    version: Version
    blocked: bool = False

    @property
    def shown(self) -> Version:
        """What a lookup gives."""
        return None if self.blocked else self.version


ABSENT = State(None)


class Write(NamedTuple):
    """A write; `version` is what the key holds after it, of which a block stays.

    One that blocks or allows (`blocks`) leaves the version as it is. A deletion, a block or a
    permission that finds no record is acknowledged and `missing`.
    """

    path: str
    version: Version
    start: float
    end: float
    outcome: Outcome
    missing: bool = False
    blocks: bool | None = None

    @property
    def kind(self) -> str:
        """What it does: `register`, `delete`, `block` or `allow`."""
        if self.blocks is not None:
            return "block" if self.blocks else "allow"
        return "delete" if self.version is None else "register"

    def after(self, before: State) -> State:
        """What the key holds when it was carried out."""
        if self.blocks is None:
            return State(self.version, self.version is not None and before.blocked)
        return before if before.version is None else State(before.version, self.blocks)

    def agrees_with(self, before: State) -> bool:
        """Whether it was answered as one is that finds this."""
        if self.outcome is not Outcome.ACKNOWLEDGED or self.kind == "register":
            return True
        return self.missing == (before.version is None)


class Lookup(NamedTuple):
    """A lookup; `status` is 0 when there was no answer, `expected` what a healthy service says.

    Of WRITTEN ones, `status` 404 has the version None and `expected` says nothing.
    """

    path: str
    group: Group
    start: float
    end: float
    status: int
    version: Version
    expected: tuple[int, Version] = (200, None)

    @property
    def took(self) -> float:
        """In seconds."""
        return self.end - self.start

    @property
    def right(self) -> bool:
        """Whether it was answered as a healthy service answers; WRITTEN ones, at all."""
        if self.group is Group.WRITTEN:
            return self.status in {200, 404}
        return (self.status, self.version) == self.expected


def shown_by(found: State | Version) -> Version:
    return found.shown if isinstance(found, State) else found


def is_absent(found: State | Version) -> bool:
    return found is None or found == ABSENT


def is_blocked(possible: frozenset[State]) -> bool:
    """Whether a station can only be blocked, if it is there."""
    there = [state for state in possible if state.version is not None]
    return bool(there) and all(state.blocked for state in there)

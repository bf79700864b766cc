"""What an import is asked to do, and what it has done."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from csms_redis.contract.doubts import Doubt
from csms_redis.fleet.rows import Row

_FIRST_ROWS = 5  # that are told of each doubt


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How to import.

    Attributes:
        rejects_file: one file for all rejected rows; None for one beside each source.
        all_or_nothing: check all rows first, and store nothing if one is rejected.
        dry_run: check only.
        only_new: leave records alone that are there already.
        replace: make each record exactly what its row says.
    """

    rejects_file: Path | None = None
    all_or_nothing: bool = False
    dry_run: bool = False
    only_new: bool = False
    replace: bool = False


@dataclass(slots=True)
class DoubtfulRows:
    """The rows of an import that have one doubt.

    Attributes:
        count: how many there are.
        first: where the first few are, `file:line` each.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Count a row."""
        self.count += 1
        if len(self.first) < _FIRST_ROWS:
            self.first.append(f"{row.source}:{row.line}")


@dataclass(slots=True)
class ImportResult:
    """What an import did, or has done so far.

    Attributes:
        read: rows that were read.
        written: records that were stored.
        blocked: stations among these that were `Rejected`, and stay so against their rows.
        existing: records that were there already and were left alone.
        removed: how often each property was taken away from a record that was there, because its
            whole record has not got it, or set back to its default.
        unknown: columns or properties that are not known and were left out, with the place of the
            first (`file:line`).
        passed_over: OCPI tokens in whose place a newer one with their uid stays.
        rejected: rows that were refused.
        rejects: the files that these rows were written to.
        doubts: what is doubtful about rows that were not rejected: each doubt with the number of
            its rows, and where the first of them are (`file:line`).
        seconds: how long the import took.
    """

    read: int = 0
    written: int = 0
    blocked: int = 0
    existing: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    unknown: dict[str, str] = field(default_factory=dict)
    passed_over: int = 0
    rejected: int = 0
    rejects: list[Path] = field(default_factory=list)
    doubts: dict[Doubt, DoubtfulRows] = field(default_factory=dict)
    seconds: float = 0.0

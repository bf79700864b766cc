"""The last writes of this process, for an operator who cannot read its log."""

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

MOST = 1000
"""The lines that are kept, each below 1 KiB."""


class AuditTrail:
    """The last audit lines of this process; the log has all of them, and those of all processes."""

    def __init__(self) -> None:
        """Keep no line yet."""
        self._lines: deque[dict[str, Any]] = deque(maxlen=MOST)

    def add(self, line: Mapping[str, Any]) -> None:
        """Keep a line, with the time, in the place of the oldest one.

        Args:
            line: what the log says of a write, which has no secret.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._lines.append({"time": now, **line})

    def latest(self) -> Iterator[Mapping[str, Any]]:
        """The lines, the latest first."""
        yield from reversed(self._lines)

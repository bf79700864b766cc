"""Requests with wrong credentials: counts them, and decides what the log says of them."""

from collections import OrderedDict
from enum import StrEnum
from typing import Final

QUIET: Final = 60.0
"""Seconds between two log lines about the same address."""

MOST_ADDRESSES: Final = 1000
"""Addresses that get a log line of their own in `QUIET` seconds; all others share one."""

_MOST_USER_AGENT = 100  # characters


class Reason(StrEnum):
    """Why a request's credentials were not enough; the words are the log's and the metric's."""

    NONE = "none"
    UNKNOWN = "unknown"  # they name no client: Basic with another name, or a wrong Bearer
    WRONG_SECRET = "wrong_secret"  # noqa: S105 a word for the log
    WRONG_ROLE = "wrong_role"


class _Logged:
    """When an address had its last log line, and how many refusals came since."""

    __slots__ = ("at", "untold")

    def __init__(self, at: float) -> None:
        self.at = at
        self.untold = 0


class Refusals:
    """Counts refusals, and decides which of them get a log line.

    Addresses are forgotten when they have had no line for `QUIET` seconds and others need the room.

    Attributes:
        by_reason: how many refusals there were since the start.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.by_reason = dict.fromkeys(Reason, 0)
        self._logged: OrderedDict[str, _Logged] = OrderedDict()  # the longest ago first
        self._others = _Logged(-QUIET)

    def add(self, reason: Reason, address: str, now: float) -> int:
        """Count one.

        Returns:
            How many refusals of this address a log line is to tell of now; 0 for no line.
        """
        self.by_reason[reason] += 1
        logged = self._logged.get(address)
        if logged is not None and now - logged.at < QUIET:
            logged.untold += 1
            return 0
        if logged is None and len(self._logged) >= MOST_ADDRESSES:
            longest_ago = next(iter(self._logged))
            if now - self._logged[longest_ago].at < QUIET:
                self._others.untold += 1
                return 0
            del self._logged[longest_ago]
        self._logged.pop(address, None)
        self._logged[address] = _Logged(now)
        return 1 if logged is None else 1 + logged.untold

    def of_others(self, now: float) -> int:
        """How many refusals of all other addresses a log line is to tell of now; 0 for no line."""
        if not self._others.untold or now - self._others.at < QUIET:
            return 0
        untold, self._others = self._others.untold, _Logged(now)
        return untold


def printable(user_agent: bytes) -> str:
    """A header's value for the log: short, and only visible ASCII and spaces."""
    text = user_agent.decode("latin-1")[: _MOST_USER_AGENT + 1]
    shown = "".join(each if " " <= each <= "~" else "?" for each in text[:_MOST_USER_AGENT])
    return shown + "…" if len(text) > _MOST_USER_AGENT else shown

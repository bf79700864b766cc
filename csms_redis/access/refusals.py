"""Who was turned away and why: counted, and told in the log without filling it."""

from collections import OrderedDict
from enum import StrEnum
from typing import Final

QUIET: Final = 60.0
"""Seconds between two lines of the log about an address."""

MOST_ADDRESSES: Final = 1000
"""Addresses that the log tells of in `QUIET` seconds; of all others it tells together."""

_MOST_USER_AGENT = 100  # characters


class Reason(StrEnum):
    """Why a request's credentials were not enough."""

    NONE = "none"
    UNKNOWN = "unknown"  # nobody is called so, or it names nobody, as a wrong Bearer
    WRONG_SECRET = "wrong_secret"  # noqa: S105 a word for the log
    WRONG_ROLE = "wrong_role"


class _Told:
    """When the log told of an address, and how many refusals it has not told of since."""

    __slots__ = ("at", "untold")

    def __init__(self, at: float) -> None:
        self.at = at
        self.untold = 0


class Refusals:
    """Counts refusals; the longest untold addresses make room for others."""

    def __init__(self) -> None:
        """Begin with none."""
        self.by_reason = dict.fromkeys(Reason, 0)
        self._told: OrderedDict[str, _Told] = OrderedDict()  # the longest ago first
        self._others = _Told(-QUIET)

    def add(self, reason: Reason, address: str, now: float) -> int:
        """Count one.

        Returns:
            Of how many, of this address and since the last time, the log is to tell; 0 for not now.
        """
        self.by_reason[reason] += 1
        told = self._told.get(address)
        if told is not None and now - told.at < QUIET:
            told.untold += 1
            return 0
        if told is None and len(self._told) >= MOST_ADDRESSES:
            longest_ago = next(iter(self._told))
            if now - self._told[longest_ago].at < QUIET:
                self._others.untold += 1
                return 0
            del self._told[longest_ago]
        self._told.pop(address, None)
        self._told[address] = _Told(now)
        return 1 if told is None else 1 + told.untold

    def of_others(self, now: float) -> int:
        """How many were of addresses too many to tell of each; 0 when it was told of late."""
        if not self._others.untold or now - self._others.at < QUIET:
            return 0
        untold, self._others = self._others.untold, _Told(now)
        return untold


def printable(user_agent: bytes) -> str:
    """A header's value as the log has it: short, and nothing but visible ASCII and spaces."""
    text = user_agent.decode("latin-1")[: _MOST_USER_AGENT + 1]
    shown = "".join(each if " " <= each <= "~" else "?" for each in text[:_MOST_USER_AGENT])
    return shown + "…" if len(text) > _MOST_USER_AGENT else shown

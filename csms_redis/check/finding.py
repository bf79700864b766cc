"""A finding of `csms-redis check`: one line of its report."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """What an operator has to do about a finding: nothing, something soon, something first."""

    OK = "ok"
    WARNING = "warning"  # the service works, but records could be lost, or something is not known
    ERROR = "error"  # the service would not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. No attribute ever has a password in it.

    Attributes:
        level: how much the finding matters.
        about: the setting or the thing in one word, which monitoring may search for.
        text: what was found, and what to do about it.
    """

    level: Level
    about: str
    text: str


def ok(about: str, text: str) -> Finding:
    """Report something that is as it should be."""
    return Finding(Level.OK, about, text)


def warning(about: str, text: str) -> Finding:
    """Report something that works, but should be changed."""
    return Finding(Level.WARNING, about, text)


def error(about: str, text: str) -> Finding:
    """Report something that does not work."""
    return Finding(Level.ERROR, about, text)

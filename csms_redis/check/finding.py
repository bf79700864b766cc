"""One line of the report."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"  # it runs, but records could be lost or something was not looked at
    ERROR = "error"  # it would not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; it never holds a password."""

    level: Level
    about: str
    text: str


def ok(about: str, text: str) -> Finding:
    """Nothing needs to be done."""
    return Finding(Level.OK, about, text)


def warning(about: str, text: str) -> Finding:
    """Something should be done."""
    return Finding(Level.WARNING, about, text)


def error(about: str, text: str) -> Finding:
    """Something must be done."""
    return Finding(Level.ERROR, about, text)

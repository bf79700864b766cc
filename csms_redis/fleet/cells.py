"""The cells of CSV: what a spreadsheet or a database means by one, and how an export writes one."""

import re
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeAlias

from csms_redis.contract.blanks import BLANKS
from csms_redis.rows.kinds import PASSWORD, UPDATED, Kind

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_DIGITS = frozenset("0123456789")
_MARK = "'"
_NULLS = frozenset({"NULL", "\\N"})
_FORCED_TEXT = re.compile(r'="((?:[^"]|"")*)"')
_ARTICLE = re.compile(r"'[A-Za-z][ -]")  # 't Hof, 's-Hertogenbosch
_NEEDS_MARK = re.compile(r"['=+\-@\t\r]|\Z|\d+(?:[.,]\d+)?E\+\d+\Z", re.IGNORECASE)
# 12E34567 may be a card's uid, but no uid has a decimal point
_ROUNDED = re.compile(r"\d+E\+\d+|\d+[.,]\d+ ?E ?[-+]?\d+", re.IGNORECASE | re.ASCII)
_DATABASE_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?) ?(?:(Z)|([-+]\d\d):?(\d\d)?)", re.ASCII
)


class Unset(Enum):
    """What an empty cell says: nothing."""

    UNSET = ""


UNSET: Final = Unset.UNSET
Cell: TypeAlias = Callable[[str], Any]
"""Reads a cell that is not empty: a value, None for NULL, or `UNSET`."""


class BadCell(Exception):
    """A cell cannot be read; the message says what is allowed, and quotes nothing of it."""


def is_null(cell: str) -> bool:
    """Whether a cell is a database's NULL, if it is not quoted."""
    return cell.strip(BLANKS).upper() in _NULLS


def reader(name: str, kind: Kind) -> Cell:
    """How the cells of a column are read."""
    if name == PASSWORD:
        return _password
    if name == UPDATED:
        return _moment
    if name in kind.booleans:
        return _boolean
    if name in kind.integers:
        return _integer
    return _id if name in kind.ids else read_cell


def read_cell(cell: str) -> Any:
    """Read a text: without the blanks around it, and without what forces it to be a text."""
    text = cell.strip(BLANKS)
    if not text:
        return UNSET
    first = text[0]
    if first == _MARK:
        return _marked(text)
    if first == "=" and (forced := _FORCED_TEXT.fullmatch(text)):
        return forced[1].replace('""', '"').strip(BLANKS) or UNSET
    return None if len(text) <= 4 and text.upper() in _NULLS else text


def _marked(text: str) -> str:
    if len(text) > 1 and text.endswith(_MARK):
        return text[1:-1]
    return text if _ARTICLE.match(text) else text[1:].strip(BLANKS)


def _id(cell: str) -> Any:
    value = read_cell(cell)
    if (
        isinstance(value, str)
        and ("+" in value or "." in value or "," in value)
        and _ROUNDED.fullmatch(value)
        and not cell.lstrip(BLANKS).startswith(_MARK)
    ):
        raise BadCell(
            "is a number that a spreadsheet has rounded, so its digits are lost; format the column "
            "as text where the file is made"
        )
    return value


def _boolean(cell: str) -> Any:
    value = read_cell(cell)
    if value is None or value is UNSET:
        return value
    try:
        return _BOOLEANS[value.lower()]
    except KeyError:
        raise BadCell("must be true or false, 1 or 0, yes or no, in any case") from None


def _integer(cell: str) -> Any:
    if cell in _DIGITS:
        return int(cell)
    value = read_cell(cell)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value


def _moment(cell: str) -> Any:
    """Read a date-time, also as databases write one that has its zone: 2026-01-31 10:00:00+00."""
    value = read_cell(cell)
    if isinstance(value, str) and (found := _DATABASE_MOMENT.fullmatch(value)):
        date, time, utc, hours, minutes = found.groups()
        return f"{date}T{time}" + (utc or f"{hours}:{minutes or '00'}")
    return value


def _password(cell: str) -> Any:
    """Read a password, of which every character counts; only `="…"` can be nothing but a mark."""
    if is_null(cell):
        return None
    forced = cell[0] == "=" and _FORCED_TEXT.fullmatch(cell)
    return forced[1].replace('""', '"') if forced else cell


TEXTS = (read_cell, _password, _moment)
"""What gives a cell as it is, if nothing in it is special."""


def write_cell(text: str) -> str:
    """Write a text so that no spreadsheet takes it for a formula; `read_cell` undoes that.

    An apostrophe is put before a text that begins like a formula or with an apostrophe, and before
    a NULL. It also stands for the empty text, because an empty cell says nothing. Where the text
    ends with an apostrophe or has blanks around it, another is put after it.
    """
    blank = text != text.strip(BLANKS)
    if not (blank or _NEEDS_MARK.match(text) or is_null(text)):
        return text
    return f"{_MARK}{text}{_MARK if blank or text.endswith(_MARK) else ''}"

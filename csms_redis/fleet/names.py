"""The names of columns and properties: known in any spelling, and those that are not known."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from csms_redis.contract.blanks import BLANKS
from csms_redis.contract.errors import BadRequest
from csms_redis.fleet.failure import UnusableSource
from csms_redis.fleet.rows import TWICE
from csms_redis.rows.kinds import Kind

_BETWEEN = re.compile(f"[{re.escape(BLANKS)}_-]")
_NEAR = 0.82  # of difflib's ratio: passwort, registrationstate; not country, validity
_SHORTEST = 5  # of names that are near each other: an id is no uid
_MOST_UNKNOWN = 1000  # names that are looked at
_MOST_SHOWN = 60  # characters of a name
_MOST_SETS = 1000  # of names that are remembered as those of an object
_LEFT_OUT = ""


def folded(name: str) -> str:
    """A name without what its spellings differ in: case, `_`, `-` and blanks."""
    return _BETWEEN.sub("", name).lower()


class Names:
    """The names of one source, for one kind of record.

    Attributes:
        kind: of the records.
        unknown: the names that are not known, as the source spells them, each with the first line
            that has it.
    """

    def __init__(self, kind: Kind) -> None:
        """Know the columns of a kind, and what others call them."""
        self.kind = kind
        self.unknown: dict[str, int] = {}
        self._known = {folded(name): name for name in kind.columns}
        self._known |= {folded(other): name for other, name in kind.aliases.items()}
        self._known |= {folded(name): _LEFT_OUT for name in kind.left_out}
        self._meant = {folded(other): name for other, name in kind.meant.items()}
        self._objects: dict[tuple[str, ...], tuple[str, ...]] = {}

    def known_of(self, names: Iterable[str]) -> int:
        """How many of these names are known."""
        return sum(folded(name) in self._known for name in names)

    def of_header(self, names: Sequence[str], line: int) -> list[str]:
        """The columns that a header names; empty for one that is left out.

        Raises:
            UnusableSource: the header is wrong.
        """
        if len(names) > _MOST_UNKNOWN:
            raise UnusableSource(f"line {line}: names {len(names)} columns")
        if not self.known_of(names):  # they may be values, and secret
            raise self._without(self.kind.required[0], line)
        found = self._read(names, line)
        known = [name for name in found if name in self.kind.columns]
        for name in self.kind.required:
            if name not in known:
                raise self._without(name, line)
        for name in known:
            if known.count(name) > 1:
                raise UnusableSource(f"line {line}: two columns are {name}")
        return found

    def _without(self, name: str, line: int) -> UnusableSource:
        return UnusableSource(
            f"line {line}: the first line must name the columns, and there is none called {name}; "
            f"there may be {', '.join(self.kind.columns)}"
        )

    def left_out(self, name: str, line: int) -> None:
        """Note that something has no place here."""
        if len(self.unknown) < _MOST_UNKNOWN:
            self.unknown.setdefault(name, line)

    def of_object(self, data: dict[str, Any], line: int) -> dict[str, Any]:
        """The properties of an object by their own names.

        Raises:
            UnusableSource: a name nearly is one that is known.
            BadRequest: two of its names are one.
        """
        given = tuple(data)
        names = self._objects.get(given)
        if names is None:
            names = tuple(self._read(given, line))
            if len(self._objects) < _MOST_SETS:
                self._objects[given] = names
        if names != given:
            kept = [(name, value) for name, value in zip(names, data.values(), strict=True) if name]
            if len(kept) > len(dict(kept)):
                raise BadRequest(TWICE)
            data = dict(kept)
        for name in self.kind.nested:
            if isinstance(data.get(name), dict):
                data = data | {name: self.of_object(data[name], line)}
        return data

    def _read(self, names: Sequence[str], line: int) -> list[str]:
        """The names that are known in their own spelling, the rest as they are."""
        found = [self._known.get(folded(name), name) for name in names]
        for name in found:
            if name and name not in self.kind.columns and name not in self.kind.nested:
                shown = name[:_MOST_SHOWN]
                if shown in self.unknown or len(self.unknown) == _MOST_UNKNOWN:
                    continue
                if meant := self._nearly(name, found):
                    raise UnusableSource(
                        f"line {line}: {shown!r} is not known; is {meant} meant? Correct the name, "
                        "or take it and its values out of the file"
                    )
                self.unknown[shown] = line
        return found

    def _nearly(self, name: str, beside: Sequence[str]) -> str | None:
        """The known name that was probably meant, if it is not there as well."""
        short = folded(name)
        if short in self._meant:
            return None if self._meant[short] in beside else self._meant[short]
        candidates = [
            known
            for known, column in self._known.items()
            if column and column not in beside and len(known) >= _SHORTEST
        ]
        if len(short) < _SHORTEST:
            return None
        near = get_close_matches(short, candidates, n=1, cutoff=_NEAR)
        near = near or [known for known in candidates if _shortens(short, known)]
        return self._known[near[0]] if near else None


def _shortens(name: str, known: str) -> bool:
    """Whether a name is another one with letters left out, as regstatus and secprofile are."""
    if name[0] != known[0] or len(name) * 2 < len(known):
        return False
    letters = iter(known)
    return all(letter in letters for letter in name)

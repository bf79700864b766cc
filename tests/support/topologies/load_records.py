"""The records of a load: which there are before it, and which it makes."""

from tests.support.made import certificates
from tests.support.topologies.records import Change, Kind, Record

FRESH = 0.6
"""The share of writes that make a new record: one that is written again hides what it had lost."""
AGAIN = 0.7
"""The share of writes of unknown fate that are repeated, perhaps through another process."""
LAST = 0.3
"""The share of new records that are blocked or deleted next, and stay so."""
CHANGES: dict[Kind, tuple[Change, ...]] = {
    "station": ("register", "register", "register", "block", "allow", "delete"),
    "token": ("register", "register", "delete"),
    "certificate": ("register", "delete"),
}
"""What is done to records of a kind, each as often as the others."""
ADDING_CHANGES: dict[Kind, tuple[Change, ...]] = CHANGES | {
    "station": ("register",),
    "token": ("register",),
}
"""The same without what takes a station or a token away."""


class LoadRecords:
    """Records under one prefix, so that several loads do not meet.

    Attributes:
        cached: stations that are looked up before the load, and stay as they are.
        cold: stations that are looked up once.
        owned: what each writer writes again and again.
        fresh: what the load has made so far.
    """

    def __init__(self, prefix: str, *, cached: int, cold: int, writers: int, keys: int) -> None:
        """Name so many stations, and so many records for each writer."""
        self._prefix = prefix
        self._unknown = 0
        self.cached = [self._station(f"cached-{n}") for n in range(cached)]
        self.cold = [self._station(f"cold-{n}") for n in range(cold)]
        self.owned = [self._records(writer, keys) for writer in range(writers)]
        self.fresh: list[Record] = []

    def _station(self, name: str) -> Record:
        return Record("station", f"{self._prefix}-{name}")

    def _records(self, writer: int, keys: int) -> list[Record]:
        """Three fifths stations, a fifth tokens, a fifth certificates."""
        part = max(keys // 5, 1)
        names = [f"{writer}-{number}" for number in range(keys)]
        return [
            *(self._station(name) for name in names[2 * part :]),
            *(Record("token", f"{self._prefix}-{name}".upper()) for name in names[:part]),
            *(Record("certificate", hash_, pem) for hash_, pem in certificates(part).items()),
        ]

    @property
    def written(self) -> list[Record]:
        """All that is ever written."""
        return [*self.cached, *self.cold, *self.hot, *self.fresh]

    @property
    def hot(self) -> list[Record]:
        """Those that are written again and again."""
        return [record for owned in self.owned for record in owned]

    def new(self) -> Record:
        """Name a station that was not there before; from now on it is one of `fresh`."""
        record = self._station(f"fresh-{len(self.fresh)}")
        self.fresh.append(record)
        return record

    def unknown(self) -> Record:
        """Name a station that nobody ever registers."""
        self._unknown += 1
        return self._station(f"unknown-{self._unknown}")

"""How many refusals are looked at, and what is known of those that are not."""

import asyncio
import random
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from typing import Any

import pytest

from csms_redis.access.control import AccessControl
from csms_redis.lookup import refused
from csms_redis.lookup.refused import MOST_LOOKED_AT, RefusedStations


class Connection(asyncio.Transport):
    """Whose address is gone when it is closed."""

    address: tuple[str, int] | None = ("192.0.2.1", 50000)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.address if name == "peername" else default


class Front:
    """Refuses stations at some rate, as the front does; seconds pass as it does."""

    def __init__(self) -> None:
        self.now = 0.0
        self.refused: RefusedStations
        self.connection = Connection()

    def refuse(self, ids: Iterable[str], a_second: int) -> int:
        """Refuse these ids at that rate; return how many of the refusals are looked at."""
        looked_at = 0
        for cs_id in ids:
            before, self.now = self.now, self.now + 1 / a_second
            if int(before) < int(self.now):
                self.refused.begin_second()
            if next(self.refused.turns, True):
                looked_at += 1
                request = f"GET /api/v0/cs/{cs_id}/auth HTTP/1.1\r\nHost: a\r\n\r\n"
                self.refused.passed(request.encode(), self.connection)
        return looked_at

    def counts(self) -> dict[str, int]:
        return {one.id: one.count for one in self.refused.report()}


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Front:
    random.seed(14)
    made = Front()
    monkeypatch.setattr(refused, "monotonic", lambda: made.now)
    made.refused = RefusedStations(AccessControl())
    return made


def test_few_are_counted_exactly(front: Front) -> None:
    """As many as are looked at in a second, also when all come at once."""
    front.refuse(cycle_of(30, times=900), a_second=900)
    front.refuse(cycle_of(30, times=MOST_LOOKED_AT - 100), a_second=1_000_000)

    assert front.counts() == {f"cs{number}": 60 for number in range(30)}


@pytest.mark.parametrize("before", [0, 40, 900], ids=lambda rate: f"after-{rate}")
def test_a_flood_is_looked_at_now_and_then(front: Front, before: int) -> None:
    """From its beginning on, whenever in a second that is; afterwards each is looked at again."""
    if before:
        front.refuse(cycle_of(10, times=before * 3 // 2), a_second=before)
    flood = (f"flood{number}" for number in range(1_000_000))

    first, second, *each = (
        front.refuse(islice(flood, 100_000), a_second=100_000) for _ in range(5)
    )
    front.refuse(["a"] * 5, a_second=2)
    front.refuse(["b"] * 5, a_second=2)

    assert first + second <= 4 * MOST_LOOKED_AT
    for looked_at in each:
        assert 0.7 * MOST_LOOKED_AT <= looked_at <= 1.3 * MOST_LOOKED_AT
    assert front.counts()["b"] == 5


def test_a_flood_is_estimated(front: Front) -> None:
    """Who comes each tenth time in it is known, and about how often that is."""
    front.refuse(
        ("busy" if number % 10 == 0 else f"flood{number}" for number in range(300_000)),
        a_second=60_000,
    )

    assert 20_000 <= front.counts()["busy"] <= 40_000


def test_a_connection_may_be_closed_by_then(front: Front) -> None:
    """Where a refusal came from is known nevertheless."""
    front.refuse(["cs1"], a_second=10)
    front.connection.address = None

    assert [one.client for one in front.refused.report()] == ["192.0.2.1"]


def cycle_of(different: int, *, times: int) -> Iterator[str]:
    """So many refusals of different stations in turn."""
    return islice(cycle(f"cs{number}" for number in range(different)), times)

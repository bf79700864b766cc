"""What processes store of the stations that they turned away."""

import pytest

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.registry import refused
from csms_redis.registry.refused import RefusedId, RefusedStore, merged
from tests.support.stores import Store

HOUR = 3600
BEGIN = 1_800_000_000


def stranger(count: int, last: float) -> RefusedId:
    return RefusedId("stranger", malformed=False, count=count, first=BEGIN, last=last, client="")


@pytest.mark.parametrize("away", [False, True], ids=["there", "away"])
async def test_nobody_is_counted_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, away: bool
) -> None:
    """Though a process takes another name each hour, and Redis may be away just then."""
    is_away = False

    async def admit(_: Address | None) -> None:
        if is_away:
            raise Unavailable("Redis is away.")

    now = float(BEGIN)
    monkeypatch.setattr(refused, "time", lambda: now)
    writer, reader = RefusedStore(store.client, b"", admit), RefusedStore(store.client, b"")
    assert await writer.write([stranger(1, now)])
    for hour in range(1, 4):
        now = BEGIN + hour * (HOUR + 1)
        is_away = away
        assert await writer.write([stranger(hour * 10, now)]) == (not away)
        is_away = False
        now += 5
        assert await writer.write([stranger(hour * 10 + 1, now)])

    (one,) = merged(await reader.read(), now)
    assert (one.count, one.last) == (31, now)
    assert await store.other.hlen("refused") == 1

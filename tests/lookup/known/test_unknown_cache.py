"""The cache of ids that have no record."""

import pytest

from csms_redis.lookup.known.unknown_cache import UnknownCache
from tests.support.wire import Clock


def unknown(*, entries: int = 3, ttl: float = 5) -> UnknownCache:
    return UnknownCache(max_entries=entries, ttl=ttl)


class TestUnknown:
    """Ids of which there is no record."""

    def test_holds_for_its_time(self, clock: Clock) -> None:
        """Each entry says until when it holds."""
        cache = unknown(ttl=5)
        cache.put(b"a", b"404")

        assert {b"a": (clock.now + 5, b"404")} == dict(cache.until)

    def test_the_oldest_goes_first(self) -> None:
        """Bounded by entries; one that was put again is young."""
        cache = unknown(entries=3)
        for target in (b"a", b"b", b"c", b"a", b"d"):
            cache.put(target, b"")

        assert list(cache.until) == [b"c", b"a", b"d"]

    @pytest.mark.parametrize("cache", [unknown(entries=0), unknown(ttl=0)])
    def test_switched_off(self, cache: UnknownCache) -> None:
        """0 entries or 0 seconds remember nothing."""
        cache.put(b"a", b"")

        assert cache.until == {}

    def test_forgets(self) -> None:
        """A creation drops one, a loss all."""
        cache = unknown()
        for target in (b"a", b"b", b"c"):
            cache.put(target, b"")
        cache.drop(b"b")
        cache.drop(b"never there")

        assert list(cache.until) == [b"a", b"c"]

        cache.clear()
        assert cache.until == {}

"""Answers that the near cache was filled with through connections that have ended."""

import pytest

from tests.support.near_caches import STALE_IF_ERROR, near
from tests.support.wire import Clock


class TestStale:
    """What was filled through connections that are gone."""

    def test_ages(self, clock: Clock) -> None:
        """After a loss an answer is stale and no more fresh."""
        cache = near()
        cache.put(b"a", b"1")
        cache.age(clock.now)

        assert cache.fresh == {}
        assert cache.stale(b"a") == b"1"
        assert cache.stale(b"b") is None

    def test_counts_from_the_last_good_probe(self, clock: Clock) -> None:
        """Not from the loss, which may be seen later."""
        cache = near()
        cache.put(b"a", b"1")
        cache.age(clock.now - 2)
        clock.now += STALE_IF_ERROR - 2

        assert cache.stale(b"a") == b"1"

        clock.now += 0.1
        assert cache.stale(b"a") is None
        assert len(cache) == 0, "what has expired is not held on to"

    def test_a_later_loss_does_not_start_the_count_anew(self, clock: Clock) -> None:
        """What was not read through the second connection is as old as the first."""
        cache = near()
        cache.put(b"a", b"1")
        cache.age(clock.now)
        clock.now += 200
        cache.put(b"b", b"2")
        cache.age(clock.now)
        clock.now += 100.1

        assert cache.stale(b"a") is None
        assert cache.stale(b"b") == b"2"

    def test_a_loss_with_nothing_new_changes_nothing(self, clock: Clock) -> None:
        """Attempts that fail before they filled anything do not renew what is stale."""
        cache = near()
        cache.put(b"a", b"1")
        cache.age(clock.now)
        for _ in range(30):
            clock.now += 10
            cache.age(clock.now)
        clock.now += 0.1

        assert cache.stale(b"a") is None

    def test_what_is_read_again_is_fresh_only(self, clock: Clock) -> None:
        """The stale answer goes when a newer one is put."""
        cache = near()
        cache.put(b"a", b"1")
        cache.age(clock.now)
        cache.put(b"a", b"2")

        assert dict(cache.fresh) == {b"a": b"2"}
        assert cache.stale(b"a") is None
        assert len(cache) == 1

    @pytest.mark.parametrize("losses", [1, 3, 30])
    def test_an_invalidation_drops_it(self, losses: int, clock: Clock) -> None:
        """However long ago it was filled, once its key changed it is never served again."""
        cache = near()
        for number in range(losses):
            cache.put(b"%d" % number, b"1")
            cache.age(clock.now)
        for number in range(losses):
            cache.drop(b"%d" % number)

        assert [None] * losses == [cache.stale(b"%d" % number) for number in range(losses)]
        assert len(cache) == 0
        assert cache.size == 0

    def test_clear_forgets_it(self, clock: Clock) -> None:
        """FLUSHALL leaves neither fresh nor stale."""
        cache = near()
        cache.put(b"a", b"1")
        cache.age(clock.now)
        cache.put(b"b", b"1")
        cache.clear()

        assert len(cache) == 0
        assert cache.size == 0
        assert cache.stale(b"a") is None

    def test_makes_room_for_the_fresh(self, clock: Clock) -> None:
        """The bounds count both; the stale goes first, the oldest of it before the rest."""
        cache = near(entries=4)
        for target in (b"a", b"b"):
            cache.put(target, b"")
            cache.age(clock.now)
        for target in (b"c", b"d", b"e"):
            cache.put(target, b"")

        assert [cache.stale(b"a"), cache.stale(b"b")] == [None, b""]

        cache.put(b"f", b"")
        cache.put(b"g", b"")
        assert list(cache.fresh) == [b"d", b"e", b"f", b"g"]

    def test_room_is_made_although_a_generation_is_empty(self, clock: Clock) -> None:
        """All that one connection filled was read again, and then the cache is full."""
        cache = near(entries=2)
        cache.put(b"a", b"")
        cache.age(clock.now)
        for target in (b"a", b"b", b"c"):
            cache.put(target, b"")

        assert list(cache.fresh) == [b"b", b"c"]

    def test_a_connection_that_comes_and_goes_costs_nothing(self, clock: Clock) -> None:
        """Each loss adds one answer; those that were kept before stay, and expire in time."""
        cache = near(entries=1000)
        for number in range(500):
            cache.put(b"kept-%d" % number, b"1")
        cache.age(clock.now)
        clock.now += 100
        for number in range(100):
            clock.now += 1
            cache.put(b"later-%d" % number, b"1")
            cache.age(clock.now)

        assert len(cache) == 600
        assert cache.stale(b"kept-0") == b"1"
        assert cache.stale(b"later-0") == b"1"

        clock.now += 100.1
        assert cache.stale(b"kept-0") is None, "300 s after its own connection was good"
        assert cache.stale(b"later-99") == b"1"

        clock.now += 200
        assert cache.stale(b"later-99") is None
        assert cache.size == 0

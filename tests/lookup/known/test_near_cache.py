"""Answers that the near cache keeps, and what they may take of memory."""

from sys import getsizeof

from tests.support.near_caches import STALE_IF_ERROR, near, shared
from tests.support.wire import Clock

PEM_TAIL = b"c" * 2500


class TestFresh:
    """What was filled through the connection that is up."""

    def test_keeps_what_is_put(self) -> None:
        """An answer is found by its target."""
        cache = near()
        cache.put(b"a", b"1")

        assert dict(cache.fresh) == {b"a": b"1"}

    def test_a_second_put_replaces(self) -> None:
        """The newer answer of a target is the one that counts, and its size alone."""
        cache = near()
        cache.put(b"a", b"1")
        size = cache.size
        cache.put(b"a", b"2")

        assert dict(cache.fresh) == {b"a": b"2"}
        assert size == cache.size

    def test_the_least_recently_used_goes_first(self) -> None:
        """One that was read again outlives an older one that was not."""
        cache = near(entries=3)
        for target in (b"a", b"b", b"c"):
            cache.put(target, b"")
        cache.fresh.move_to_end(b"a")  # as a hit does
        cache.put(b"d", b"")
        cache.put(b"e", b"")

        assert list(cache.fresh) == [b"a", b"d", b"e"]

    def test_zero_entries_keep_nothing(self) -> None:
        """`lookup.cache_entries = 0` switches it off."""
        cache = near(entries=0)
        cache.put(b"a", b"1")

        assert len(cache) == 0
        assert cache.size == 0

    def test_certificates_stay_within_the_bytes(self) -> None:
        """A thousand of 2.5 kB never take more than `cache_bytes`, counted with their objects."""
        cache = near(entries=10_000, size=2**18)
        for number in range(1000):
            cache.put(b"%044d" % number, PEM_TAIL + b"%d" % number)
            objects = sum(getsizeof(t) + getsizeof(a) for t, a in cache.fresh.items())
            assert objects < cache.size <= 2**18

        assert 80 < len(cache) < 95
        assert next(reversed(cache.fresh)) == b"%044d" % 999

    def test_what_is_larger_than_the_cache_empties_nothing(self) -> None:
        """It is not kept, and what was there is; an older answer of the same target is not."""
        cache = near(size=2000)
        cache.put(b"a", b"1")
        cache.put(b"b", b"1")
        cache.put(b"b", PEM_TAIL)

        assert list(cache.fresh) == [b"a"]

    def test_size_is_zero_when_all_is_dropped(self) -> None:
        """Every way out of the cache gives its bytes back."""
        cache = near(entries=5)
        for number in range(20):
            cache.put(b"%d" % number, b"x" * number)
        for number in range(20):
            cache.drop(b"%d" % number)

        assert len(cache) == 0
        assert cache.size == 0


class TestMasters:
    """Several connections at a time, each to a master of its own."""

    def test_bounds_hold_for_all_together(self) -> None:
        """The one that has filled most makes room."""
        cache = shared(entries=4)
        one, other = cache.begin(), cache.begin()
        for target in (b"a", b"b", b"c"):
            cache.put(one, target, b"")
        cache.put(other, b"d", b"")
        cache.put(other, b"e", b"")

        assert list(one.entries) == [b"b", b"c"]
        assert list(other.entries) == [b"d", b"e"]

    def test_a_record_has_one_answer(self) -> None:
        """When its slot has moved, what the old master said goes as the new one speaks."""
        cache = shared()
        one, other = cache.begin(), cache.begin()
        cache.put(one, b"a", b"1")
        cache.put(other, b"a", b"2")

        assert dict(one.entries) == {}
        assert dict(other.entries) == {b"a": b"2"}
        cache.drop(b"a")
        assert (len(cache), cache.size) == (0, 0)

    def test_the_loss_of_one_leaves_the_others(self, clock: Clock) -> None:
        """What was filled through it is stale; the rest is fresh."""
        cache = shared()
        one, other = cache.begin(), cache.begin()
        cache.put(one, b"a", b"1")
        cache.put(other, b"b", b"2")
        cache.age(one, clock.now)

        assert cache.stale(b"a") == b"1"
        assert cache.stale(b"b") is None
        assert dict(other.entries) == {b"b": b"2"}

    def test_each_counts_from_its_own_last_probe(self, clock: Clock) -> None:
        """Whichever was lost first."""
        cache = shared()
        one, other = cache.begin(), cache.begin()
        cache.put(one, b"a", b"1")
        cache.put(other, b"b", b"2")
        cache.age(other, clock.now)
        cache.age(one, clock.now - 100)
        clock.now += STALE_IF_ERROR - 50

        assert cache.stale(b"a") is None
        assert cache.stale(b"b") == b"2"


class TestEnds:
    """Answers that end by themselves."""

    def test_one_is_dropped_at_its_end(self, clock: Clock) -> None:
        """Fresh or stale; what was put without an end, or again with a later one, stays."""
        cache = shared()
        old, new = cache.begin(), cache.begin()
        cache.put(old, b"stale", b"1", clock.now + 2)
        cache.put(new, b"fresh", b"2", clock.now + 1)
        cache.put(new, b"again", b"3", clock.now + 1)
        cache.put(new, b"again", b"4", clock.now + 3)
        cache.put(new, b"lifted", b"5", clock.now + 1)
        cache.put(new, b"lifted", b"6")
        cache.age(old, clock.now)
        assert cache.next_end == clock.now + 1

        clock.now += 1
        cache.drop_ended()
        assert list(new.entries) == [b"again", b"lifted"]
        assert cache.stale(b"stale") == b"1"

        clock.now += 1
        cache.drop_ended()
        assert cache.stale(b"stale") is None
        assert cache.next_end == clock.now + 1

    def test_many_are_dropped_in_portions(self, clock: Clock) -> None:
        cache = shared(entries=2000)
        generation = cache.begin()
        for number in range(1200):
            cache.put(generation, b"%d" % number, b"", clock.now)
        left = []
        while cache.next_end <= clock.now:
            cache.drop_ended()
            left.append(len(cache))
        assert left == [700, 200, 0]
        assert cache.size == 0

    def test_their_memory_is_bounded(self, clock: Clock) -> None:
        """Also where the same ones come and go, are evicted, or are cleared together."""
        cache = shared(entries=10)
        generation = cache.begin()
        for number in range(20_000):
            cache.put(generation, b"%d" % (number % 100), b"", clock.now + 1000 + number)
            if number % 50 == 0:
                generation.clear()
        assert len(cache._ends) < 1000
        assert len(cache._end_of) <= 520

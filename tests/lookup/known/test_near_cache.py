"""The near cache and the cache of unknown ids, with a clock that the test turns."""

from collections import OrderedDict
from sys import getsizeof

import pytest

from csms_redis.lookup.known import near_cache, unknown_cache
from csms_redis.lookup.known.near_cache import NearCache
from csms_redis.lookup.known.unknown_cache import UnknownCache
from tests.support.wire import Clock

PEM_TAIL = b"c" * 2500
STALE_IF_ERROR = 300.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    turned = Clock()
    monkeypatch.setattr(near_cache, "monotonic", turned)
    monkeypatch.setattr(unknown_cache, "monotonic", turned)
    return turned


class OneMaster:
    """A near cache that is filled through one connection after the other."""

    def __init__(self, cache: NearCache) -> None:
        self.cache = cache
        self.filling = cache.begin()
        self.drop = cache.drop
        self.stale = cache.stale

    def __len__(self) -> int:
        return len(self.cache)

    @property
    def size(self) -> int:
        return self.cache.size

    @property
    def fresh(self) -> OrderedDict[bytes, bytes]:
        return self.filling.entries

    def put(self, target: bytes, tail: bytes) -> None:
        self.cache.put(self.filling, target, tail)

    def age(self, good: float) -> None:
        self.cache.age(self.filling, good)
        self.filling = self.cache.begin()

    def clear(self) -> None:
        self.filling.clear()
        self.cache.clear_old()


def shared(*, entries: int = 100, size: int = 2**20) -> NearCache:
    return NearCache(max_entries=entries, max_bytes=size, stale_if_error=STALE_IF_ERROR)


def near(*, entries: int = 100, size: int = 2**20) -> OneMaster:
    return OneMaster(shared(entries=entries, size=size))


def unknown(*, entries: int = 3, ttl: float = 5) -> UnknownCache:
    return UnknownCache(max_entries=entries, ttl=ttl)


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

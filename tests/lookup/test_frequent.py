"""Which ids are kept of very many: those that come often, and those that came last."""

import random

from csms_redis.lookup.frequent import Frequent


def counts(frequent: Frequent) -> dict[str, int]:
    """How often each id came, at least."""
    return {id_: seen.count - seen.error for id_, seen in frequent.items()}


def test_few_ids_are_counted_exactly() -> None:
    """With when they came first and last, and from whom."""
    frequent = Frequent(most=10)
    for now in range(30):
        frequent.add(f"cs{now % 3}", f"gateway {now}", float(now))

    found = dict(frequent.items())

    assert counts(frequent) == {"cs0": 10, "cs1": 10, "cs2": 10}
    assert (found["cs1"].first, found["cs1"].last) == (1.0, 28.0)
    assert found["cs1"].client == "gateway 28"
    assert found["cs1"].error == 0


def test_the_busiest_are_kept_in_a_flood() -> None:
    """Of ids that come once each, though the busy ones come seldom among them; in bounded room."""
    frequent = Frequent(most=100, latest=20, cells=2**12)
    chance = random.Random(14)
    busy = [f"busy{number}" for number in range(20)]
    for now in range(100_000):
        is_busy = now % 100 == 0  # 1,000 of 100,000: each busy one some 50 times
        frequent.add(chance.choice(busy) if is_busy else f"flood{now}", "gateway", float(now))

    often = sorted(counts(frequent).items(), key=lambda item: -item[1])[:40]

    assert set(busy) <= {id_ for id_, _ in often}
    assert len(list(frequent.items())) <= 120
    assert any(id_ == "flood99999" for id_, _ in frequent.items())


def test_a_count_is_never_too_high() -> None:
    """Without its error, whatever leaves and comes back."""
    frequent = Frequent(most=5, latest=3, cells=8)
    chance = random.Random(1)
    there_were = dict.fromkeys((f"cs{number}" for number in range(40)), 0)
    for now in range(5000):
        id_ = f"cs{min(39, int(chance.expovariate(0.15)))}"
        there_were[id_] += 1
        frequent.add(id_, "", float(now))
        if now % 100 == 0:
            for kept, least in counts(frequent).items():
                assert least <= there_were[kept]

    assert {"cs0", "cs1"} <= counts(frequent).keys()


def test_what_is_long_ago_is_forgotten() -> None:
    frequent = Frequent(most=2, latest=2)
    for now, id_ in enumerate(["a", "b", "c", "d", "b", "d"]):
        frequent.add(id_, "", float(now))

    frequent.forget(4.0)

    assert {id_ for id_, _ in frequent.items()} == {"b", "d"}

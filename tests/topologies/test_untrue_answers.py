"""The judge of histories finds each answer that was not true, and measures the rest."""

import pytest

from tests.support.histories import (
    NO,
    OK,
    PATH,
    REGISTERED_AGAIN,
    UNKNOWN,
    done,
    ended_with,
    looked_up,
    other,
    written,
)
from tests.support.topologies.history import History
from tests.support.topologies.seen import FAULT, MASTER, OVER, Group, Lookup, Write
from tests.support.topologies.verdict import back_to_normal, percentile


@pytest.mark.parametrize(
    ("writes", "kind", "resurrected"),
    [
        # it can be deleted, or blocked, again
        (done("register", "delete", "delete"), "delete", True),
        (done("register", "delete", "block"), "block", True),
        (done("register", "block", "delete", "allow"), "allow", True),
        # a status is not set, for there is none
        (done("register", "block", missing=2), "block", False),
        (done("register", "allow", "register", missing=2), "allow", False),
    ],
)
def test_an_answer_that_contradicts_what_was_acknowledged(
    writes: list[Write], kind: str, *, resurrected: bool
) -> None:
    history = History(writes)
    assert [kind] == [loss.place for loss in history.check().lost]
    assert history.check().resurrected_paths == ({PATH} if resurrected else set())


@pytest.mark.parametrize(
    ("lookup", "lifted"),
    [
        (looked_up(2.2, 1), False),  # while the block is under way
        (looked_up(2.2, None, status=404), False),
        (looked_up(2.6, 1), True),
        (looked_up(2.6, None, status=404), False),
        (looked_up(3.2, 3), True),
        (looked_up(3.6, 3), True),
        (looked_up(4.2, 3), False),  # while it is allowed
        (looked_up(4.6, 3), False),
    ],
)
def test_a_blocked_station_must_not_be_shown(lookup: Lookup, *, lifted: bool) -> None:
    history = History(done(*REGISTERED_AGAIN, "allow"), [lookup], {OVER: 0})
    assert history.check().lifted_paths == ({PATH} if lifted else set())


def test_how_late_an_old_answer_is() -> None:
    """From when it was replaced, or a later moment, to when the lookup began."""
    history = History(done("register", "block", "register"), [looked_up(9, 1, took=5)], {FAULT: 0})
    verdict = history.check()
    (old,) = verdict.old
    assert pytest.approx(6.5) == old.late
    assert pytest.approx(11.5) == old.age
    assert verdict.old_after(0, 6) == [old]
    assert verdict.old_after(0, 7) == []
    assert verdict.old_after(4, 4) == [old]
    assert verdict.old_after(4, 5) == []


def test_a_refused_write_must_not_be_carried_out() -> None:
    verdict = ended_with(2, written(OK, NO)).check()
    assert {PATH} == verdict.lost_paths
    assert verdict.wrong == ["Redis: /cs/a/auth has 2, which was refused"]
    history = ended_with(1, written(OK, NO))
    history.lookups.append(looked_up(9, 2))
    assert history.check().wrong == ["/cs/a/auth gave 2, which was refused"]


@pytest.mark.parametrize(
    ("lookup", "old"),
    [
        (looked_up(1.2, None, status=404), []),  # while the first write is under way
        (looked_up(1.2, 1), []),
        (looked_up(1.6, 1), []),
        (looked_up(1.6, None, status=404), [(False, 0.2)]),
        (looked_up(2.2, 1), []),
        (looked_up(2.2, 2), []),
        (looked_up(2.6, 1), [(False, 0.2)]),
        (looked_up(3.6, None, status=404), []),
        (looked_up(3.6, 2), [(True, 0.2)]),
        (looked_up(9.0, 1), [(True, 6.6)]),
        (looked_up(9.0, status=503), []),
    ],
)
def test_what_was_replaced_must_not_be_served(
    lookup: Lookup, old: list[tuple[bool, float]]
) -> None:
    """Of three writes, the last a deletion: which answers are old, and by how much."""
    history = History(written(OK, OK, OK, deletes=(3,)), [lookup], {OVER: 0})
    verdict = history.check()
    assert [one.deleted for one in verdict.old_when_over] == [deleted for deleted, _ in old]
    assert [one.age for one in verdict.old_when_over] == pytest.approx([age for _, age in old])
    assert len([one for one, _ in old if one]) == len(verdict.deleted_served)


def test_a_later_upload_of_unknown_fate_excuses_what_is_served() -> None:
    history = History(written(OK, OK, UNKNOWN, deletes=(2,)), [looked_up(9, 3)], {OVER: 0})
    assert history.check().old_when_over == []
    history.lookups.append(looked_up(9, 1))
    assert len(history.check().deleted_served) == 1


def test_old_answers_are_excused_until_the_fault_is_over() -> None:
    history = History(written(OK, OK, deletes=(2,)), [looked_up(4, 1)], {FAULT: 1, OVER: 5})
    verdict = history.check()
    assert verdict.old_when_over == []
    assert pytest.approx(1.6) == verdict.longest_deleted == verdict.longest_old
    history.marks[OVER] = 4
    assert len(history.check().deleted_served) == 1


def test_other_services_may_be_a_little_behind() -> None:
    history = History(written(OK, OK), [looked_up(3, 1)], {OVER: 0})
    assert len(history.check().old_when_over) == 1
    history.slack = 1
    assert history.check().old_when_over == []


def test_a_cached_station_must_be_answered_as_it_is() -> None:
    expected = (200, 7)
    lookups = [
        looked_up(1, version, status=status, group=Group.CACHED, expected=expected)
        for status, version in [(200, 7), (200, 6), (404, None), (503, None), (0, None)]
    ]
    verdict = History(lookups=lookups).check()
    assert verdict.cached == 5
    assert lookups[1:] == verdict.cached_failures
    assert {PATH} == verdict.taken_away_paths
    assert "1 taken away" in str(verdict)


def test_latencies() -> None:
    lookups = [looked_up(n, group=Group.CACHED, took=n / 1000) for n in range(1, 101)]
    lookups += [
        looked_up(1, group=Group.OTHER, status=503, took=0.25),
        looked_up(1, group=Group.OTHER, took=0.5),
    ]
    verdict = History(lookups=lookups).check()
    assert pytest.approx((verdict.cached_p50, verdict.cached_p99, verdict.cached_slowest)) == (
        0.05,
        0.099,
        0.1,
    )
    assert pytest.approx((verdict.slowest_503, verdict.slowest_other)) == (0.25, 0.5)


def test_only_what_came_after_the_fault_counts() -> None:
    history = History(written(OK, NO), [other(1, 503), other(3)], {FAULT: 2})
    verdict = history.check()
    assert verdict.others == {200: 1}
    assert verdict.writes == {NO: 1}


def test_an_untrue_answer_is_no_error_of_redis() -> None:
    """A station that was there is not found: worse than any 503."""
    lookup = other(1, 404)
    assert [lookup] == History(lookups=[lookup]).check().others_wrong


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], None),
        ([200, 200], None),
        ([200, 200, 200], 0),
        ([503, 200, 200, 200, 503], 0.1),
        ([503, 200, 200, 503, 200, 200, 200], 3.1),
        ([503, 200, 200, 503, 200, 200], None),
        ([0, 404, 200, 200, 200], 1.1),
    ],
)
def test_back_to_normal(statuses: list[int], expected: float | None) -> None:
    """From the moment until the last error before three answers in a row."""
    before = [other(n, 503) for n in range(10)]
    lookups = before + [other(10 + n, status) for n, status in enumerate(statuses)]
    assert pytest.approx(expected) == back_to_normal(lookups, 10, 3)


def test_writes_are_back_when_one_is_acknowledged() -> None:
    history = History(written(OK, UNKNOWN, NO, OK), marks={FAULT: 1, MASTER: 2})
    assert pytest.approx(2.5) == history.check().writes_after
    history.marks[MASTER] = 5
    assert history.check().writes_after is None


@pytest.mark.parametrize(
    ("values", "expected"), [([], 0), ([5], 5), ([1, 2], 1), ([3, 1, 2], 2), ([1, 2, 3, 4], 2)]
)
def test_percentile(values: list[float], expected: float) -> None:
    assert expected == percentile(values, 0.5)


def test_a_verdict_is_one_line() -> None:
    verdict = str(ended_with(None, written(OK)).check())
    assert "1 lost" in verdict
    assert "\n" not in verdict

"""The judge of histories finds each write that was acknowledged and is lost."""

import pytest

from tests.support.histories import (
    NO,
    OK,
    PATH,
    REGISTERED_AGAIN,
    UNKNOWN,
    done,
    ended_with,
    of,
    written,
)
from tests.support.topologies.seen import ABSENT, Outcome, State, Version, Write
from tests.support.topologies.verdict import Loss


@pytest.mark.parametrize(
    ("found", "outcomes"),
    [
        (None, []),
        (None, [UNKNOWN]),
        (1, [UNKNOWN]),
        (1, [OK]),
        (2, [OK, OK]),
        (1, [OK, NO]),
        (1, [OK, UNKNOWN]),
        (2, [OK, UNKNOWN, UNKNOWN]),
        (3, [OK, UNKNOWN, UNKNOWN, NO]),
        (3, [UNKNOWN, NO, OK]),
    ],
)
def test_nothing_is_lost(found: Version, outcomes: list[Outcome]) -> None:
    """The last acknowledged version stands, or a later one of unknown fate."""
    verdict = ended_with(found, written(*outcomes)).check()
    assert verdict.lost == []
    assert verdict.wrong == []


@pytest.mark.parametrize(
    ("found", "outcomes", "loss"),
    [
        (None, [OK], Loss("Redis", PATH, None, of(1))),
        (1, [OK, OK], Loss("Redis", PATH, 1, of(2))),
        (None, [OK, UNKNOWN], Loss("Redis", PATH, None, of(1, 2))),
        (1, [OK, OK, UNKNOWN], Loss("Redis", PATH, 1, of(2, 3))),
        (1, [UNKNOWN, OK], Loss("Redis", PATH, 1, of(2), overtaken=True)),
        (99, [OK], Loss("Redis", PATH, 99, of(1))),
    ],
)
def test_a_lost_write_is_found(found: Version, outcomes: list[Outcome], loss: Loss) -> None:
    assert [loss] == ended_with(found, written(*outcomes)).check().lost


def test_each_place_is_judged() -> None:
    history = ended_with(1, written(OK))
    history.found["service"] = {PATH: None}
    assert [loss.place for loss in history.check().lost] == ["service"]


def test_a_key_that_was_not_read_in_the_end_is_no_pass() -> None:
    history = ended_with(1, written(OK))
    history.found["service"] = {}
    with pytest.raises(ValueError, match=PATH):
        history.check()


def test_a_deletion_stands_or_is_lost() -> None:
    writes = written(OK, OK, deletes=(2,))
    assert ended_with(None, writes).check().lost == []
    assert {PATH} == ended_with(1, writes).check().lost_paths


def test_a_record_that_was_gone_before_its_deletion_is_lost() -> None:
    """The last state looks right, so only the deletion's 404 tells."""
    first, second = written(OK, OK, deletes=(2,))
    missing = second._replace(missing=True)
    assert [loss.place for loss in ended_with(None, [first, missing]).check().lost] == ["delete"]
    maybe = first._replace(outcome=UNKNOWN)
    assert ended_with(None, [maybe, missing]).check().lost == []


@pytest.mark.parametrize(
    ("found", "writes"),
    [
        (State(1, blocked=True), done("register", "block")),
        (None, done("register", "block")),  # by what a service shows
        (State(3, blocked=True), done(*REGISTERED_AGAIN)),
        (State(3), done(*REGISTERED_AGAIN, outcomes={2: UNKNOWN})),
        (State(3, blocked=True), done(*REGISTERED_AGAIN, outcomes={2: UNKNOWN})),
        (State(1, blocked=True), done(*REGISTERED_AGAIN, outcomes={3: UNKNOWN})),
        (State(3), done(*REGISTERED_AGAIN, outcomes={2: NO})),
        (State(3), done(*REGISTERED_AGAIN, "allow")),
        (3, done(*REGISTERED_AGAIN, "allow", outcomes={4: UNKNOWN})),
        (State(4), done("register", "block", "delete", "register")),
        (None, done("block", missing=1)),
        (None, done("register", "delete", "delete", missing=3)),
        (ABSENT, done("register", "delete", "delete", outcomes={2: UNKNOWN}, missing=3)),
    ],
)
def test_a_block_and_a_deletion_stand(found: State | Version, writes: list[Write]) -> None:
    verdict = ended_with(found, writes).check()
    assert verdict.lost == []
    assert verdict.lifted_paths == verdict.resurrected_paths == set()


@pytest.mark.parametrize(
    ("found", "writes"),
    [
        (State(1), done("register", "block")),
        (1, done("register", "block")),
        (State(3), done(*REGISTERED_AGAIN)),
        (3, done(*REGISTERED_AGAIN)),
        (State(3), done(*REGISTERED_AGAIN, outcomes={3: UNKNOWN})),
        (State(1), done("register", "block", "allow", outcomes={3: NO})),
        (State(1), done("register", "block", "delete", outcomes={3: UNKNOWN})),
    ],
)
def test_a_lifted_block_is_found(found: State | Version, writes: list[Write]) -> None:
    verdict = ended_with(found, writes).check()
    assert verdict.lifted_paths == verdict.lost_paths == {PATH}
    assert verdict.resurrected_paths == set()
    assert "1 lifted, 0 resurrected" in str(verdict)


def test_a_blocked_station_that_is_gone_is_lost() -> None:
    """No lookup would tell."""
    verdict = ended_with(ABSENT, done("register", "block")).check()
    assert verdict.lost_paths == {PATH}
    assert verdict.lifted_paths == set()


@pytest.mark.parametrize(
    "writes",
    [
        done("register", "delete"),
        done("register", "delete", "delete", missing=3),
        # through another process, after one of unknown fate: a definite answer all the same
        done("register", "delete", "delete", outcomes={2: UNKNOWN}, missing=3),
        done("register", "delete", "block", outcomes={2: UNKNOWN}, missing=3),
    ],
)
@pytest.mark.parametrize("found", [State(1), State(1, blocked=True), 1])
def test_a_resurrected_record_is_found(found: State | Version, writes: list[Write]) -> None:
    verdict = ended_with(found, writes).check()
    assert verdict.resurrected_paths == verdict.lost_paths == {PATH}
    assert "0 lifted, 1 resurrected" in str(verdict)

"""The histories' checker finds what was planted; one that cannot fail would be worth nothing."""

from collections.abc import Iterator

import orjson
import pytest

from tests.conftest import StartService
from tests.support.topologies import workload
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.history import (
    ABSENT,
    FAULT,
    MASTER,
    OVER,
    Group,
    History,
    Lookup,
    Loss,
    Outcome,
    State,
    Version,
    Write,
    back_to_normal,
    percentile,
)
from tests.support.topologies.standalone import Standalone
from tests.support.topologies.workload import Record, Workload, found_in_redis

OK, NO, UNKNOWN = Outcome.ACKNOWLEDGED, Outcome.REFUSED, Outcome.UNKNOWN
PATH = "/cs/a/auth"


def written(*outcomes: Outcome, deletes: tuple[int, ...] = ()) -> list[Write]:
    """Writes 1, 2, … of one key, each from one second to the next half."""
    return [
        Write(PATH, None if version in deletes else version, version, version + 0.5, outcome)
        for version, outcome in enumerate(outcomes, 1)
    ]


def looked_up(
    start: float,
    version: Version = None,
    *,
    status: int = 200,
    group: Group = Group.WRITTEN,
    took: float = 0.1,
    expected: tuple[int, Version] = (200, None),
) -> Lookup:
    return Lookup(PATH, group, start, start + took, status, version, expected)


def other(start: float, status: int = 200) -> Lookup:
    return looked_up(start, status=status, group=Group.OTHER)


def of(*versions: int) -> frozenset[State]:
    """What may be there, nothing being blocked."""
    return frozenset(map(State, versions))


def done(*kinds: str, outcomes: dict[int, Outcome] | None = None, missing: int = 0) -> list[Write]:
    """Writes of these kinds, numbered from 1; acknowledged unless it is said otherwise."""
    blocks = {"block": True, "allow": False}
    return [
        Write(
            PATH,
            number if kind == "register" else None,
            number,
            number + 0.5,
            (outcomes or {}).get(number, OK),
            missing=number == missing,
            blocks=blocks.get(kind),
        )
        for number, kind in enumerate(kinds, 1)
    ]


def ended_with(found: State | Version, writes: list[Write]) -> History:
    return History(writes, found={"Redis": {PATH: found}})


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


REGISTERED_AGAIN = ("register", "block", "register")


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


@pytest.fixture(scope="module")
def one() -> Iterator[Standalone]:
    with Standalone() as running:
        yield running


def small(*urls: str, seed: int) -> Workload:
    return Workload(*urls, cached=20, cold=50, writers=4, keys=10, seed=seed)


def test_a_fault_without_loss(one: Standalone, start_service: StartService) -> None:
    """Redis is killed and comes back with all that it acknowledged."""
    service = start_service(**one.settings, lookup__timeout="0.5")
    with small(service.url, seed=1) as load:
        load.start()
        load.wait_for_writes()
        load.mark(FAULT)
        one.node.kill()
        load.wait_for_answers(5, 503)
        one.node.start()
        load.mark(MASTER)
        load.wait_until_normal()
        load.wait_for_writes()
        verdict = load.stop(one).check()
    assert verdict.lost == [], verdict
    assert verdict.wrong + verdict.cached_failures + verdict.others_wrong == [], verdict
    assert verdict.old_when_over == []
    assert verdict.cached > 0
    assert verdict.writes[OK] > 0
    assert verdict.writes[NO] + verdict.writes[UNKNOWN] > 0
    assert verdict.others[503] >= 5
    assert verdict.normal_after is not None


def test_losses_that_were_planted_are_found(one: Standalone, start_service: StartService) -> None:
    """Two services; a record of each kind is gone from Redis, behind their backs."""
    urls = [start_service(**one.settings).url for _ in range(2)]
    with small(*urls, seed=2) as load:
        load.start()
        load.wait_for_writes(50)
        history = load.stop()
        standing = {path: version for path, version in history.found[urls[0]].items() if version}
        planted = [
            next(
                record for record in load.records if record.kind == kind and record.path in standing
            )
            for kind in ("station", "token", "certificate")
        ]
        for record in planted:
            assert one.node.call("DEL", record.redis_key) == 1, record
        history.found["Redis"] = found_in_redis(one, load.records)
        verdict = history.check()
    assert {record.path for record in planted} == verdict.lost_paths
    assert {"Redis"} == {loss.place for loss in verdict.lost}


def test_a_service_that_is_gone_is_recorded(
    one: Standalone, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its history has no end that could be judged."""
    monkeypatch.setattr(workload, "ANSWER", 0.5)
    service = start_service(**one.settings)
    with small(service.url, seed=3) as load:
        load.start()
        load.wait_for_writes()
        load.mark(FAULT)
        service.process.kill()
        load.wait_for_answers(5, 0)
        with pytest.raises(AssertionError, match="/auth: nothing"):
            load.stop()


def test_records_are_read_from_a_cluster() -> None:
    """Each from its master."""
    records = [Record("station", f"s{number}") for number in range(100)]
    with ClusterGroup(replicas=0) as cluster:
        for version, record in enumerate(records):
            _, body = record.write(version)
            assert isinstance(body, dict)
            password = orjson.dumps(body["base64SHA256Password"])
            cluster.master_of(record.redis_key).call(
                "HSET", record.redis_key, "base64SHA256Password", password
            )
        found = found_in_redis(cluster, [*records, Record("token", "NONE")])
    assert {record.path: State(at) for at, record in enumerate(records)} | {
        "/token/NONE": ABSENT
    } == found

"""A workload records what really happens, and losses that are planted are found."""

from collections.abc import Iterator

import orjson
import pytest

from tests.conftest import StartService
from tests.support.histories import NO, OK, UNKNOWN
from tests.support.topologies import clients, workload
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.load_requests import found_in_redis
from tests.support.topologies.records import Record
from tests.support.topologies.seen import ABSENT, FAULT, MASTER, State
from tests.support.topologies.standalone import Standalone
from tests.support.topologies.workload import Workload


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
    for module in (clients, workload):
        monkeypatch.setattr(module, "ANSWER", 0.5)
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

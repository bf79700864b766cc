"""Another data set is put under the same connection (SWAPDB), which no server tells of."""

import time

import orjson
import pytest

from tests.conftest import running_service, wait_for
from tests.support.judge import judge, until_ready
from tests.support.measure import say
from tests.support.topologies.node import Node, Word
from tests.support.topologies.records import PROPERTY, Record
from tests.support.topologies.seen import ABSENT, FAULT, MASTER, State
from tests.support.topologies.standalone import Standalone
from tests.support.topologies.workload import Workload

SERVICES = 2
PROBES = 3
"""Of each service after which it has been told of the swap: one of them began after it, and the
next when its answer was read."""
SLACK = 1.0  # seconds in which what was read is acted on, and those services differ that probe
OTHERS = 1_000_000  # added to the version of what differs in the other data set


def probes(node: Node) -> int:
    """How often the services have probed: with each goes a HELLO."""
    calls = node.info("commandstats")["cmdstat_hello"].split(",")[0]
    return int(calls.removeprefix("calls="))


def make_another(node: Node, load: Workload) -> dict[Record, tuple[State, State]]:
    """Fill database 1 with the same records, but for some; what each of these is here and there.

    As after a restore it does not have the identity of the first.
    """
    differ: dict[Record, tuple[State, State]] = {}
    commands: list[tuple[Word, ...]] = [
        ("COPY", record.redis_key, record.redis_key, "DB", 1) for record in load.records
    ]
    commands += [("COPY", "layout", "layout", "DB", 1), ("SELECT", 1)]
    for number, record in enumerate(load.hot):
        version = load.seeded(record)
        match number % 4:
            case 0:
                there = ABSENT
                commands.append(("DEL", record.redis_key))
            case 1:
                there = State(version + OTHERS)
                _, body = record.write(version + OTHERS)
                value = orjson.dumps(body[PROPERTY[record.kind]])
                commands.append(("HSET", record.redis_key, PROPERTY[record.kind], value))
            case 2 if record.kind == "station":
                there = State(version, blocked=True)
                commands.append(("HSET", record.redis_key, "registrationStatus", '"Rejected"'))
            case _:
                continue
        differ[record] = State(version), there
    node.calls(*commands)
    return differ


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_what_the_other_data_set_has_is_answered(times: int) -> None:
    """There and back, by services whose caches are full; what is in both is answered throughout."""
    with (
        Standalone() as one,
        running_service(**one.settings, lookup__unknown_ttl="600") as first,
        running_service(**one.settings, lookup__unknown_ttl="600") as second,
    ):
        for service in (first, second):
            until_ready(service)
        with Workload(
            first.url, second.url, cold=500, written_rate=400, write_rate=0, slack=0
        ) as load:
            differ = make_another(one.node, load)
            load.start()
            load.wait_for_lookups(1000)
            load.mark(FAULT)
            noticed: list[tuple[float, float]] = []
            for number in range(1, times + 1):
                before = probes(one.node)
                began = time.monotonic()
                one.node.call("SWAPDB", 0, 1)
                swapped = time.monotonic()
                load.note({each: state[number % 2] for each, state in differ.items()}, began)
                wait_for(
                    lambda before=before: probes(one.node) > before + PROBES * SERVICES,  # type: ignore[misc]
                    "the services have probed",
                )
                noticed.append((swapped, time.monotonic() + SLACK))
                load.wait_for_lookups(500)
            load.mark(MASTER)
            load.wait_until_normal()
            verdict = load.stop(one).check()
    latest = max((old.late for old in verdict.old), default=0)
    say(
        f"{times} times another data set, {len(differ)} of {len(load.hot)} records differ: "
        f"{verdict}; old answers: {len(verdict.old)}, latest {latest:.3f} s after it"
    )
    for swapped, until in noticed:
        assert [
            old for old in verdict.old if old.lookup.start > until and old.replaced <= swapped
        ] == []
    assert verdict.written > 0
    judge(verdict)

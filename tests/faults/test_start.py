"""The service starts while its Redis, or a part of it, is away, and is ready once that is back."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from redis.crc import key_slot

from tests.conftest import Reply, Service, password_hash, running_service, wait_for
from tests.support.judge import LATE_503
from tests.support.made import certificates, token
from tests.support.measure import say
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.node import Node
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.standalone import Standalone
from tests.support.topologies.topology import Topology

QUIET = 3.0  # seconds in which the service tries again several times, and says nothing new
PROMPT = 10.0  # seconds for a SIGTERM, of which one is wanted
PATIENCE = 60.0  # seconds to become ready
TIMEOUT = 0.5  # seconds after which a lookup is refused
SECRET = "s3cret-and-later-right"
RECORDS = 30  # so that some are of each master

_AWAY = {"Redis cannot be reached", "Redis's masters are in doubt"}
_OTHER = "cs:cs0"  # of another master than the storage layout's version
_LEAST_TELLING = f"the master of {_OTHER}, full coverage not wanted"


class Case(NamedTuple):
    """A part of a topology that is away.

    Attributes:
        name: of the test.
        topology: makes it.
        parts: which of its processes.
        said: by readiness, of what is missing; a regular expression.
        frozen: whether they are stopped and accept connections, rather than killed.
    """

    name: str
    topology: Callable[[], Topology]
    parts: Callable[[Any], list[Node]]
    said: str
    frozen: bool = False

    def __str__(self) -> str:
        """As pytest shows it."""
        return self.name


def _master_and_its_replica(cluster: ClusterGroup, key: str) -> list[Node]:
    master = cluster.master_of(key)
    return [master, *cluster.replicas(master)]


CASES = [
    Case("standalone killed", Standalone, lambda one: one.nodes, "connection refused"),
    Case("standalone frozen", Standalone, lambda one: one.nodes, "does not answer", frozen=True),
    Case("sentinels", SentinelGroup, lambda at: at.sentinels, "0 of 3 sentinels answer, 2 must"),
    Case(
        "two of three sentinels",
        SentinelGroup,
        lambda at: at.sentinels[1:],
        "1 of 3 sentinels answers, 2 must",
    ),
    Case("the master behind sentinels", SentinelGroup, lambda at: at.nodes, "connection refused"),
    Case("all behind Sentinel", SentinelGroup, lambda at: at.everyone, "0 of 3 sentinels answer"),
    Case("cluster", ClusterGroup, lambda at: at.nodes, "no node of the cluster answers"),
    Case(
        "cluster frozen",
        ClusterGroup,
        lambda at: at.nodes,
        "no node of the cluster answers",
        frozen=True,
    ),
]
_AS_TESTED = [pytest.param(case, marks=pytest.mark.slow) if case.frozen else case for case in CASES]
PARTS = [
    Case(
        f"the master of {key}, full coverage {'wanted' if full else 'not wanted'}",
        lambda full=full: ClusterGroup(full_coverage=full),  # type: ignore[misc]
        lambda at, key=key: _master_and_its_replica(at, key),  # type: ignore[misc]
        # wanting all, the other masters answer nothing either
        r"\d+ of 16384 slots have no master" + ("|it answers CLUSTERDOWN" if full else ""),
    )
    for key, full in ((_OTHER, True), (_OTHER, False), ("layout", False))
]
_PARTS_AS_TESTED = [
    pytest.param(case, marks=pytest.mark.slow) if case.name == _LEAST_TELLING else case
    for case in PARTS
]


@contextmanager
def started(case: Case) -> Iterator[tuple[Topology, list[Node], Service]]:
    """A topology, what of it is away, and a service that was started then."""
    with case.topology() as group:
        away = case.parts(group)
        for node in away:
            if case.frozen:
                node.freeze()
            else:
                node.kill()
        if case in PARTS:
            _wait_until_missed(group, away)
        with running_service(**group.settings, lookup__timeout=str(TIMEOUT)) as service:
            yield group, away, service


def _wait_until_missed(group: Topology, away: list[Node]) -> None:
    """Wait until the rest of the cluster has found out."""
    assert isinstance(group, ClusterGroup)
    ports = {node.address.port for node in away}
    rest = [node for node in group.nodes if node not in away]
    group.wait_until(
        lambda: all(
            ports <= {known.port for known in group.view(node) if "fail" in known.flags}
            for node in rest
        ),
        "the others know what failed",
    )


def _slots_of(group: ClusterGroup, away: list[Node]) -> set[int]:
    """The slots that nobody serves, as the rest of the cluster knows it."""
    ids = {group.id(node) for node in away}
    rest = next(node for node in group.nodes if node not in away)
    return {
        slot
        for (first, last), id_ in group.owners(rest).items()
        for slot in range(first, last + 1)
        if id_ in ids
    }


def bring_back(case: Case, away: list[Node]) -> None:
    """Start or thaw what is away, on the ports and with the data that it had."""
    for node in away:
        if case.frozen:
            node.thaw()
        else:
            node.spawn()
    for node in away:
        node.wait_until_up()


def ready(service: Service) -> Reply:
    """What readiness says."""
    return service.request("GET", "/health/ready")


def wait_until_ready(service: Service) -> float:
    """Wait until it is ready with all of Redis, and give the seconds that it took."""
    start = time.monotonic()

    def has_all() -> bool:
        reply = ready(service)
        return bool(reply.json["components"]["redis"] == "OK") and reply.status == 200

    wait_for(has_all, "the service has all of Redis", seconds=PATIENCE)
    return time.monotonic() - start


def says_what_is_missing(service: Service, said: str, *, serves: bool = False) -> None:
    """It lives, is ready only if a part is served, and says why."""
    assert service.request("GET", "/health/live").status == 200

    def says_so() -> bool:
        reply = ready(service)
        missing = bool(re.search(said, reply.json["components"]["redis"]))
        return missing and reply.status == (200 if serves else 503)

    wait_for(says_so, f"readiness says {said!r}")
    reply = ready(service)
    redis = reply.json["components"]["redis"]
    assert reply.status == (200 if serves else 503)
    assert re.search(said, redis)
    assert redis.startswith("33% of the records cannot be read: ") == serves
    assert reply.json["components"]["server"] == "OK"
    assert reply.json.get("error") == (None if serves else f"redis: {redis}")


def says_it_once(service: Service) -> None:
    """The log names what is missing, each thing once, however often it is tried."""

    def said() -> Counter[tuple[str, str, str]]:
        return Counter(
            (event["event"], event["redis"], event["reason"])
            for event in service.events()
            if event["event"] in _AWAY
        )

    wait_for(lambda: said().total() > 0, "the log says what is missing")
    later = []
    for _ in range(3):  # what a refused request asked of Redis may still be under way
        before = len(service.events())
        time.sleep(QUIET)
        later = service.events()[before:]
        if not later:
            break
    assert later == []
    assert set(said().values()) == {1}, said()


def refused_lookup(service: Service, path: str) -> float:
    """A lookup is told 503 in time; the seconds."""
    start = time.monotonic()
    reply = service.get(path)
    took = time.monotonic() - start
    assert reply.status == 503, reply
    assert reply.headers["Retry-After"]
    assert reply.error
    assert took < TIMEOUT + LATE_503
    return took


def station(name: str) -> tuple[str, object]:
    """Where to POST a station, and what."""
    record = {"securityProfile": 1, "base64SHA256Password": password_hash(name)}
    return f"/cs/{name}", record


def nothing_works(service: Service) -> None:
    """Lookups and writes of all kinds are told 503."""
    ((hash_, pem),) = certificates(1).items()
    took = [
        refused_lookup(service, path)
        for path in ("/cs/cs001/auth", "/token/T001", f"/certificate/{hash_}")
    ]
    for path, record in (
        station("cs001"),
        ("/token", token("T001", "Thoughtworks")),
        ("/certificate", {"certificate": pem}),
    ):
        reply = service.post(path, record)
        assert reply.status == 503, reply
        assert "Nothing was changed" in reply.error
    assert service.delete(f"/certificate/{hash_}").status == 503
    say(f"a lookup is refused after {max(took) * 1000:.0f} ms")


def all_works(service: Service) -> None:
    """Records on every master are written and found, and what nobody wrote is not there."""
    for number in range(RECORDS):
        path, record = station(f"works{number}")
        assert service.get(f"{path}/auth").status == 404
        assert service.post(path, record).status == 201
        assert service.get(f"{path}/auth").json == record
    ((hash_, pem),) = certificates(1).items()
    assert service.post("/token", token("WORKS", "Thoughtworks")).status == 201
    assert service.get("/token/WORKS").json["issuer"] == "Thoughtworks"
    assert service.post("/certificate", {"certificate": pem}).status == 201
    assert service.get(f"/certificate/{hash_}").json == {"certificate": pem}
    assert service.delete(f"/certificate/{hash_}").status == 204


@pytest.mark.parametrize("case", _AS_TESTED, ids=str)
def test_starts_while_redis_is_away(case: Case) -> None:
    """It says what is missing, refuses what it must, and is ready by itself when that is back."""
    with started(case) as (group, away, service):
        says_what_is_missing(service, case.said)
        nothing_works(service)
        says_it_once(service)

        bring_back(case, away)
        group.wait_for_master()

        took = wait_until_ready(service)
        say(f"{case}: ready {took:.1f} s after there was a master again")
        all_works(service)


@pytest.mark.parametrize("case", _PARTS_AS_TESTED, ids=str)
def test_starts_while_a_part_of_the_cluster_is_away(case: Case) -> None:
    """It serves what the rest serves: all but the slots away, or nothing if it wants them all."""
    names = [f"cs{number}" for number in range(RECORDS)]
    with started(case) as (group, away, service):
        assert isinstance(group, ClusterGroup)
        slots = _slots_of(group, away)
        assert (key_slot(b"layout") in slots) == ("layout" in case.name)
        lost = [name for name in names if key_slot(f"cs:{name}".encode()) in slots]
        there = [name for name in names if name not in lost]
        assert lost
        assert there
        serves = "not wanted" in case.name
        says_what_is_missing(service, case.said, serves=serves)
        for name in lost:
            refused_lookup(service, f"/cs/{name}/auth")
            assert service.post(*station(name)).status == 503
        if serves:
            for name in there:
                assert service.get(f"/cs/{name}/auth").status == 404
                assert service.post(*station(name)).status == 201
                assert service.get(f"/cs/{name}/auth").json == station(name)[1]
        else:
            nothing_works(service)
        says_it_once(service)
        assert any("slots have no master" in event.get("reason", "") for event in service.events())

        bring_back(case, away)
        group.wait_for_master()

        took = wait_until_ready(service)
        say(f"{case}: ready {took:.1f} s after there was a master again")
        all_works(service)


@pytest.mark.parametrize("case", _AS_TESTED, ids=str)
def test_stops_while_redis_is_away(case: Case) -> None:
    """SIGTERM ends it soon, whatever it waits for."""
    with started(case) as (_, _, service):
        says_what_is_missing(service, case.said)
        start = time.monotonic()
        assert service.stop() == 0
        took = time.monotonic() - start
        say(f"{case}: stopped after {took * 1000:.0f} ms")
        assert took < PROMPT
        assert service.events()[-1]["event"] == "stopped"


@pytest.mark.parametrize(
    ("topology", "said"),
    [
        (Standalone, "it refuses the user or the password"),
        (SentinelGroup, "it refuses the user or the password"),
        (ClusterGroup, "the user name or the password is wrong or missing"),
    ],
)
def test_user_that_is_made_later(topology: Callable[[], Topology], said: str) -> None:
    """The operator had not told Redis yet: from when that is done the service is ready."""
    with (
        topology() as group,
        running_service(
            redis__url=group.url_as("late", SECRET), lookup__timeout=str(TIMEOUT)
        ) as service,
    ):
        says_what_is_missing(service, said)
        nothing_works_without_password(service)
        says_it_once(service)

        for node in group.nodes:
            node.call("ACL", "SETUSER", "late", "on", f">{SECRET}", "~*", "&*", "+@all")

        took = wait_until_ready(service)
        say(f"{topology.__name__}: ready {took:.1f} s after its user was made")
        all_works(service)
        assert SECRET not in service.log


def test_password_that_is_corrected() -> None:
    """By `CONFIG SET`, on the one Redis."""
    with (
        Standalone(password="before") as one,
        running_service(redis__url=one.url_as("", SECRET), lookup__timeout=str(TIMEOUT)) as service,
    ):
        says_what_is_missing(service, "it refuses the user or the password")
        nothing_works_without_password(service)
        says_it_once(service)

        one.node.call("CONFIG", "SET", "requirepass", SECRET)
        one.node.credentials = ("default", SECRET)

        took = wait_until_ready(service)
        say(f"ready {took:.1f} s after the password was corrected")
        all_works(service)
        assert SECRET not in service.log


def nothing_works_without_password(service: Service) -> None:
    """Lookups and writes are told 503, and nobody what Redis said."""
    refused_lookup(service, "/cs/cs001/auth")
    reply = service.post(*station("cs001"))
    assert reply.status == 503, reply
    assert "Nothing was changed" in reply.error

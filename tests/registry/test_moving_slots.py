"""Records in slots of a real cluster that are being moved, while they are written and blocked."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis.cluster import RedisCluster
from redis.crc import key_slot

from tests.conftest import API, Reply, Service, running_service, wait_for
from tests.support.made import certificates
from tests.support.measure import say
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.load_requests import REFUSED
from tests.support.topologies.node import Node
from tests.support.topologies.records import Kind, Record
from tests.support.topologies.seen import Version

WORKERS = 4
AT_ONCE = 4  # slots that are written to while one of them moves
PACE = 0.03  # seconds that a slot is in each of its states
PROPERTY: dict[Kind, str] = {
    "station": "base64SHA256Password",
    "token": "issuer",
    "certificate": "certificate",
}


@pytest.fixture(scope="module")
def group() -> Iterator[ClusterGroup]:
    with ClusterGroup(replicas=0) as running:
        yield running


@pytest.fixture(scope="module")
def service(group: ClusterGroup) -> Iterator[Service]:
    with running_service(redis__url=group.url) as running:
        wait_for(lambda: running.request("GET", "/health/ready").status == 200, "ready")
        yield running


@pytest.fixture(scope="module")
def redis(group: ClusterGroup) -> Iterator[RedisCluster]:
    host, port = group.nodes[0].address
    with RedisCluster(host=host, port=port, decode_responses=True) as client:
        yield client


def set_status(service: Service, cs_id: str, status: str) -> Reply:
    body = json.dumps({"registrationStatus": status})
    headers = {"Content-Type": "application/json"}
    return service.request("PUT", f"{API}/cs/{cs_id}/registrationStatus", body, headers)


def ends(group: ClusterGroup, slot: int) -> tuple[Node, Node]:
    """The master of a slot, and another one that it can be moved to."""
    source = group.master(slot)
    return source, next(node for node in group.masters() if node is not source)


def slot_of(record: Record) -> int:
    return int(key_slot(record.redis_key.encode()))


def records_of(group: ClusterGroup, source: Node, count: int) -> list[Record]:
    """As many of each kind, each in another slot of one master."""
    made = [
        *(Record("station", f"moved-{number}") for number in range(count * 5)),
        *(Record("token", f"MOVED-{number}") for number in range(count * 5)),
        *(Record("certificate", hash_, pem) for hash_, pem in certificates(count * 5).items()),
    ]
    here = set(group.by_master(record.redis_key for record in made)[source])
    free = {slot_of(record): record for record in made if record.redis_key in here}
    found = [
        record
        for kind in PROPERTY
        for record in [each for each in free.values() if each.kind == kind][:count]
    ]
    assert len(found) == count * len(PROPERTY)
    return found


class Watched:
    """A record, and what it can be by what was answered: versions and statuses.

    Attributes:
        can_be: all that it can be.
        wrong: what it was and cannot have been.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self.slot = slot_of(record)
        self.can_be: set[tuple[Version, str]] = {(None, "")}
        self.wrong: list[str] = []
        self.lock = threading.Lock()
        self._version = 0

    def write(self, service: Service, redis: RedisCluster, status: str) -> tuple[str, str]:
        """Write the next version, or the status of a station, and look at what is stored.

        Returns:
            What was done and how it was answered.
        """
        if status:
            reply = set_status(service, self.record.id, status)
            after = {(version, status) for version, _ in self.can_be}
        else:
            self._version += 1
            reply = service.post(*self.record.write(self._version))
            after = {(self._version, self._registered(before)) for _, before in self.can_be}
        if reply.status in {201, 204}:
            self.can_be = after
        elif reply.status != 503:
            self.wrong.append(f"{reply.status} {reply.body.decode()}")
        elif REFUSED not in reply.error:
            self.can_be |= after
        self._look(redis)
        if reply.status == 503:
            return status or "register", reply.error
        return status or "register", f"{reply.status}"

    def _registered(self, before: str) -> str:
        if self.record.kind != "station":
            return ""
        return before if before == "Rejected" else "Pending"

    def _look(self, redis: RedisCluster) -> None:
        stored: Any = redis.hmget(
            self.record.redis_key, PROPERTY[self.record.kind], "registrationStatus"
        )
        value, status = (None if each is None else json.loads(each) for each in stored)
        found = (None if value is None else self.record.version(value), status or "")
        if found not in self.can_be:
            self.wrong.append(f"{found} and not one of {self.can_be}")
        self.can_be = {found}

    def see(self, service: Service) -> None:
        """What a gateway is answered: what is blocked, never."""
        ((version, status),) = self.can_be
        reply = service.get(self.record.path)
        expected = 404 if status == "Rejected" or version is None else 200
        if reply.status != expected:
            self.wrong.append(f"answered {reply.status} and not {expected}")


def test_a_blocked_station_stays_blocked_whatever_its_slot_goes_through(
    group: ClusterGroup, service: Service, redis: RedisCluster
) -> None:
    """Registered again before, while and after its key is moved, it is acknowledged each time."""
    slot = key_slot(b"cs:blocked")
    source, target = ends(group, slot)
    assert service.post("/cs/blocked", {"securityProfile": 2}).status == 201
    assert set_status(service, "blocked", "Rejected").status == 204

    def again(profile: int) -> None:
        body = {"securityProfile": profile} | ({"base64SHA256Password": "x"} if profile else {})
        assert service.post("/cs/blocked", body).status == 201
        assert service.get("/cs/blocked/auth").status == 404
        stored: dict[str, str] = redis.hgetall("cs:blocked")  # type: ignore[assignment] # not async
        assert stored["registrationStatus"] == '"Rejected"'
        assert stored["securityProfile"] == f"{profile}"
        assert ("base64SHA256Password" in stored) == (profile > 0)

    group.begin_migration(slot, source, target)
    for profile in (1, 0, 2):
        again(profile)
    assert source.call("CLUSTER", "GETKEYSINSLOT", slot, 10) == ["cs:blocked"]
    group.move_keys(slot, source, target)
    again(0)
    group.end_migration(slot, source, target)
    again(1)


@pytest.mark.parametrize("count", [15, pytest.param(150, marks=pytest.mark.slow)])
def test_nothing_is_lost_and_no_block_lifted_while_slots_are_moved(
    group: ClusterGroup, service: Service, redis: RedisCluster, count: int
) -> None:
    """One slot after another, while what is in it is written again, blocked and accepted."""
    source, target = ends(group, 0)
    watched = {each.slot: each for each in map(Watched, records_of(group, source, count))}
    slots = random.Random(count).sample(sorted(watched), len(watched))
    moving = 0  # how many have been moved
    over = threading.Event()
    answers: Counter[tuple[str, str]] = Counter()

    def work(number: int) -> None:
        chance = random.Random(number)
        while not over.is_set():
            one = watched[chance.choice(slots[moving : moving + AT_ONCE] or slots)]
            with one.lock:
                station = one.record.kind == "station" and one.can_be != {(None, "")}
                status = chance.choice(["", "", "Rejected", "Accepted"]) if station else ""
                answers[one.write(service, redis, status)] += 1
                one.see(service)

    with ThreadPoolExecutor(WORKERS) as workers:
        working = [workers.submit(work, number) for number in range(WORKERS)]
        try:
            for slot in slots:
                group.begin_migration(slot, source, target)
                time.sleep(PACE)
                while group.move_keys(slot, source, target):
                    time.sleep(PACE)
                group.end_migration(slot, source, target)
                moving += 1
        finally:
            over.set()
    for each in working:
        each.result()

    said = ", ".join(f"{what} {answer}: {n}" for (what, answer), n in sorted(answers.items()))
    say(f"{len(slots)} slots moved: {said}")
    assert {one.record.path: one.wrong for one in watched.values() if one.wrong} == {}
    assert sum(answers.values()) > len(slots)
    for one in watched.values():
        one.write(service, redis, "")
        assert one.wrong == []

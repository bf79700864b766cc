"""A replica lags, records are deleted, again and through another process, and it is promoted."""

import json
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

import pytest

from tests.conftest import API, Reply, Service, running_service
from tests.support.judge import judge, until_ready
from tests.support.made import TOKEN
from tests.support.measure import say
from tests.support.program import run_text
from tests.support.service import environment
from tests.support.topologies.history import History
from tests.support.topologies.seen import FAULT, MASTER, Outcome, Version, Write
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.workload import Workload

PEM = (Path(__file__).parents[1] / "data/certificates/HUBOpenProvCert001.pem").read_text("ascii")
CERTIFICATE = "/certificate/1KOlEbBBpCleKkKEbIDwfq_u-zHhkzzH7mGYdfHz1SU"
STATION = {"securityProfile": 2}
RECORDS = {
    **{f"/cs/cs{number}": (f"/cs/cs{number}", STATION) for number in range(3)},
    "/token/DEADBEEF": ("/token", TOKEN),
    CERTIFICATE: ("/certificate", {"certificate": PEM}),
}
"""What is deleted, and how it is made."""

LATE = "late"  # a station that only the master has


class Writers:
    """Two processes, and all that they were answered."""

    def __init__(self, one: Service, other: Service) -> None:
        self.each = (one, other)
        self.history = History()

    def make(self, path: str) -> int:
        """By the first."""
        where, record = RECORDS[path]
        began = monotonic()
        return self._note(path, 1, began, self.each[0].post(where, record))

    def delete(self, path: str, by: int) -> int:
        """By one of the two."""
        began = monotonic()
        return self._note(path, None, began, self.each[by].delete(path))

    def _note(self, path: str, version: Version, began: float, reply: Reply) -> int:
        outcome = Outcome.ACKNOWLEDGED
        if reply.status == 503:
            certain = "Nothing was changed" in reply.error
            outcome = Outcome.REFUSED if certain else Outcome.UNKNOWN
        missing = reply.status == 404
        write = Write(path, version, began, monotonic(), outcome, missing=missing)
        self.history.writes.append(write)
        return reply.status

    def look(self, place: str, service: Service) -> None:
        """Note what is there in the end."""
        found = {}
        for path in RECORDS:
            status = service.get(f"{path}/auth" if path.startswith("/cs") else path).status
            assert status in {200, 404}
            found[path] = 1 if status == 200 else None
        self.history.found[place] = found


def block(service: Service, cs_id: str) -> int:
    """PUT its status."""
    body = json.dumps({"registrationStatus": "Rejected"})
    path = f"{API}/cs/{cs_id}/registrationStatus"
    headers = {"Content-Type": "application/json"}
    return service.request("PUT", path, body, headers).status


def add(home: Path, settings: Mapping[str, str], cs_id: str) -> str:
    """Add a station unless it is there, as an operator does; what is said."""
    done = run_text(
        *("station", "add", cs_id, "--security-profile", "2"),
        cwd=home,
        env=environment({f"CSMS_{name.upper()}": value for name, value in settings.items()}),
    )
    assert done.returncode == 1, done.stderr
    return done.stderr


def test_nothing_is_said_that_the_replica_does_not_know(tmp_path: Path) -> None:
    """Whatever was answered for certain is so after the failover, which loses the rest."""
    with SentinelGroup(replicas=1) as group:
        settings = {
            "redis__url": group.url,
            "redis__wait_replicas": "1",
            "redis__wait_timeout": "0.5",
        }
        with running_service(**settings) as one, running_service(**settings) as other:
            writers = Writers(one, other)
            for service in writers.each:
                until_ready(service)
            made = [writers.make(path) for path in RECORDS]
            assert made == [201] * len(RECORDS)
            master, replica = group.master(), group.replicas()[0]
            replica.freeze()
            deleted = [writers.delete(path, by) for by in (0, 1, 0, 1) for path in RECORDS]
            blocked = [block(service, "cs0") for service in writers.each]
            added = one.post(f"/cs/{LATE}", STATION).status
            said = add(tmp_path, settings, LATE)

            master.kill()
            replica.kill()  # what it has not read is lost with it
            replica.start()
            group.wait_for_new_master(master)
            for service in writers.each:
                until_ready(service)
            writers.look("after the failover", other)
            assert other.get(f"/cs/{LATE}/auth").status == 404
            assert writers.history.check().lost == []
            assert {*deleted, *blocked, added} == {503}
            assert "may have been applied" in said

            master.start()
            group.wait_until_settled()
            again = [writers.delete(path, 1) for path in RECORDS]
            assert again == [204] * len(RECORDS)
            gone = [writers.delete(path, 0) for path in RECORDS]
            assert gone == [404] * len(RECORDS)
            writers.history.found.clear()
            writers.look("in the end", one)
            assert writers.history.check().lost == []


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_load_through_several_services(times: int) -> None:
    """Registering, blocking and deleting go on while the replica lags, and what fails is repeated.

    Each time the replica has not read what it was sent when it becomes the master.
    """
    with SentinelGroup(replicas=1) as group:
        settings = group.settings | {"redis__wait_replicas": "1", "redis__wait_timeout": "0.3"}
        with (
            running_service(**settings) as one,
            running_service(**settings) as other,
            running_service(**settings) as third,
        ):
            for service in (one, other, third):
                until_ready(service)
            with Workload(
                one.url,
                other.url,
                repeater=third.url,
                cold=1000,
                fresh=0.3,
                keys=10,
                write_rate=120,
            ) as load:
                load.start()
                load.wait_for_writes(100)
                load.mark(FAULT)
                for _ in range(times):
                    master, replica = group.master(), group.replicas()[0]
                    replica.freeze()
                    load.wait_for_writes_of(Outcome.UNKNOWN, 60)
                    master.kill()
                    replica.kill()
                    replica.start()
                    group.wait_for_new_master(master)
                    load.mark(MASTER)
                    load.wait_until_normal()
                    master.start()
                    group.wait_until_settled()
                    load.wait_for_writes(50)
                verdict = load.stop(group).check()
    say(f"a replica lagged and was promoted, {times} times: {verdict}")
    assert verdict.writes[Outcome.UNKNOWN] > 0
    judge(verdict)

"""The storage layout's version: written, read, and respected."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.conftest import DATA, Service, password_hash, running_service, wait_for
from tests.support.service import run
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.node import Node
from tests.support.topologies.standalone import Standalone
from tests.support.topologies.topology import Topology

KEY = "a:layout"
STATION = "a:cs:cs001"
PREFIX = {"redis__key_prefix": "a:"}
QUICK = {"lookup__timeout": "1"}  # seconds until it says that Redis is not used


@pytest.fixture(scope="module", params=[Standalone, ClusterGroup], ids=["standalone", "cluster"])
def shared(request: pytest.FixtureRequest) -> Iterator[Topology]:
    make: Callable[[], Topology] = request.param
    with make() as topology:
        yield topology


@pytest.fixture
def topology(shared: Topology) -> Topology:
    """Without records."""
    for node in shared.nodes:
        if node.role() == "master":
            node.call("FLUSHALL")
    return shared


def owner(topology: Topology, key: str = KEY) -> Node:
    """The master that has a key."""
    if isinstance(topology, ClusterGroup):
        return topology.master_of(key)
    return topology.nodes[0]


def served(topology: Topology) -> AbstractContextManager[Service]:
    return running_service(**topology.settings, **PREFIX, **QUICK)


def serve_to_its_end(topology: Topology, home: Path) -> subprocess.CompletedProcess[bytes]:
    names = {f"CSMS_{name.upper()}": value for name, value in (topology.settings | PREFIX).items()}
    return run("serve", cwd=home, settings=names | {"CSMS_SERVER__PORT": "0"})


def ready(service: Service) -> bool:
    return service.request("GET", "/health/ready").status == 200


def masters_of(topology: Topology) -> int:
    return len(topology.masters()) if isinstance(topology, ClusterGroup) else 1


def unused(service: Service) -> int:
    """Masters that the log says are not used."""
    return len({event["redis"] for event in service.events("Redis is not used")})


def test_a_new_store_gets_the_version(topology: Topology) -> None:
    with served(topology) as service:
        wait_for(lambda: ready(service), "ready")
        assert owner(topology).call("GET", KEY) == "1"
        assert owner(topology).call("TTL", KEY) == -1


# Records as the first version of the layout has them: this stays when the code changes.
TOKEN = {
    "countryCode": "DE",
    "partyId": "TNM",
    "type": "RFID",
    "uid": "Dead-Beef",
    "contractId": "DE8ACC12E46L891",
    "issuer": "TheNewMotion",
    "valid": True,
    "cacheMode": "ALWAYS",
    "lastUpdated": "2026-11-24T10:00:00Z",
}
PEM = (DATA / "certificates" / "root-V2G-cert.pem").read_text("ascii")
HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak="


def test_the_records_of_before_are_served(topology: Topology) -> None:
    """A store without a version has this one's layout."""
    records: dict[str, dict[str, object]] = {
        STATION: {
            "securityProfile": 1,
            "base64SHA256Password": password_hash("secret"),
            "registrationStatus": "Accepted",
            "lastUpdated": "2026-11-24T10:00:00Z",
        },
        "a:token:DEAD-BEEF": TOKEN,
        f"a:certificate:{HASH}": {"certificate": PEM, "lastUpdated": "2026-11-24T10:00:00Z"},
    }
    for key, record in records.items():
        fields = [text for name, value in record.items() for text in (name, json.dumps(value))]
        owner(topology, key).call("HSET", key, *fields)
    with served(topology) as service:
        wait_for(lambda: ready(service), "ready")
        assert service.get("/cs/cs001/auth").json == {
            "securityProfile": 1,
            "base64SHA256Password": password_hash("secret"),
        }
        assert service.get("/token/dead-beef").json == TOKEN
        assert service.get(f"/certificate/{HASH}").json == {"certificate": PEM}
        assert owner(topology).call("GET", KEY) == "1"
    with served(topology) as service:
        wait_for(lambda: ready(service), "ready with the version that is there")


@pytest.mark.parametrize("version", ["2", "0", "999999999"])
def test_another_version_is_refused_at_the_start(
    version: str, topology: Topology, tmp_path: Path
) -> None:
    owner(topology).call("SET", KEY, version)
    ended = serve_to_its_end(topology, tmp_path)
    assert ended.returncode == 1
    *_, line = ended.stderr.decode().splitlines()
    assert line == (
        f"csms-redis: The records in Redis have storage layout {version} (key {KEY}), and this "
        "version of csms-redis knows 1: run the one that wrote them."
    )
    assert "Traceback" not in ended.stderr.decode()
    assert owner(topology).call("GET", KEY) == version


@pytest.mark.parametrize("command", [("SET", KEY, "s3cret"), ("HSET", KEY, "a", "b")])
def test_a_foreign_key_is_refused(
    command: tuple[str, ...], topology: Topology, tmp_path: Path
) -> None:
    owner(topology).call(*command)
    ended = serve_to_its_end(topology, tmp_path)
    assert ended.returncode == 1
    assert "Set redis.key_prefix" in ended.stderr.decode()
    assert "s3cret" not in ended.stderr.decode()


@pytest.mark.parametrize(
    "command",
    [
        ("station", "add", "cs002", "--security-profile", "2"),
        ("station", "show", "cs001"),
        ("import", "stations", "fleet.csv"),
        ("export", "stations", "out.csv"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_no_command_touches_another_version(
    command: tuple[str, ...], topology: Topology, tmp_path: Path
) -> None:
    (tmp_path / "fleet.csv").write_text("csId,securityProfile\ncs002,2\n")
    owner(topology, STATION).call("HSET", STATION, "securityProfile", "2")
    owner(topology).call("SET", KEY, "2")
    names = {f"CSMS_{name.upper()}": value for name, value in (topology.settings | PREFIX).items()}
    ended = run(*command, cwd=tmp_path, settings=names)
    assert ended.returncode == 1
    assert "storage layout 2" in ended.stderr.decode()
    assert ended.stdout == b""
    assert owner(topology, "a:cs:cs002").call("EXISTS", "a:cs:cs002") == 0


def test_check_tells_it(topology: Topology, tmp_path: Path) -> None:
    """Nothing is written by it."""
    names = {f"CSMS_{name.upper()}": value for name, value in (topology.settings | PREFIX).items()}

    def told() -> tuple[int, str]:
        ended = run("check", cwd=tmp_path, settings=names)
        (line,) = (each for each in ended.stdout.decode().splitlines() if "  layout  " in each)
        return ended.returncode, line

    code, line = told()
    assert (code, line.split()[0]) == (0, "ok")
    assert "none yet" in line
    assert owner(topology).call("EXISTS", KEY) == 0
    owner(topology).call("SET", KEY, "1")
    assert told()[1].split()[:3] == ["ok", "layout", "1,"]
    owner(topology).call("SET", KEY, "2")
    code, line = told()
    assert code == 1
    assert "storage layout 2" in line


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
def test_another_version_that_appears_while_it_serves(topology: Topology, *, tracked: bool) -> None:
    """From when the change is heard, or after the next loss at the latest, nothing is written."""
    owner(topology, STATION).call("HSET", STATION, "securityProfile", "2")
    # A process that has read the fleet stays ready, and answers from memory.
    known = {"lookup__preload": "false"} if tracked else {"lookup__cache_entries": "0"}
    with running_service(**topology.settings, **PREFIX, **QUICK, **known) as service:
        wait_for(lambda: ready(service), "ready")
        assert service.post("/cs/cs002", {"securityProfile": 2}).status == 201
        owner(topology).call("SET", KEY, "2")
        if not tracked:
            owner(topology).call("CLIENT", "KILL", "TYPE", "normal")

        def refusal() -> str:
            reply = service.post("/cs/cs002", {"securityProfile": 2})
            return "" if reply.status == 201 else reply.error

        wait_for(lambda: "storage layout 2" in refusal(), "writes are refused")
        wait_for(lambda: not ready(service), "not ready")
        wait_for(lambda: unused(service) == masters_of(topology), "no master is read")
        assert service.get("/cs/cs001/auth").status == 503

        owner(topology).call("SET", KEY, "1")
        wait_for(lambda: ready(service), "ready")
        assert service.get("/cs/cs001/auth").json == {"securityProfile": 2}
        assert refusal() == ""


def test_the_version_is_written_again_after_a_flush(topology: Topology) -> None:
    """The next program to come is to know what the records of since then are."""
    with served(topology) as service:
        wait_for(lambda: ready(service), "ready")
        owner(topology).call("FLUSHALL")
        wait_for(lambda: owner(topology).call("GET", KEY) == "1", "it is there")
        assert service.post("/cs/cs002", {"securityProfile": 2}).status == 201


def test_another_version_on_a_master_that_was_away() -> None:
    """Its cluster is served without it, and no more when it is back and what it has is known."""
    with ClusterGroup(full_coverage=False) as cluster:
        of_layout = owner(cluster)
        of_layout.call("SET", KEY, "2")
        away = [of_layout, *cluster.replicas(of_layout)]
        cluster.wait_until(lambda: of_layout.call("WAIT", 1, 100) == 1, "its replica has it")
        there = next(
            name
            for name in (f"cs{number}" for number in range(100))
            if owner(cluster, f"a:cs:{name}") is not of_layout
        )
        for node in away:
            node.kill()
        with served(cluster) as service:
            wait_for(
                lambda: service.post(f"/cs/{there}", {"securityProfile": 2}).status == 201,
                "the other masters are written to",
            )
            assert service.get(f"/cs/{there}/auth").json == {"securityProfile": 2}
            for node in away:
                node.start()

            def refusal() -> str:
                reply = service.post(f"/cs/{there}", {"securityProfile": 2})
                return "" if reply.status == 201 else reply.error

            wait_for(lambda: "storage layout 2" in refusal(), "writes are refused")
            wait_for(lambda: unused(service) == masters_of(cluster), "no master is read")
            assert service.get("/cs/other/auth").status == 503
            key = f"a:cs:{there}"
            owner(cluster, key).call("DEL", key)
            assert "storage layout 2" in refusal()
            assert owner(cluster, key).call("EXISTS", key) == 0
            owner(cluster).call("SET", KEY, "1")
            wait_for(lambda: ready(service), "ready")
            assert refusal() == ""


@pytest.mark.parametrize("make", [Standalone, ClusterGroup])
def test_another_version_that_appears_while_redis_is_away(make: Callable[[], Topology]) -> None:
    """Nothing is served or written, which is said, until the records are this program's."""
    with make() as topology:
        owner(topology, STATION).call("HSET", STATION, "securityProfile", "2")
        owner(topology).call("SET", KEY, "2")
        for node in topology.nodes:
            node.freeze()
        with served(topology) as service:
            wait_for(lambda: not ready(service), "not ready")
            for node in topology.nodes:
                node.thaw()

            def problem() -> str:
                reply = service.request("GET", "/health/ready")
                assert reply.status == 503
                return str(reply.json["components"]["redis"])

            wait_for(lambda: "storage layout 2" in problem(), "readiness names it")
            wait_for(lambda: service.events("Redis is not used"), "a line about it")
            assert service.get("/cs/cs001/auth").status == 503
            reply = service.post("/cs/cs002", {"securityProfile": 2})
            assert reply.status == 503
            assert "storage layout 2" in reply.error
            assert service.get("/cs").status == 503
            assert owner(topology, "a:cs:cs002").call("EXISTS", "a:cs:cs002") == 0

            owner(topology).call("SET", KEY, "1")
            wait_for(lambda: ready(service), "ready")
            assert service.get("/cs/cs001/auth").json == {"securityProfile": 2}

"""A backup that is restored into an empty store: the records are the same."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import API, DATA, Service, password_hash, running_service, wait_for
from tests.support.service import PROGRAM, environment
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.standalone import Standalone
from tests.support.topologies.topology import Topology

DEPLOY = Path(__file__).parents[2] / "deploy"
PEM, OTHER_PEM, ROOT_PEM = (
    (DATA / "certificates" / name).read_text("ascii")
    for name in ("HUBOpenProvCert001.pem", "HUBOpenProvCert002.pem", "root-V2G-cert.pem")
)
STATIONS = 300
TOKEN = {
    "countryCode": "GB",
    "partyId": "TWK",
    "type": "RFID",
    "contractId": "GBTWK012345678V",
    "issuer": "Thoughtworks",
    "visualNumber": "Ladé \u2028=1+1",
    "valid": True,
    "cacheMode": "ALWAYS",
}


def script(name: str, *arguments: str, home: Path, url: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(DEPLOY / name), *arguments],
        cwd=home,
        env=environment({"CSMS_REDIS__URL": url, "PROGRAM": PROGRAM}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


def records(topology: Topology) -> dict[str, dict[str, str]]:
    """Every record as it is stored."""
    found: dict[str, dict[str, str]] = {}
    for node in topology.nodes:
        if node.role() == "master":
            for key in node.call("KEYS", "*"):
                if key not in {"layout", "dataset"}:
                    words: list[Any] = node.call("HGETALL", key)
                    found[key] = dict(zip(words[::2], words[1::2], strict=True))
    return found


def fill(topology: Topology) -> None:
    """Through the API, as gateways' operators do, and as an import may."""
    with running_service(**topology.settings) as service:
        wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
        for number in range(STATIONS):
            station = {"securityProfile": 1, "base64SHA256Password": password_hash(f"p{number}")}
            assert service.post(f"/cs/cs{number:03}", station).status == 201
        assert service.post("/cs/plain", {"securityProfile": 2}).status == 201
        anyone = {"securityProfile": 1, "invalidUsernameAllowed": True}
        assert service.post("/cs/anyone", anyone).status == 201
        set_status(service, "cs001", "Rejected")
        set_status(service, "cs002", "Accepted")
        for number in range(20):
            assert service.post("/token", TOKEN | {"uid": f"DEAD{number:04}"}).status == 201
        assert service.post("/certificate", {"certificate": PEM}).status == 201
        assert service.post("/certificate", {"certificate": OTHER_PEM + ROOT_PEM}).status == 201


def set_status(service: Service, station: str, status: str) -> None:
    reply = service.request(
        "PUT",
        f"{API}/cs/{station}/registrationStatus",
        json.dumps({"registrationStatus": status}),
        {"Content-Type": "application/json"},
    )
    assert reply.status == 204


@pytest.fixture(scope="module")
def filled() -> Iterator[Standalone]:
    with Standalone() as topology:
        fill(topology)
        yield topology


@pytest.mark.parametrize("make", [Standalone, pytest.param(ClusterGroup, marks=pytest.mark.slow)])
def test_what_is_restored_is_what_was_backed_up(
    make: Callable[[], Topology], filled: Standalone, tmp_path: Path
) -> None:
    before = records(filled)
    assert len(before) == STATIONS + 24
    assert Counter(each.get("registrationStatus") for each in before.values()) == {
        '"Pending"': STATIONS,
        '"Rejected"': 1,
        '"Accepted"': 1,
        None: 22,
    }
    saved = script("backup.sh", "saved", home=tmp_path, url=filled.url)
    assert saved.returncode == 0, saved.stderr
    with make() as empty:
        for _ in range(2):  # it can be repeated
            restored = script("restore.sh", "saved", home=tmp_path, url=empty.url)
            assert restored.returncode == 0, restored.stderr
            assert records(empty) == before
        with running_service(**empty.settings) as service:
            wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
            assert service.get("/cs/cs007/auth").json == {
                "securityProfile": 1,
                "base64SHA256Password": password_hash("p7"),
            }
            assert service.get("/cs/cs001/auth").status == 404
            assert service.get("/cs/anyone/auth").json == {
                "securityProfile": 1,
                "invalidUsernameAllowed": True,
            }


def test_a_restore_lifts_no_block(tmp_path: Path) -> None:
    with Standalone() as topology, running_service(**topology.settings) as service:
        wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
        assert service.post("/cs/cs001", {"securityProfile": 2}).status == 201
        saved = script("backup.sh", "saved", home=tmp_path, url=topology.url)
        assert saved.returncode == 0, saved.stderr
        set_status(service, "cs001", "Rejected")
        restored = script("restore.sh", "saved", home=tmp_path, url=topology.url)
        assert restored.returncode == 0, restored.stderr
        assert service.get("/cs/cs001/auth").status == 404


def test_only_its_owner_may_read_it(filled: Standalone, tmp_path: Path) -> None:
    saved = script("backup.sh", "saved", home=tmp_path, url=filled.url)
    assert saved.returncode == 0, saved.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved"]
    directory = tmp_path / "saved"
    assert directory.stat().st_mode & 0o077 == 0
    assert {file.name for file in directory.iterdir()} == {
        "stations.jsonl",
        "tokens.jsonl",
        "certificates.jsonl",
    }
    assert all(file.stat().st_mode & 0o077 == 0 for file in directory.iterdir())


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    failed = script("backup.sh", "saved", home=tmp_path, url="redis://127.0.0.1:1")
    assert failed.returncode == 1
    assert b"cannot be reached" in failed.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_backup_replaces_none(filled: Standalone, tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    failed = script("backup.sh", "saved", home=tmp_path, url=filled.url)
    assert failed.returncode == 1
    assert b"is there already" in failed.stderr
    assert list((tmp_path / "saved").iterdir()) == []


def test_what_is_no_backup_is_not_restored(filled: Standalone, tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    failed = script("restore.sh", "saved", home=tmp_path, url=filled.url)
    assert failed.returncode == 1
    assert b"it is no backup" in failed.stderr


@pytest.mark.parametrize("name", ["backup.sh", "restore.sh"])
def test_usage(name: str, tmp_path: Path) -> None:
    told = script(name, home=tmp_path, url="redis://127.0.0.1:1")
    assert told.returncode == 2
    assert b"usage" in told.stderr

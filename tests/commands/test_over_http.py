"""Commands with --server: they print and end as those that open Redis themselves."""

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from redis import Redis

from tests.conftest import DATA, Service, Valkey, running_service, running_valkey
from tests.support.commands import TOKEN, Done, ran
from tests.support.program import PROGRAM

CERTIFICATE = str(DATA / "certificates" / "root-V2G-cert.pem")
HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak="
NOTHING = "A" * 43 + "="
FLEET = """csId,securityProfile,password,invalidUsernameAllowed,registrationStatus,lastUpdated
i1,1,first,,,
i2,9,second,,,
i3,0,,true,,2026-01-01T00:00:00+01:00
i 4,1,0123456789abcdef0123456789abcdef,,Accepted,
i1,2,NULL,,,
"""
OCPI = json.dumps(
    [
        {
            "country_code": "DE",
            "party_id": "TNM",
            "uid": "o1",
            "type": kind,
            "contract_id": "x",
            "issuer": "y",
            "valid": True,
            "whitelist": "ALWAYS",
            "last_updated": f"2026-01-0{day}T00:00:00Z",
        }
        for day, kind in ((2, "RFID"), (1, "APP_USER"), (3, "EMAID"))
    ]
)


class Both(NamedTuple):
    """A Redis of its own, and a service on another."""

    home: Path
    direct: Valkey
    behind: Valkey
    service: Service
    api: dict[str, str]

    def run(self, *words: str, stdin: str = "") -> Done:
        """Run a command both ways, which must print the same and end alike; as over HTTP."""
        found = []
        for name, place in (
            ("direct", {"CSMS_REDIS__URL": self.direct.url, **self.api}),
            ("http", {"CSMS_SERVER_URL": self.service.url}),
        ):
            home = self.home / name
            home.mkdir(exist_ok=True)
            (home / "fleet.csv").write_text(FLEET)
            (home / "tokens.json").write_text(OCPI)
            done = ran(home, place, *words, stdin=stdin)
            found.append((done, written(home)))
        direct, http = found
        assert (http[0].returncode, told(http[0].stdout)) == (
            direct[0].returncode,
            told(direct[0].stdout),
        ), http[0].stderr
        assert told(http[0].stderr) == told(direct[0].stderr)
        assert http[1] == direct[1]
        return http[0]


def told(output: str) -> list[str]:
    """The lines of an output in any order, without the audit's, and without what time decides."""
    lines = [line for line in output.splitlines() if not line.startswith('{"command"')]
    return sorted(
        re.sub(r"\d{4}-\d\d-\d\dT[0-9:]{8}Z|in [0-9.]+ s( \(\d+ rows/s\))?|password  .*", "…", line)
        for line in lines
    )


def written(home: Path) -> dict[str, list[str]]:
    """The files that commands made, but for their order and what time decides."""
    return {
        str(path.relative_to(home)): told(path.read_text())
        for path in sorted(home.rglob("*"))
        if path.is_file()
    }


class Places(NamedTuple):
    """What is kept for all tests of a kind."""

    direct: Valkey
    behind: Valkey
    service: Service

    def emptied(self, home: Path, **api: str) -> Both:
        """Both ways without a record."""
        for valkey in (self.direct, self.behind):
            with Redis(unix_socket_path=valkey.socket) as redis:
                for key in redis.scan_iter():
                    if key.partition(b":")[0] in {b"cs", b"token", b"certificate"}:
                        redis.delete(key)
        return Both(home, *self, {f"CSMS_{name.upper()}": value for name, value in api.items()})


@contextlib.contextmanager
def running_places(**api: str) -> Iterator[Places]:
    with (
        running_valkey() as direct,
        running_valkey() as behind,
        running_service(redis__url=behind.url, **api) as service,
    ):
        yield Places(direct, behind, service)


@pytest.fixture(scope="module")
def places() -> Iterator[Places]:
    with running_places() as running:
        yield running


@pytest.fixture
def both(places: Places, tmp_path: Path) -> Both:
    return places.emptied(tmp_path)


def test_stations(both: Both) -> None:
    both.run("station", "add", "s1", "--password-stdin", stdin="one")
    assert both.run("station", "add", "s1").returncode == 4
    both.run("station", "add", "s2", "--security-profile", "2", "--json")
    assert both.run("station", "add", "a+b").returncode == 2
    assert both.run("station", "add", "s1", "--replace").returncode == 0
    both.run("station", "show", "s1")
    both.run("station", "show", "s1", "--json")
    assert both.run("station", "show", "none").returncode == 3
    assert both.run("station", "show", "\n").returncode == 3
    both.run("station", "block", "s1")
    both.run("station", "add", "s1", "--replace", "--json")
    both.run("station", "list", "--status", "Rejected")
    both.run("station", "list", "--json")
    both.run("station", "list", "--sort", "csId", "--limit", "1")
    both.run("station", "set-password", "s1", "--password-stdin", stdin="a" * 32)
    both.run("station", "set-password", "none", "--password-stdin", stdin="two")
    both.run("station", "allow", "s1", "s2", "none")
    both.run("station", "block", "--prefix", "s", "--yes")
    both.run("station", "remove", "s1")
    assert both.run("station", "remove", "s1").returncode == 3


def test_ids_that_a_url_must_escape(both: Both) -> None:
    for cs_id in ("a/b?c%20", "Säule 1", "..", "{a}", "x:y"):
        both.run("station", "add", cs_id, "--security-profile", "2")
        both.run("station", "show", cs_id)
        both.run("station", "remove", cs_id)


def test_tokens(both: Both) -> None:
    both.run("token", "add", "Ab1", *TOKEN)
    assert both.run("token", "add", "aB1", *TOKEN).returncode == 4
    both.run("token", "add", "ab1", *TOKEN, "--replace", "--group-id", "n/a")
    both.run("token", "add", "ab1", *TOKEN, "--replace")
    both.run("token", "show", "AB1", "--json")
    assert both.run("token", "show", "none").returncode == 3
    both.run("token", "list", "--valid")
    both.run("token", "list", "--not-valid")
    assert both.run("token", "add", "x", *TOKEN[:-1], "GB-TWK-012345678-A").returncode == 2
    both.run("token", "remove", "ab1")


def test_certificates(both: Both) -> None:
    both.run("certificate", "add", CERTIFICATE)
    both.run("certificate", "show", HASH)
    assert both.run("certificate", "show", NOTHING).returncode == 3
    both.run("certificate", "list", "--expires-before", "2030-01-01T00:00:00Z")
    both.run("certificate", "list", "--json")
    both.run("export", "certificates", "pems", "--format", "pem")
    both.run("export", "certificates", "-")
    both.run("certificate", "remove", HASH)
    both.run("import", "certificates", "pems")
    assert both.run("certificate", "add", "-", stdin="no PEM").returncode == 2


@pytest.mark.parametrize(
    "options",
    [(), ("--only-new",), ("--replace",), ("--dry-run",), ("--all-or-nothing",)],
    ids=" ".join,
)
def test_imports(both: Both, options: tuple[str, ...]) -> None:
    """Into nothing and onto what is there; a block stays, and what a row does not say."""
    both.run("station", "add", "i1", "--password-stdin", stdin="old")
    both.run("station", "block", "i1")
    both.run("station", "add", "i3", "--generate-password")
    for _ in range(2):
        assert both.run("import", "stations", "fleet.csv", *options).returncode == 3
    both.run("station", "list")
    both.run("import", "tokens", "tokens.json", *options)
    both.run("token", "list")


def test_an_export_is_imported(both: Both) -> None:
    """With credentials, and without; what comes out is the same each time."""
    both.run("import", "stations", "fleet.csv")
    for word, options in (("with.csv", ("--with-credentials",)), ("without.jsonl", ())):
        if options:
            both.run("import", "stations", "fleet.csv")
            direct, http = (both.home / name / word for name in ("direct", "http"))
        both.run("export", "stations", word, *options)
        both.run("import", "stations", word, "--replace")
        both.run("export", "stations", word, *options)
    assert told(direct.read_text()) == told(http.read_text())


def test_refused(both: Both) -> None:
    for _ in range(3):
        assert both.service.request("GET", "/api/v0/cs/knocks/auth").status == 404
    settings = {"CSMS_SERVER_URL": both.service.url}
    listed = ran(both.home, settings, "refused", "list", "--json")
    found = {one["csId"]: one for one in map(json.loads, listed.stdout.splitlines())}
    assert (found["knocks"]["reason"], found["knocks"]["count"] >= 3) == ("unknown", True)
    added = ran(both.home, settings, "station", "add", "knocks", "--from-refused")
    assert added.returncode == 0, added.stderr
    again = ran(both.home, settings, "station", "add", "knocks", "--from-refused")
    assert again.returncode == 3


def test_a_long_malformed_id_takes_no_room_of_others(both: Both) -> None:
    """It cannot be registered, so nobody has to copy it; JSON has it whole."""
    both.service.request("GET", f"/api/v0/cs/{'m' * 150}/auth")
    settings = {"CSMS_SERVER_URL": both.service.url}
    table = ran(both.home, settings, "refused", "list").stdout
    assert "m" * 48 + "…" in table
    assert "m" * 49 not in table
    assert "m" * 150 in ran(both.home, settings, "refused", "list", "--json").stdout


def test_a_reader_that_has_seen_enough(both: Both) -> None:
    """As with head: nothing is said, for nothing is wrong."""
    both.run("station", "add", "s1", "--security-profile", "2")
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        done = subprocess.run(
            [PROGRAM, "export", "stations", "-", "--server", both.service.url],
            stdout=closed,
            stderr=subprocess.PIPE,
            cwd=both.home,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_check(both: Both) -> None:
    """What the service finds where it runs is what is found there."""
    done = ran(both.home, {"CSMS_SERVER_URL": both.service.url}, "check")
    direct = ran(both.home, {"CSMS_REDIS__URL": both.behind.url}, "check")
    assert (done.returncode, done.stdout) == (direct.returncode, direct.stdout)


def test_a_strict_service(tmp_path: Path) -> None:
    """It is the service's settings that count, before anything is sent and where it arrives."""
    api = {"api__strict": "true", "api__any_station_id": "true"}
    with running_places(**api) as running:
        both = running.emptied(tmp_path, **api)
        assert both.run("station", "add", "s1").returncode == 2
        assert both.run("station", "add", "a+b", "--security-profile", "2").returncode == 0
        both.run("station", "add", "s2", "--password-stdin", stdin="one")
        both.run("station", "set-password", "s2", "--password-stdin", stdin="a" * 32)
        both.run("station", "add", "s3", "--password-stdin", stdin="a" * 32)
        both.run("import", "stations", "fleet.csv")
        both.run("import", "stations", "fleet.csv", "--replace")
        both.run("import", "tokens", "tokens.json")
        both.run("import", "stations", "-", stdin='{"csId":"x","securityProfile":2,"more":1}')
        both.run("station", "list")
        assert both.run("certificate", "add", CERTIFICATE).returncode == 2

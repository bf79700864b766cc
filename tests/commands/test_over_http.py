"""Commands with --server: they print and end as those that open Redis themselves."""

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from redis import Redis

from csms_redis.access.secret import hash_of, new_secret
from csms_redis.cli import main
from tests.conftest import DATA, Service, Valkey, running_service, running_valkey, wait_for
from tests.support.commands import TOKEN, Done
from tests.support.program import PROGRAM
from tests.support.topologies.authority import Authority

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


def ran(home: Path, settings: dict[str, str], *words: str, stdin: str = "") -> Done:
    """Run a command in this process, which is sooner."""
    with contextlib.chdir(home):
        result = CliRunner(env=settings).invoke(main, words, input=stdin, prog_name="csms-redis")
    assert isinstance(result.exception, SystemExit | None), result.exc_info
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)


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


class TestWhoMay:
    """A service that has clients."""

    def test_the_right_secret(self, guarded: "Guarded", tmp_path: Path) -> None:
        """By a file, the environment or the terminal; the audit names the person."""
        (tmp_path / "secret").write_text(f"{guarded.operator}\n")
        url = ("--server", guarded.service.url)
        user = ("--user", "ops")
        file = ("--secret-file", "secret")
        assert ran(tmp_path, {}, "station", "add", "p1", *url, *user, *file).returncode == 0
        assert ran(tmp_path, {}, "station", "block", "p1", *url, *file).returncode == 0
        settings = {"CSMS_SERVER_USER": "ops", "CSMS_SERVER_SECRET": guarded.operator}
        (tmp_path / "fleet.csv").write_text("csId,securityProfile\np1,2\np2,2\n")
        done = ran(tmp_path, settings, "import", "stations", "fleet.csv", *url)
        assert done.returncode == 0, done.stderr
        assert '"command"' not in done.stderr  # the line is the service's
        # a streamed answer ends before its line is written
        wait_for(lambda: len(guarded.service.events("write")) == 3, "the audit has its lines")
        lines = guarded.service.events("write")
        assert {line["client"] for line in lines} == {"ops"}
        assert [(line["operation"], line.get("csId"), line["outcome"]) for line in lines] == [
            ("importChargeStations", "p1", "done"),
            ("setRegistrationStatus", "p1", "done"),
            ("importChargeStations", None, "done"),
        ]
        assert (lines[2]["kind"], lines[2]["written"]) == ("stations", 2)
        assert guarded.operator not in guarded.service.log

    def test_no_secret_and_a_wrong_one(self, guarded: "Guarded", tmp_path: Path) -> None:
        url = ("--server", guarded.service.url)
        none = ran(tmp_path, {}, "station", "list", *url)
        assert (none.returncode, none.stdout) == (1, "")
        assert "--user and --secret-file" in none.stderr
        wrong = ran(tmp_path, {"CSMS_SERVER_SECRET": "wrong"}, "station", "list", *url)
        assert wrong.returncode == 1
        assert "wrong." in wrong.stderr
        asked = ran(tmp_path, {}, "station", "list", *url, "--user", "ops")
        assert asked.returncode == 2
        assert "--secret-file" in asked.stderr
        checked = ran(tmp_path, {}, "check", *url)
        assert (checked.returncode, checked.stdout.split()[:2]) == (1, ["error", "server"])

    def test_credentials_need_both_roles(self, guarded: "Guarded", tmp_path: Path) -> None:
        """What stations prove themselves with is the gateway's to read, and many only with both."""
        words = ("export", "stations", "out.jsonl", "--server", guarded.service.url)
        for name, secret, code in (
            ("ops", guarded.operator, 1),
            ("gateway", guarded.gateway, 1),
            ("backup", guarded.both, 0),
        ):
            settings = {"CSMS_SERVER_USER": name, "CSMS_SERVER_SECRET": secret}
            done = ran(tmp_path, settings, *words, "--with-credentials")
            assert done.returncode == code, done.stderr
            assert (tmp_path / "out.jsonl").exists() == (code == 0)
            if code:
                assert "needs the role" in done.stderr
        settings = {"CSMS_SERVER_USER": "ops", "CSMS_SERVER_SECRET": guarded.operator}
        assert ran(tmp_path, settings, *words).returncode == 0


class Guarded(NamedTuple):
    """A service with clients, and their secrets."""

    service: Service
    operator: str
    gateway: str
    both: str


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    secrets = new_secret(), new_secret(), new_secret()
    roles = {"ops": ["operator"], "gateway": ["gateway"], "backup": ["operator", "gateway"]}
    clients = {
        name: {"roles": given, "secret_hashes": [hash_of(secret.encode()).hex()]}
        for (name, given), secret in zip(roles.items(), secrets, strict=True)
    }
    with running_service(auth__clients=json.dumps(clients)) as service:
        yield Guarded(service, *secrets)


@pytest.mark.parametrize(
    ("words", "told_of"),
    [
        (["--server", "http://user:pass@host"], "--user and --secret-file"),
        (["--server", "ftp://host"], "https://HOST:PORT"),
        (["--server", "host:9410"], "https://HOST:PORT"),
        (["--server", "http://host?x"], "ends with the path"),
        (["--server", "http://host", "--ca-file", "x"], "https URL"),
        (["--server", "http://host", "--config", "config.toml"], "exclude"),
        (["--server", "https://host", "--ca-file", "none"], "none: cannot be read"),
        (["--user", "ops"], "--server URL"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_wrong_command_line(tmp_path: Path, words: list[str], told_of: str) -> None:
    done = ran(tmp_path, {}, "station", "list", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told_of in done.stderr
    assert "pass@" not in done.stderr


def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    """The service's is checked, and this client shows its own; else one line says what is wrong."""
    servers, clients = (Authority(tmp_path / name, name) for name in ("servers", "clients"))
    theirs = servers.issue("service", "localhost", "127.0.0.1")
    ours = clients.issue("client")
    with running_service(
        server__tls__certificate_file=str(theirs.certificate),
        server__tls__key_file=str(theirs.key),
        server__tls__client_ca_file=str(clients.ca),
    ) as service:
        listing = ("station", "list", "--server", service.url)
        trusting = (*listing, "--ca-file", str(servers.ca))
        pair = ("--cert-file", str(ours.certificate), "--key-file", str(ours.key))
        done = ran(tmp_path, {}, *trusting, *pair)
        assert done.returncode == 0, done.stderr
        unknown = ran(tmp_path, {}, *listing, *pair)
        assert (unknown.returncode, unknown.stdout) == (1, "")
        assert "its certificate is not trusted" in unknown.stderr
        nobody = ran(tmp_path, {}, *trusting)
        assert (nobody.returncode, nobody.stdout) == (1, "")
        wrong = ran(tmp_path, {}, *trusting, *pair[:3], str(theirs.key))
        assert wrong.returncode == 2
        assert "another certificate's" in wrong.stderr


def test_a_settings_file_wins_over_the_environment(valkey: Valkey, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(f'[redis]\nurl = "{valkey.url}"\n')
    settings = {"CSMS_SERVER_URL": "http://127.0.0.1:1"}
    assert ran(tmp_path, settings, "station", "list", "--config", "other.toml").returncode == 0
    assert ran(tmp_path, settings, "station", "list").returncode == 1


@pytest.mark.parametrize(
    ("answer", "told_of"),
    [
        (b"", "is it a csms-redis"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n<p>", "no csms-redis"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "is away (502)"),
        (b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", "is away (503)"),
        (b"HTTP/1.1 302 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "own address"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "not what it should be"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "is no csms-redis"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<p>", "is it a csms-redis"),
        (b"SSH-2.0-x\r\n", "is it a csms-redis"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_is_no_such_service(tmp_path: Path, answer: bytes, told_of: str) -> None:
    """One line says so, whatever it is that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = ran(tmp_path, {}, "station", "list", "--server", url)
        thread.join()
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert told_of in line


def test_a_write_is_sent_once(places: Places, tmp_path: Path) -> None:
    """What became of one without an answer is not known, and it is not tried again."""
    received = []
    service = urlsplit(places.service.url)

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    request = connection.recv(65536)
                    received.append(request.partition(b" ")[0])
                    if received[-1] == b"GET":
                        with socket.create_connection((service.hostname, service.port)) as behind:
                            behind.sendall(
                                request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
                            )
                            while data := behind.recv(65536):
                                connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)
        thread = threading.Thread(target=serve, args=[server])
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = ran(tmp_path, {}, "station", "remove", "s1", "--server", url)
        server.close()
        thread.join()
    assert received == [b"GET", b"DELETE"]
    assert done.returncode == 1
    assert "The change may have been made" in done.stderr


def test_tls_is_spoken_where_there_is_none(places: Places, tmp_path: Path) -> None:
    url = places.service.url.replace("http:", "https:")
    done = ran(tmp_path, {}, "station", "list", "--server", url)
    assert done.returncode == 1
    assert "TLS failed (WRONG_VERSION_NUMBER): is it http:// there?" in done.stderr


def test_nobody_is_there(tmp_path: Path) -> None:
    done = ran(tmp_path, {}, "station", "list", "--server", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr == (
        "csms-redis: http://127.0.0.1:1: cannot be reached: connection refused\n"
    )

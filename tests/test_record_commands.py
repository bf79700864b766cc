"""`csms-redis station`, `token` and `certificate` as an operator or a script runs them."""

import json
import os
import pwd
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from redis import Redis

from tests.conftest import DATA, Valkey, password_hash
from tests.system.service import PROGRAM, Service, environment

SECRET = "hunter2-and-more"
PEM = DATA / "certificates" / "root-V2G-cert.pem"
HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak="
TOKEN = (
    *("--country-code", "DE", "--party-id", "TNM", "--issuer", "TheNewMotion"),
    *("--contract-id", "DE8ACC12E46L89"),
)
USER = pwd.getpwuid(os.getuid()).pw_name
Done: TypeAlias = "subprocess.CompletedProcess[str]"
Run: TypeAlias = Callable[..., Done]


def command(home: Path, settings: dict[str, str], *arguments: str, stdin: str = "") -> Done:
    done = subprocess.run(
        [PROGRAM, *arguments],
        cwd=home,
        env=environment(settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def run(valkey: Valkey, tmp_path: Path) -> Run:
    """Run a command against an empty Valkey; it must end with `code`."""

    def start(*arguments: str, stdin: str = "", code: int = 0) -> Done:
        done = command(tmp_path, {"CSMS_REDIS__URL": valkey.url}, *arguments, stdin=stdin)
        assert done.returncode == code, done.stderr
        return done

    return start


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    with Redis(unix_socket_path=valkey.socket, decode_responses=True) as client:
        yield client


def audit(done: Done) -> dict[str, Any]:
    """The one line of the log."""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("{")]
    written: dict[str, Any] = json.loads(line)
    assert written["event"] == "write"
    assert written["user"] == USER
    assert len(written["request_id"]) == 32
    return written


def told(done: Done, *names: str) -> list[Any]:
    line = audit(done)
    return [line.get(name) for name in names]


def records(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


class TestStations:
    """`csms-redis station`."""

    def test_a_generated_password_is_printed_once_and_only_its_hash_stored(
        self, run: Run, redis: Redis
    ) -> None:
        """It has 192 bits and the characters that OCPP allows; nothing else tells it."""
        added = run("station", "add", "cs1", "--generate-password", "--json")
        password = json.loads(added.stdout)["password"]
        assert len(password) == 32
        assert redis.hget("cs:cs1", "base64SHA256Password") == f'"{password_hash(password)}"'
        people = run("station", "add", "cs2", "--generate-password").stdout
        assert people.splitlines()[1].startswith("password  ")
        for done in (
            run("station", "show", "cs1"),
            run("station", "show", "cs1", "--json"),
            run("station", "list"),
            run("station", "list", "--json"),
        ):
            assert password_hash(password) not in done.stdout + done.stderr
            assert "assword" not in done.stdout + done.stderr
        assert password not in added.stderr
        assert password_hash(password) not in added.stderr
        assert all(password not in str(redis.hgetall(key)) for key in redis.scan_iter("cs:*"))

    def test_a_password_from_standard_input(self, run: Run, redis: Redis) -> None:
        """One newline is not part of it; it and its hash are told nowhere."""
        done = run("station", "add", "cs1", "--password-stdin", stdin=f"{SECRET}\n")
        assert redis.hget("cs:cs1", "base64SHA256Password") == f'"{password_hash(SECRET)}"'
        said = done.stdout + done.stderr
        assert SECRET not in said
        assert password_hash(SECRET) not in said
        run("station", "add", "cs2", "--password-stdin", code=1)
        run("station", "add", "cs2", "--password-stdin", "--generate-password", code=2)

    def test_from_adding_to_removing(self, run: Run) -> None:
        """Each change is told with who, what, which and what came of it."""
        names = ("command", "operation", "csId", "registrationStatus", "outcome")
        added = run("station", "add", "cs1", "--security-profile", "2")
        assert added.stdout == "station cs1 is added\n"
        assert told(added, *names) == ["station add", "registerChargeStation", "cs1", None, "done"]
        blocked = run("station", "block", "cs1")
        status = "setRegistrationStatus"
        assert told(blocked, *names) == ["station block", status, "cs1", "Rejected", "done"]
        run("station", "add", "cs1", "--security-profile", "2", "--replace")
        (shown,) = records(run("station", "show", "cs1", "--json"))
        assert shown["registrationStatus"] == "Rejected"  # only allow lifts it
        assert shown["auth"] == {"securityProfile": 2}  # as the API has it
        table = run("station", "show", "cs1").stdout.split()
        assert table[:4] == ["csId", "cs1", "securityProfile", "2"]
        heading, row = (line.split() for line in run("station", "list").stdout.splitlines())
        assert heading == [
            *("csId", "securityProfile", "invalidUsernameAllowed"),
            *("registrationStatus", "lastUpdated"),
        ]
        assert row[:3] == ["cs1", "2", "Rejected"]
        allowed = run("station", "allow", "cs1", "--json")
        assert records(allowed) == [{"csId": "cs1", "registrationStatus": "Accepted"}]
        assert "Accepted" in run("station", "show", "cs1").stdout
        removed = run("station", "remove", "cs1")
        assert told(removed, *names) == [
            "station remove",
            "deleteChargeStation",
            "cs1",
            None,
            "done",
        ]
        assert run("station", "list", "--json").stdout == ""

    def test_refusals(self, run: Run, redis: Redis) -> None:
        """What is not there, what is there, what is none: each an exit code and a line."""
        for word in ("block", "allow", "remove"):
            done = run("station", word, "nobody", code=3)
            assert told(done, "csId", "outcome") == ["nobody", "refused"]
            assert told(run("station", word, "a\nb", code=3), "csId") == [None]
        run("station", "show", "nobody", code=3)
        run("station", "add", "cs1", "--password-stdin", stdin=SECRET)
        again = run("station", "add", "cs1", "--generate-password", code=4)
        assert again.stdout == ""
        assert told(again, "outcome") == ["refused"]
        assert redis.hget("cs:cs1", "base64SHA256Password") == f'"{password_hash(SECRET)}"'
        assert told(run("station", "add", "x" * 49, code=2), "outcome") == ["refused"]
        assert redis.keys("cs:*") == ["cs:cs1"]

    def test_a_list_has_all_of_a_fleet_once(self, run: Run) -> None:
        """JSON Lines have all, a table the first thousand, and what filters let through."""
        rows = "".join(f'{{"csId":"cs{n}","securityProfile":2}}\n' for n in range(1200))
        run("import", "stations", "-", stdin=rows)
        run("station", "block", "cs7")
        listed = [record["csId"] for record in records(run("station", "list", "--json"))]
        assert sorted(listed) == sorted(f"cs{n}" for n in range(1200))
        table = run("station", "list")
        assert len(table.stdout.splitlines()) == 1001
        assert "more than 1000" in table.stderr
        (one,) = records(run("station", "list", "--status", "Rejected", "--json"))
        assert one["csId"] == "cs7"
        assert len(records(run("station", "list", "--limit", "5", "--json"))) == 5
        found = records(run("station", "list", "--prefix", "cs119", "--json"))
        assert len(found) == 11

    def test_a_name_does_nothing_to_a_terminal(self, run: Run, redis: Redis) -> None:
        """Neither escapes nor rich's own marks."""
        redis.hset("token:A", "countryCode", '"DE"')
        redis.hset("token:A", "uid", '"A"')
        redis.hset("token:A", "issuer", '"\\u001b[31m[bold]x"')
        for shown in (run("token", "list").stdout, run("token", "show", "a").stdout):
            assert "\\x1b[31m[bold]x" in shown
            assert "\x1b" not in shown

    def test_it_is_blocked_when_redis_is_full(self, run: Run, redis: Redis) -> None:
        run("station", "add", "cs1", "--security-profile", "2")
        redis.config_set("maxmemory", "1")
        run("station", "block", "cs1")
        assert redis.hget("cs:cs1", "registrationStatus") == '"Rejected"'
        refused = run("station", "add", "cs2", "--security-profile", "2", code=1)
        assert "OOM" in refused.stderr

    def test_a_key_of_others_stays_theirs(self, run: Run, redis: Redis) -> None:
        redis.set("cs:cs1", "theirs")
        for more in ([], ["--replace"]):
            done = run("station", "add", "cs1", "--security-profile", "2", *more, code=1)
            assert "In Redis, cs:cs1 is a string and no record of csms-redis" in done.stderr
            assert told(done, "outcome") == ["refused"]
        assert redis.get("cs:cs1") == "theirs"


class TestTokens:
    """`csms-redis token`."""

    def test_from_adding_to_removing(self, run: Run) -> None:
        """Whatever the case of the uid."""
        added = run("token", "add", "abc1", *TOKEN)
        assert told(added, "operation", "uid", "outcome") == ["setToken", "ABC1", "done"]
        (shown,) = records(run("token", "show", "ABC1", "--json"))
        assert (shown["uid"], shown["contractId"]) == ("abc1", "DE8ACC12E46L891")
        run("token", "add", "ABC1", *TOKEN, code=4)
        run("token", "add", "ABC1", *TOKEN, "--not-valid", "--replace")
        (listed,) = records(run("token", "list", "--not-valid", "--json"))
        assert listed["uid"] == "ABC1"
        assert "ABC1" in run("token", "list").stdout
        assert told(run("token", "add", "x", *TOKEN, "--type", "y", code=2), "outcome") == [
            "refused"
        ]
        run("token", "remove", "aBc1")
        run("token", "remove", "aBc1", code=3)
        run("token", "show", "abc1", code=3)


class TestCertificates:
    """`csms-redis certificate`."""

    def test_from_adding_to_removing(self, run: Run) -> None:
        """By its hash in any spelling."""
        added = run("certificate", "add", str(PEM))
        assert told(added, "certificateHash", "outcome") == [HASH, "done"]
        assert HASH in added.stdout
        (shown,) = records(run("certificate", "show", HASH.rstrip("="), "--json"))
        (listed,) = records(run("certificate", "list", "--json"))
        assert shown == listed
        assert shown["certificateHash"] == HASH
        assert "notAfter" in run("certificate", "show", HASH).stdout
        assert (
            run("certificate", "list", "--expires-before", "1990-01-01T00:00:00Z").returncode == 0
        )
        run("certificate", "list", "--expires-before", "soon", code=2)
        spelled = HASH.replace("-", "+").replace("_", "/")
        assert told(run("certificate", "remove", spelled), "certificateHash") == [HASH]
        run("certificate", "remove", HASH, code=3)
        run("certificate", "show", "nonsense", code=3)

    def test_a_private_key_is_refused_and_not_repeated(self, run: Run) -> None:
        """Neither on standard output nor in the log."""
        key = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"
        done = run("certificate", "add", "-", stdin=PEM.read_text() + key, code=2)
        assert told(done, "outcome") == ["refused"]
        assert SECRET not in done.stdout + done.stderr


def test_an_import_is_one_line(run: Run) -> None:
    """With its counts; a dry run writes nothing, and so none."""
    rows = '{"csId":"cs1","securityProfile":2}\n{"csId":"cs2"}\n'
    done = run("import", "stations", "-", stdin=rows, code=3)
    names = ("operation", "kind", "sources", "written", "rejected", "outcome")
    assert told(done, *names) == ["import", "stations", ["-"], 1, 1, "done"]
    dry = run("import", "stations", "-", "--dry-run", stdin=rows, code=3)
    assert '"event"' not in dry.stderr


def test_redis_is_away(tmp_path: Path) -> None:
    """Exit code 1 and what to do; a change that did not come about is told of."""
    settings = {"CSMS_REDIS__URL": f"unix://{tmp_path}/none", "CSMS_REDIS__TIMEOUT": "0.2"}
    shown = command(tmp_path, settings, "station", "show", "cs1")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "cannot be reached" in shown.stderr
    added = command(tmp_path, settings, "station", "add", "cs1", "--generate-password")
    assert (added.returncode, added.stdout) == (1, "")
    assert told(added, "csId", "outcome") == ["cs1", "unavailable"]


def test_beside_the_service(tmp_path: Path) -> None:
    """On its embedded store, without a restart; and on that store when it does not run."""
    settings = {"CSMS_REDIS__DATA_DIR": str(tmp_path / "data")}
    first = command(tmp_path, settings, "station", "add", "cs1", "--security-profile", "2")
    assert first.returncode == 0, first.stderr
    with Service(tmp_path, settings) as service:
        service.ready()
        assert service.request("GET", "/api/v0/cs/cs1/auth").status == 200
        assert command(tmp_path, settings, "station", "block", "cs1").returncode == 0
        assert service.request("GET", "/api/v0/cs/cs1/auth").status == 404

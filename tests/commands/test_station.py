"""`csms-redis station` as an operator or a script runs it."""

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import click
from redis import Redis

from tests.conftest import Valkey, password_hash
from tests.support.commands import Run, audited, records
from tests.support.terminal import Terminal

SECRET = "hunter2-and-more"


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

    def test_a_key_in_hex(self, run: Run, redis: Redis) -> None:
        """As OCPP 1.6 keeps it: its bytes are the password; as text it is told of."""
        key = "00112233445566778899aabbccddeeff80fe0a01"
        done = run("station", "add", "cs1", "--password-stdin", "--hex", stdin=f"{key}\n")
        hashed = b64encode(sha256(bytes.fromhex(key)).digest()).decode()
        assert redis.hget("cs:cs1", "base64SHA256Password") == f'"{hashed}"'
        assert "warning" not in done.stderr
        done = run("station", "add", "cs2", "--password-stdin", stdin=f"{key}\n")
        assert done.stderr.startswith("warning: password-is-hex: ")
        assert key not in done.stdout + done.stderr
        assert redis.hget("cs:cs2", "base64SHA256Password") == f'"{password_hash(key)}"'
        run("station", "add", "cs3", "--hex", code=2)
        run("station", "add", "cs3", "--password-stdin", "--hex", stdin="xyz", code=1)

    def test_how_profiles_are_numbered(self, run: Run) -> None:
        """Where one is typed, and where one is refused or doubtful."""
        for words in (("add",), ("list",)):
            told = " ".join(run("station", *words, "--help").stdout.split())
            assert "OCPP's number minus one: 0 is plain text with a password (OCPP's 1)" in told
        for typed in (["add", "cs1"], ["list"]):
            done = run("station", *typed, "--security-profile", "3", code=2)
            told = done.stderr.replace("\n", " ")
            assert "2 is TLS with a client certificate (OCPP's 3)" in told
        done = run(
            "station", "add", "cs1", "--security-profile", "2", "--password-stdin", stdin="x"
        )
        assert "warning: profile-with-password: " in done.stderr
        assert "if OCPP's 2 is meant, that is 1 here" in done.stderr

    def test_from_adding_to_removing(self, run: Run) -> None:
        """Each change is told with who, what, which and what came of it."""
        names = ("command", "operation", "csId", "registrationStatus", "outcome")
        added = run("station", "add", "cs1", "--security-profile", "2")
        assert added.stdout == "station cs1 is added\n"
        assert audited(added, *names) == [
            "station add",
            "registerChargeStation",
            "cs1",
            None,
            "done",
        ]
        blocked = run("station", "block", "cs1")
        status = "setRegistrationStatus"
        assert audited(blocked, *names) == ["station block", status, "cs1", "Rejected", "done"]
        again = ("station", "add", "cs1", "--security-profile", "2", "--replace")
        assert run(*again).stdout == (
            "station cs1 is added; it was blocked, and stays Rejected: "
            "to let it work, use csms-redis station allow\n"
        )
        assert records(run(*again, "--json")) == [{"csId": "cs1", "registrationStatus": "Rejected"}]
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
        assert run(*again).stdout == "station cs1 is added\n"
        assert records(run(*again, "--json")) == [{"csId": "cs1", "registrationStatus": "Pending"}]
        removed = run("station", "remove", "cs1")
        assert audited(removed, *names) == [
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
            assert audited(done, "csId", "outcome") == ["nobody", "refused"]
            assert audited(run("station", word, "a\nb", code=3), "csId") == [None]
        run("station", "show", "nobody", code=3)
        run("station", "add", "cs1", "--password-stdin", stdin=SECRET)
        again = run("station", "add", "cs1", "--generate-password", code=4)
        assert again.stdout == ""
        assert audited(again, "outcome") == ["refused"]
        assert redis.hget("cs:cs1", "base64SHA256Password") == f'"{password_hash(SECRET)}"'
        assert audited(run("station", "add", "x" * 49, code=2), "outcome") == ["refused"]
        assert redis.keys("cs:*") == ["cs:cs1"]

    def test_a_list_has_all_of_a_fleet_once(self, run: Run) -> None:
        """JSON Lines and a table have all, or what filters let through."""
        rows = "".join(f'{{"csId":"cs{n}","securityProfile":2}}\n' for n in range(1200))
        run("import", "stations", "-", stdin=rows)
        run("station", "block", "cs7")
        listed = [record["csId"] for record in records(run("station", "list", "--json"))]
        assert sorted(listed) == sorted(f"cs{n}" for n in range(1200))
        table = run("station", "list")
        assert len(table.stdout.splitlines()) == 1201
        assert table.stderr == ""
        (one,) = records(run("station", "list", "--status", "Rejected", "--json"))
        assert one["csId"] == "cs7"
        assert len(records(run("station", "list", "--limit", "5", "--json"))) == 5
        found = records(run("station", "list", "--prefix", "cs119", "--json"))
        assert len(found) == 11

    def test_a_sorted_list(self, run: Run) -> None:
        """By any property, in either order; a limit has the first of all."""
        rows = "".join(f'{{"csId":"cs{n:03}","securityProfile":{n % 3}}}\n' for n in range(300))
        run("import", "stations", "-", stdin=rows)

        def ids(*options: str) -> list[str]:
            return [one["csId"] for one in records(run("station", "list", "--json", *options))]

        assert ids("--sort", "csId") == [f"cs{n:03}" for n in range(300)]
        assert ids("--sort", "csId", "--reverse", "--limit", "2") == ["cs299", "cs298"]
        table = run("station", "list", "--sort", "securityProfile", "--reverse", "--limit", "100")
        assert {line.split()[1] for line in table.stdout.splitlines()[1:]} == {"2"}
        run("station", "list", "--sort", "password", code=2)

    def test_many_are_blocked_and_allowed(self, run: Run, redis: Redis, tmp_path: Path) -> None:
        """By their ids, from a file, by filters; each is a line of the audit."""
        rows = "".join(f'{{"csId":"a{n}","securityProfile":2}}\n' for n in range(120))
        run("import", "stations", "-", stdin=rows)

        def blocked() -> set[str]:
            found = run("station", "list", "--status", "Rejected", "--json")
            return {one["csId"] for one in records(found)}

        by_id = run("station", "block", "a1", "a2", "nobody", code=3)
        assert by_id.stdout == "2 stations are Rejected; 1 are not there: nobody\n"
        lines = [json.loads(line) for line in by_id.stderr.splitlines()]
        assert {line["csId"]: line["outcome"] for line in lines} == {
            "a1": "done",
            "a2": "done",
            "nobody": "refused",
        }
        assert {line["operation"] for line in lines} == {"setRegistrationStatus"}
        (tmp_path / "ids").write_text("a3\r\n\na4\na4\n")
        assert run("station", "block", "--from", "ids").stdout == "2 stations are Rejected\n"
        assert run("station", "allow", "--from", "-", stdin="a3").stdout == (
            "1 stations are Accepted\n"
        )
        assert blocked() == {"a1", "a2", "a4"}
        refused = run("station", "block", "--prefix", "a11", code=2)
        assert "block 11 stations? There is nobody to ask: say --yes" in refused.stderr
        assert blocked() == {"a1", "a2", "a4"}
        run("station", "block", "--prefix", "a11", "--yes")
        assert blocked() == {"a1", "a2", "a4", "a11", *(f"a11{n}" for n in range(10))}
        everyone = run("station", "allow", "--status", "Rejected", "--yes", "--json")
        assert records(everyone) == [
            {"registrationStatus": "Accepted", "changed": 14, "notFound": 0}
        ]
        assert redis.hget("cs:a11", "registrationStatus") == '"Accepted"'
        for wrong in ([], ["a1", "--prefix", "a"], ["--from", "ids", "--prefix", "a"]):
            assert "say which stations" in run("station", "block", *wrong, code=2).stderr

    def test_a_new_password_changes_nothing_else(
        self, run: Run, redis: Redis, tmp_path: Path
    ) -> None:
        """From standard input, a file, or made here; never an argument, and shown once at most."""
        run("station", "add", "cs1", "--security-profile", "1", "--generate-password")
        run("station", "block", "cs1")
        before = redis.hgetall("cs:cs1")
        said = run("station", "set-password", "cs1", "--password-stdin", stdin=f"{SECRET}\n")
        assert said.stdout == "station cs1 has its new password\n"
        assert audited(said, "command", "operation", "csId", "outcome") == [
            "station set-password",
            "setChargeStationPassword",
            "cs1",
            "done",
        ]
        assert password_hash(SECRET) not in said.stderr
        after = redis.hgetall("cs:cs1")
        assert after["base64SHA256Password"] == f'"{password_hash(SECRET)}"'
        for name in ("securityProfile", "registrationStatus"):
            assert after[name] == before[name]
        (tmp_path / "secret").write_bytes(b"another\r\n")
        run("station", "set-password", "cs1", "--password-file", "secret")
        assert redis.hget("cs:cs1", "base64SHA256Password") == f'"{password_hash("another")}"'
        made = run("station", "set-password", "cs1", "--generate-password", "--json")
        password = json.loads(made.stdout)["password"]
        assert redis.hget("cs:cs1", "base64SHA256Password") == f'"{password_hash(password)}"'
        run("station", "set-password", "nobody", "--generate-password", code=3)
        refused = run("station", "set-password", "cs1", code=2)
        assert "say where the password comes from" in refused.stderr
        run("station", "set-password", "cs1", SECRET, code=2)
        assert redis.keys("cs:*") == ["cs:cs1"]

    def test_a_password_is_asked_for_at_a_terminal(
        self, run: Run, redis: Redis, valkey: Valkey, tmp_path: Path
    ) -> None:
        run("station", "add", "cs1", "--generate-password")
        settings = {"CSMS_REDIS__URL": valkey.url}
        arguments = ("station", "set-password", "cs1")
        with Terminal(*arguments, cwd=tmp_path, settings=settings) as terminal:
            terminal.expect("Password: ")
            terminal.type(f"{SECRET}\n".encode())
            terminal.expect("Repeat for confirmation: ")
            terminal.type(f"{SECRET}\n".encode())
            assert SECRET not in terminal.rest()
        assert redis.hget("cs:cs1", "base64SHA256Password") == f'"{password_hash(SECRET)}"'

    def test_a_station_without_a_password_says_so(self, run: Run) -> None:
        """In words, whenever it is added or shown, until it has one."""
        words = "this station has no password, so no gateway lets it in"
        assert words in run("station", "add", "cs1").stderr
        assert words in run("station", "show", "cs1").stderr
        run("station", "set-password", "cs1", "--generate-password")
        assert words not in run("station", "show", "cs1").stderr
        run("station", "add", "cs2", "--security-profile", "2")
        assert words not in run("station", "show", "cs2").stderr

    def test_a_list_can_be_copied_from_any_terminal(
        self, run: Run, valkey: Valkey, tmp_path: Path
    ) -> None:
        """A narrow one gets fewer columns, never a part of an id; and is told which are missing."""
        cs_id = "depot-7-" + "x" * 40
        run("station", "add", cs_id, "--security-profile", "2")
        for columns, has in ((200, "lastUpdated"), (72, "registrationStatus"), (30, "csId")):
            settings = {"CSMS_REDIS__URL": valkey.url, "COLUMNS": str(columns)}
            with Terminal("station", "list", cwd=tmp_path, settings=settings) as terminal:
                heading, row, *left_out = terminal.rest().splitlines()
            assert click.unstyle(heading).split()[-1] == has
            assert row.split()[0] == cs_id
            assert bool(left_out) == (columns < 200)

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
            assert audited(done, "outcome") == ["refused"]
        assert redis.get("cs:cs1") == "theirs"

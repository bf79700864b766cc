"""What a source does not say, an import does not change; `--replace` makes it exactly the row."""

import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import DATA, Valkey, password_hash, wait_for
from tests.support.service import PROGRAM, environment
from tests.support.transfers import Run, keys

SECRET = "hunter2-and-more"
STATION = (
    "csId,securityProfile,password,registrationStatus,invalidUsernameAllowed\n"
    f"cs1,1,{SECRET},Accepted,true\n"
)
TOKEN = {
    "countryCode": "DE",
    "partyId": "ABC",
    "type": "RFID",
    "uid": "0465AB12",
    "contractId": "CON-1",
    "issuer": "Acme",
    "valid": True,
    "cacheMode": "ALWAYS",
}


def stored(redis: Redis, key: str) -> dict[str, object]:
    """A record, without when it was updated."""
    fields: Mapping[str, str] = redis.hgetall(key)  # type: ignore[assignment] # it is not async
    return {name: json.loads(value) for name, value in fields.items() if name != "lastUpdated"}


class TestStations:
    """Their credential and their status above all."""

    @pytest.mark.parametrize(
        ("again", "changed"),
        [
            ("csId,securityProfile\ncs1,1\n", {}),
            ("csId,securityProfile,password\ncs1,0,\n", {"securityProfile": 0}),
            ("csId,securityProfile,password,registrationStatus\ncs1,1\n", {}),
            ("csId,securityProfile,password,registrationStatus\ncs1,1,NULL,\\N\n", {}),
            (
                "csId,securityProfile,invalidUsernameAllowed\ncs1,1,NULL\n",
                {"invalidUsernameAllowed": None},
            ),
            ("csId,securityProfile,registrationStatus\ncs1,2,Rejected\n", None),
            ('{"csId":"cs1","securityProfile":1,"password":null}\n', {}),
            (
                '{"csId":"cs1","auth":{"securityProfile":1,"invalidUsernameAllowed":null}}\n',
                {"invalidUsernameAllowed": None},
            ),
        ],
    )
    def test_a_second_import(
        self, run: Run, redis: Redis, again: str, changed: dict[str, object] | None
    ) -> None:
        run("import", "stations", "-", stdin=STATION)
        before = stored(redis, "cs:cs1")
        assert before["base64SHA256Password"] == password_hash(SECRET)
        done = run("import", "stations", "-", stdin=again)
        assert "written 1, existing 0, rejected 0" in done.stdout
        assert "profile-without-password" not in done.stderr
        if changed is None:
            changed = {"securityProfile": 2, "registrationStatus": "Rejected"}
        wanted = before | changed
        assert stored(redis, "cs:cs1") == {k: v for k, v in wanted.items() if v is not None}
        assert run("import", "stations", "-", stdin=again, api__strict="true").returncode == 0

    def test_replace(self, run: Run, redis: Redis) -> None:
        """The record is exactly the row, and what went is counted; only a block stays."""
        run("import", "stations", "-", stdin=STATION + f"cs2,1,{SECRET},Rejected\n")
        rows = "csId,securityProfile\ncs1,2\ncs2,2\ncs3,2\n"
        done = run("import", "stations", "-", "--replace", stdin=rows)
        assert (
            "removed, for the rows do not say it: base64SHA256Password 2, "
            "invalidUsernameAllowed 1, registrationStatus 1\n"
        ) in done.stderr
        assert "1 of the written stations were blocked, and stay Rejected" in done.stderr
        for name, status in (("cs1", "Pending"), ("cs2", "Rejected"), ("cs3", "Pending")):
            assert stored(redis, f"cs:{name}") == {
                "securityProfile": 2,
                "registrationStatus": status,
            }
        assert "removed" not in run("import", "stations", "-", "--replace", stdin=rows).stderr

    def test_a_password_that_is_needed(self, run: Run, redis: Redis, tmp_path: Path) -> None:
        """It is missed where neither the row nor the station has one; strict rejects the row."""
        run("import", "stations", "-", stdin=STATION)
        rows = "csId,securityProfile\ncs1,1\ncs2,1\n"
        done = run("import", "stations", "-", stdin=rows, code=3, api__strict="true")
        assert "written 1, existing 0, rejected 1" in done.stdout
        (line,) = (tmp_path / "stdin.rejects").read_text().splitlines()
        assert (json.loads(line)["line"], json.loads(line)["column"]) == (3, "securityProfile")
        assert keys(redis) == ["cs:cs1"]
        done = run("import", "stations", "-", stdin=rows)
        assert "profile-without-password: 1 rows, at stdin:3: " in done.stderr

    def test_replace_and_only_new(self, run: Run) -> None:
        run("import", "stations", "-", "--replace", "--only-new", stdin=STATION, code=2)

    def test_add(self, run: Run, redis: Redis) -> None:
        """One rule for the single record: it is left alone, or exactly what is said."""
        run("import", "stations", "-", stdin=STATION)
        before = stored(redis, "cs:cs1")
        run("station", "add", "cs1", "--security-profile", "2", code=4)
        assert stored(redis, "cs:cs1") == before
        done = run("station", "add", "cs1", "--security-profile", "2", "--replace")
        assert done.stdout == (
            "station cs1 is added\nremoved: base64SHA256Password, invalidUsernameAllowed\n"
        )
        assert stored(redis, "cs:cs1") == {"securityProfile": 2, "registrationStatus": "Pending"}


class TestTokens:
    """Their optional properties."""

    FULL = TOKEN | {"groupId": "G", "visualNumber": "V", "languageCode": "de"}

    def test_a_second_import(self, run: Run, redis: Redis) -> None:
        """Empty and missing ones stay; NULL and null take them away."""
        run("import", "tokens", "-", stdin=json.dumps(self.FULL) + "\n")
        run("import", "tokens", "-", stdin=json.dumps(TOKEN | {"groupId": None}) + "\n")
        assert stored(redis, "token:0465AB12") == {
            k: v for k, v in self.FULL.items() if k != "groupId"
        }
        row = ",".join("no" if value is True else str(value) for value in TOKEN.values())
        names = ",".join(TOKEN)
        rows = f"{names},languageCode,visualNumber\n{row},,\\N\n"
        run("import", "tokens", "-", stdin=rows)
        assert stored(redis, "token:0465AB12") == TOKEN | {"languageCode": "de", "valid": False}

    def test_an_ocpi_object_is_the_whole_token(self, run: Run, redis: Redis) -> None:
        run("import", "tokens", "-", stdin=json.dumps(self.FULL) + "\n")
        token = {
            "country_code": "DE",
            "party_id": "ABC",
            "type": "RFID",
            "uid": "0465AB12",
            "contract_id": "CON-1",
            "issuer": "Acme",
            "valid": True,
            "whitelist": "ALWAYS",
            "last_updated": "2026-01-01T00:00:00Z",
        }
        done = run("import", "tokens", "-", "--format", "ocpi", stdin=json.dumps([token]))
        assert stored(redis, "token:0465AB12") == TOKEN
        assert "groupId 1, languageCode 1, visualNumber 1" in done.stderr

    def test_add(self, run: Run, redis: Redis) -> None:
        run("import", "tokens", "-", stdin=json.dumps(self.FULL) + "\n")
        words = (
            *("token", "add", "0465AB12", "--country-code", "DE", "--party-id", "ABC"),
            *("--contract-id", "CON-1", "--issuer", "Acme"),
        )
        run(*words, code=4)
        assert stored(redis, "token:0465AB12") == self.FULL
        done = run(*words, "--replace", "--json")
        assert json.loads(done.stdout) == {
            "uid": "0465AB12",
            "removed": ["groupId", "languageCode", "visualNumber"],
        }
        assert stored(redis, "token:0465AB12") == TOKEN


class TestReports:
    """What is told of rows and files that are wrong."""

    def test_the_cases_end_to_end(self, run: Run, redis: Redis, tmp_path: Path) -> None:
        """A blocked station is blocked; nothing joins strangers' cards; what is odd is told of."""
        cases = DATA / "imports"
        run("import", "stations", str(cases / "st3.csv"), "--rejects", "r")
        assert stored(redis, "cs:st3")["registrationStatus"] == "Rejected"
        done = run("import", "tokens", str(cases / "null_words.csv"), "--rejects", "r")
        assert "word-for-nothing: 2 rows" in done.stderr
        groups = [stored(redis, f"token:D{number}").get("groupId") for number in range(1, 6)]
        assert groups == [None, None, None, "N/A", "-"]
        done = run("import", "tokens", str(cases / "uid_spaces.csv"), "--rejects", "r")
        assert "id-inner-blank: 1 rows" in done.stderr
        done = run("import", "stations", str(cases / "num.csv"), "--rejects", "r", code=3)
        assert "profile-with-password: 1 rows" in done.stderr
        (line,) = (tmp_path / "r").read_text().splitlines()
        reject = json.loads(line)
        assert (reject["line"], reject["column"]) == (4, "securityProfile")
        assert reject["record"] == {"csId": "n3", "securityProfile": 3}
        assert "OCPP's number minus one" in reject["reason"]
        done = run("import", "stations", str(cases / "authorization_key_hex.csv"))
        assert "password-is-hex: 1 rows" in done.stderr

    def test_values_are_shown_but_secrets(self, run: Run, tmp_path: Path) -> None:
        """With the row, the column, and what is allowed."""
        rows = (
            "csId,securityProfile,password,registrationStatus,invalidUsernameAllowed\n"
            f"cs1,9,{SECRET}\ncs2,1,{SECRET},Blocked\ncs3,1,{SECRET},,perhaps\n"
            f"4.65E+12,1,{SECRET}\n{SECRET},cs5,{SECRET}\n"
        )
        run("import", "stations", "-", stdin=rows, code=3)
        text = (tmp_path / "stdin.rejects").read_text()
        assert SECRET not in text
        found = [json.loads(line) for line in text.splitlines()]
        assert [(each["line"], each["column"]) for each in found] == [
            (2, "securityProfile"),
            (3, "registrationStatus"),
            (4, "invalidUsernameAllowed"),
            (5, "csId"),
            (6, "securityProfile"),
        ]
        shown = [each["record"] for each in found]
        assert shown[0] == {"csId": "cs1", "securityProfile": 9, "password": "***"}
        assert shown[1]["registrationStatus"] == "Blocked"
        assert "'Accepted', 'Pending' or 'Rejected'" in found[1]["reason"]
        assert shown[2]["invalidUsernameAllowed"] == "perhaps"
        assert "true or false, 1 or 0, yes or no" in found[2]["reason"]
        assert shown[3]["csId"] == "4.65E+12"
        assert {*shown[4].values()} == {"***"}  # columns have slipped

    def test_unknown_names_are_told_once(self, run: Run) -> None:
        rows = "csId,securityProfile,Vendor\n" + "".join(f"cs{n},2,x\n" for n in range(9))
        done = run("import", "stations", "-", stdin=rows)
        assert done.stderr.count("Vendor is not known and was left out, first at stdin:1") == 1
        rows = "".join(f'{{"csId":"cs{n}","securityProfile":2,"vendor":1}}\n' for n in range(9))
        done = run("import", "stations", "-", stdin=rows)
        assert done.stderr.count("vendor is not known and was left out, first at stdin:1") == 1

    @pytest.mark.parametrize(
        ("name", "rows", "said"),
        [
            ("a.csv", "csId,securityProfile,passwort\ncs1,1,x\n", "a.csv: line 1: 'passwort' is"),
            ("a.csv", "cs1,1,hunter2\n", "a.csv: line 1: the first line must name the columns"),
            ("a.csv", "", "a.csv: the file is empty"),
            ("a.jsonl", '{"csId":"a","passwort":"hunter2"}\n', "a.jsonl: line 1: 'passwort' is"),
        ],
    )
    def test_a_file_that_is_wrong(
        self, run: Run, redis: Redis, tmp_path: Path, name: str, rows: str, said: str
    ) -> None:
        """It is an error and no rejected row; a wrong header is seen before anything is written."""
        (tmp_path / "good.csv").write_text("csId,securityProfile\ngood,2\n")
        (tmp_path / name).write_text(rows)
        done = run("import", "stations", "good.csv", name, code=1)
        assert said in done.stderr
        number = 0 if name == "a.csv" else 1
        assert f"; {number} were written, repeat the import" in done.stderr
        assert "hunter2" not in done.stderr
        assert not [*tmp_path.glob("*.rejects")]
        assert len(keys(redis)) == number

    def test_ctrl_c_says_what_was_written(
        self, valkey: Valkey, redis: Redis, tmp_path: Path
    ) -> None:
        with subprocess.Popen(
            [PROGRAM, "import", "stations", "-", "--format", "jsonl"],
            cwd=tmp_path,
            env=environment({"CSMS_REDIS__URL": valkey.url}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            rows = "".join(f'{{"csId":"cs{n}","securityProfile":2}}\n' for n in range(2000))
            process.stdin.write(rows.encode())
            process.stdin.flush()
            wait_for(lambda: len(keys(redis)) >= 1000, "some are written")
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
            assert process.stderr is not None
            said = process.stderr.read().decode()
        assert process.returncode == 1
        written = int(said.split("csms-redis: interrupted; ")[1].split()[0])
        assert 0 < written <= len(keys(redis))

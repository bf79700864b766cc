"""`csms-redis import` as an operator runs it."""

import json
import ssl
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from redis import Redis

from tests.conftest import DATA, Valkey, password_hash, running_valkey
from tests.support.transfers import Run, keys, transfer

SECRET = "hunter2-and-more"
ONE = f"csId,securityProfile,password\ncs1,1,{SECRET}\n"


def stored(redis: Redis, key: str) -> dict[str, object]:
    """A record, without when it was updated."""
    fields: Mapping[str, str] = redis.hgetall(key)  # type: ignore[assignment] # it is not async
    return {name: json.loads(value) for name, value in fields.items() if name != "lastUpdated"}


def attempts(redis: Redis) -> int:
    """How often records were to be stored; the first script renews the data set's identity."""
    stats: Mapping[str, Mapping[str, int]] = redis.info("commandstats")
    return max(0, stats.get("cmdstat_eval", {"calls": 0})["calls"] - 1)


def rejects(path: Path) -> list[tuple[int, str]]:
    """Lines and reasons."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["line"], line["reason"]) for line in lines]


class TestStations:
    """Fleets of stations."""

    def test_bad_rows_are_told_and_the_rest_goes_on(
        self, run: Run, redis: Redis, tmp_path: Path
    ) -> None:
        """By line and reason, without secrets, wherever they are in a row."""
        (tmp_path / "fleet.csv").write_text(
            "csId,securityProfile,password,registrationStatus\n"
            f'"a\n{SECRET}",1,{SECRET},\n'
            f"cs1,1,{SECRET},\n"
            f"cs2,{SECRET},x,\n"
            f"cs3,1,x,{SECRET}\n"
            f"{SECRET},cs4\n"
            "cs5,2,,Accepted\n"
        )
        done = run("import", "stations", "fleet.csv", code=3)
        assert done.stdout.startswith("stations: read 6, written 2, existing 0, rejected 4, in ")
        found = rejects(tmp_path / "fleet.csv.rejects")
        assert [line for line, _ in found] == [2, 5, 6, 7]
        assert "securityProfile" in found[1][1]
        assert "registrationStatus" in found[2][1]
        told = (tmp_path / "fleet.csv.rejects").read_text().replace(f'"csId":"a\\n{SECRET}"', "")
        assert SECRET not in told + done.stdout + done.stderr
        assert stored(redis, "cs:cs1") == {
            "securityProfile": 1,
            "base64SHA256Password": password_hash(SECRET),
            "registrationStatus": "Pending",
        }
        assert stored(redis, "cs:cs5")["registrationStatus"] == "Accepted"
        assert all(SECRET not in str(stored(redis, key)) for key in keys(redis))

    def test_a_rejected_station_stays_rejected(self, run: Run, redis: Redis) -> None:
        """No import lifts a block; one may bring it along."""
        rows = '{"csId":"%s","securityProfile":2,"registrationStatus":"%s"}\n'
        run("import", "stations", "-", stdin=rows % ("cs1", "Rejected"))
        for status in ("Accepted", "Pending"):
            done = run(
                "import", "stations", "-", stdin=rows % ("cs1", status) + rows % ("cs2", status)
            )
            assert stored(redis, "cs:cs1")["registrationStatus"] == "Rejected"
            assert "1 of the written stations were blocked, and stay Rejected" in done.stderr
        done = run("import", "stations", "-", stdin=rows % ("cs1", "Rejected"))
        assert "stay Rejected" not in done.stderr

    def test_a_listing_is_taken_as_well(self, run: Run, redis: Redis) -> None:
        """As the API has it: how a station is authenticated is on a level of its own."""
        row = (
            '{"csId":"cs1","auth":{"securityProfile":1,"invalidUsernameAllowed":true},'
            '"registrationStatus":"Accepted","lastUpdated":"2026-01-01T00:00:00Z"}\n'
        )
        done = run("import", "stations", "-", stdin=row)
        assert "written 1, existing 0, rejected 0" in done.stdout
        listed = run("station", "list", "--json").stdout
        assert json.loads(listed) == json.loads(row)
        before = stored(redis, "cs:cs1")
        run("station", "remove", "cs1")
        run("import", "stations", "-", stdin=listed)
        assert stored(redis, "cs:cs1") == before

    @pytest.mark.parametrize(
        ("more", "reason"),
        [
            ('"auth":1', "auth: must be an object."),
            ('"auth":{"securityProfile":3}', "securityProfile: must be 2 or less"),
            ('"auth":{}', "securityProfile is missing."),
            ('"auth":{"securityProfile":2},"securityProfile":2', "A property is there twice, in"),
        ],
    )
    def test_a_listing_that_is_wrong(
        self, run: Run, redis: Redis, tmp_path: Path, more: str, reason: str
    ) -> None:
        run("import", "stations", "-", stdin=f'{{"csId":"cs1",{more}}}\n', code=3)
        ((line, said),) = rejects(tmp_path / "stdin.rejects")
        assert (line, said.startswith(reason)) == (1, True)
        assert keys(redis) == []

    def test_only_new(self, run: Run, redis: Redis) -> None:
        """What is there is left alone; of two rows the first wins, else the last."""
        run("import", "stations", "-", stdin="csId,securityProfile\ncs1,2\n")
        rows = "csId,securityProfile,password\ncs1,1,x\ncs2,0,x\ncs2,1,x\n"
        done = run("import", "stations", "-", "--only-new", stdin=rows)
        assert "written 1, existing 2, rejected 0" in done.stdout
        assert stored(redis, "cs:cs1")["securityProfile"] == 2
        assert stored(redis, "cs:cs2")["securityProfile"] == 0
        run("import", "stations", "-", stdin=rows)
        assert stored(redis, "cs:cs2")["securityProfile"] == 1

    @pytest.mark.parametrize("option", [[], ["--only-new"]])
    def test_a_key_of_others_stays_theirs(
        self, run: Run, redis: Redis, tmp_path: Path, option: list[str]
    ) -> None:
        """Its row is rejected, without its secrets, whichever source it is of; the rest goes on."""
        theirs = ("cs:cs2", "cs:cs4", "cs:other0")
        for key in theirs:
            redis.set(key, "theirs")
        (tmp_path / "one.csv").write_text(f"{ONE}cs2,1,{SECRET}\ncs3,1,{SECRET}\n,1,x\n")
        rows = "".join(f"other{number},2\n" for number in range(1200))
        (tmp_path / "other.csv").write_text(f"csId,securityProfile\ncs4,2\n{rows}")
        done = run("import", "stations", "one.csv", "other.csv", *option, code=3)
        assert "read 1205, written 1201, existing 0, rejected 4" in done.stdout
        reason = "In Redis, %s is a string and no record of csms-redis. Nothing was changed: remove"
        found = dict(rejects(tmp_path / "one.csv.rejects"))
        assert sorted(found) == [3, 5]
        assert found[3].startswith(reason % "cs:cs2")
        found = dict(rejects(tmp_path / "other.csv.rejects"))
        assert sorted(found) == [2, 3]
        assert found[2].startswith(reason % "cs:cs4")
        assert SECRET not in (tmp_path / "one.csv.rejects").read_text() + done.stdout + done.stderr
        for key in theirs:
            assert redis.get(key) == "theirs"
            redis.delete(key)
        assert len(keys(redis)) == 1201
        run("import", "stations", "other.csv", *option)
        assert len(keys(redis)) == 1203

    def test_a_key_of_others_and_all_or_nothing(
        self, run: Run, redis: Redis, tmp_path: Path
    ) -> None:
        """What is at a key is seen when it is written only: that ends the import, and is said."""
        redis.set("cs:cs1", "theirs")
        (tmp_path / "fleet.csv").write_text(ONE)
        done = run("import", "stations", "fleet.csv", "--all-or-nothing", code=1)
        assert "In Redis, cs:cs1 is a string and no record of csms-redis" in done.stderr
        assert "0 were written" in done.stderr

    @pytest.mark.parametrize(("option", "written"), [("--dry-run", 0), ("--all-or-nothing", 0)])
    def test_nothing_is_written(
        self, run: Run, redis: Redis, tmp_path: Path, option: str, written: int
    ) -> None:
        """In a dry run; or when a row is bad and all are to be good."""
        file = tmp_path / "fleet.csv"
        file.write_text("csId,securityProfile\ncs1,2\ncs2,9\n")
        done = run("import", "stations", "fleet.csv", option, code=3)
        assert "nothing was written" in done.stdout
        assert len(keys(redis)) == written
        file.write_text("csId,securityProfile\ncs1,2\ncs2,2\n")
        done = run("import", "stations", "fleet.csv", option)
        assert len(keys(redis)) == (2 if option == "--all-or-nothing" else 0)
        assert not (tmp_path / "fleet.csv.rejects").exists()

    def test_doubts(self, run: Run, tmp_path: Path) -> None:
        """In the summary by name, with the first rows; `[api] strict` refuses them."""
        key = "00112233445566778899aabbccddeeff80fe0a01"
        row = f"csId,securityProfile,password\ncs1,1,\ncs2,2,\ncs3,1,{key}\ncs4,0,\n"
        done = run("import", "stations", "-", stdin=row)
        assert "warning: profile-without-password: 2 rows, at stdin:2, stdin:5: " in done.stderr
        assert "warning: password-is-hex: 1 rows, at stdin:4: " in done.stderr
        many = "csId,securityProfile\n" + "".join(f"new{number},0\n" for number in range(7))
        done = run("import", "stations", "-", stdin=many)
        places = ", ".join(f"stdin:{line}" for line in range(2, 7))
        assert f"profile-without-password: 7 rows, at {places}, …: security" in done.stderr
        done = run("import", "stations", "-", stdin=row, code=3, api__strict="true")
        found = sorted(rejects(tmp_path / "stdin.rejects"))
        assert [line for line, _ in found] == [2, 4, 5]
        assert found[0][1].endswith("(profile-without-password).")
        assert found[1][1].endswith("(password-is-hex).")
        assert key not in (tmp_path / "stdin.rejects").read_text() + done.stdout + done.stderr

    @pytest.mark.parametrize(
        "arguments",
        [
            ("import", "stations", "nowhere.csv"),
            ("import", "stations", "-", "-"),
            ("import", "stations", "-", "--all-or-nothing"),
            ("import", "stations", "-", "--format", "pem"),
            ("import", "stations", "."),
            ("import", "tokens", "-", "--country-code", "DEU"),
            ("import", "tokens", "-", "--country-code", "DE", "--party-id", "TN"),
            ("export", "stations", "-", "--with-credentials"),
            ("export", "tokens", "x", "--with-credentials"),
        ],
    )
    def test_usage(self, run: Run, arguments: tuple[str, ...]) -> None:
        run(*arguments, code=2)

    def test_redis_is_away(self, run: Run, valkey: Valkey) -> None:
        """It says so, within seconds."""
        valkey.kill()
        done = run("import", "stations", "-", stdin="csId,securityProfile\ncs1,2\n", code=1)
        assert "cannot be reached" in done.stderr

    def test_redis_is_full(self, run: Run, redis: Redis) -> None:
        """It ends at the first refusal, with Redis' own word for it, and without the secret."""
        redis.config_set("maxmemory", 1)
        done = run("import", "stations", "-", stdin=ONE, code=1)
        assert "Redis refused the request (OOM: it is out of memory); 0 were written" in done.stderr
        assert SECRET not in done.stderr
        assert attempts(redis) == 1

    @pytest.mark.parametrize("right", ["eval", "hset"])
    def test_a_right_is_missing(self, run: Run, redis: Redis, right: str) -> None:
        """It ends at the first refusal, and says of what kind it is."""
        redis.acl_setuser("default", enabled=True, commands=[f"-{right}"])
        done = run("import", "stations", "-", stdin=ONE, code=1)
        assert "(NOPERM: its user lacks a right); 0 were written" in done.stderr
        assert attempts(redis) <= 1

    def test_a_command_is_missing(self, tmp_path: Path) -> None:
        """Or has another name."""
        with running_valkey("--rename-command", "EVAL", "") as valkey:
            done = transfer(tmp_path, valkey.url, "import", "stations", "-", stdin=ONE, code=1)
        assert "(ERR: it does not know the command); 0 were written" in done.stderr

    def test_a_password_is_wrong(self, tmp_path: Path) -> None:
        """It is said, and not repeated."""
        with running_valkey("--requirepass", "right") as valkey:
            url = valkey.url.replace("unix://", f"unix://:{SECRET}@")
            done = transfer(tmp_path, url, "import", "stations", "-", stdin=ONE, code=1)
        assert (
            "(WRONGPASS: it does not take the user or the password); csms-redis check"
            in done.stderr
        )
        assert SECRET not in done.stderr


class TestCertificates:
    """Directories of PEM files."""

    def test_odd_ones(self, run: Run, redis: Redis, tmp_path: Path) -> None:
        """All are stored; other forms are told with the command that converts them."""
        directory = tmp_path / "odd"
        directory.mkdir()
        for file in (DATA / "certificates" / "odd").glob("*.pem"):
            (directory / file.name).write_bytes(file.read_bytes())
        done = run("import", "certificates", "odd")
        assert "read 6, written 6, existing 0, rejected 0" in done.stdout
        assert "warning: chain-order: 1 rows, at odd/leaflast.pem:1: " in done.stderr
        assert "Warning" not in done.stderr
        assert len(keys(redis)) == 5
        (directory / "x.pem").write_bytes(b"\x30\x0d\x30\x0b\x06\x09")
        (directory / "y.pem").write_text("-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n")
        run("import", "certificates", "odd", code=3)
        reasons = [reason for _, reason in rejects(tmp_path / "odd.rejects")]
        assert reasons[0].startswith("certificate: there is no PEM certificate")
        assert "convert it: openssl pkcs7 -print_certs -in FILE -out NEW.pem" in reasons[1]

    def test_files_of_any_name(self, run: Run, redis: Redis, tmp_path: Path) -> None:
        """What is no CSV is told as what it is; text may stand before PEM."""
        pem = (DATA / "certificates" / "HUBOpenProvCert001.pem").read_text()
        pem = pem[pem.index("-----BEGIN") :]
        first, end, _ = pem.partition("-----END CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(first + end)  # of a chain, new Pythons join all
        (tmp_path / "bag.txt").write_text(f"Bag Attributes\n    friendlyName: certificate\n{pem}")
        (tmp_path / "columns").write_text(f'"lastUpdated";"Certificate"\n;"{pem}"\n')
        assert "written 1, " in run("import", "certificates", "bag.txt").stdout
        assert "written 1, " in run("import", "certificates", "columns").stdout
        assert len(keys(redis)) == 1
        for name in ("x.der", "x.p7b", "x.bin", "x"):
            (tmp_path / name).write_bytes(der)
            run("import", "certificates", name, code=3)
            ((_, reason),) = rejects(tmp_path / f"{name}.rejects")
            assert "convert it: openssl x509 -inform der -in FILE -out NEW.pem" in reason
        (tmp_path / "base64").write_text(b64encode(der).decode())
        run("import", "certificates", "base64", code=3)
        ((_, reason),) = rejects(tmp_path / "base64.rejects")
        assert "convert it: base64 -d FILE | openssl x509" in reason

    def test_a_directory_with_a_private_key(self, run: Run, redis: Redis, tmp_path: Path) -> None:
        """The certificates are stored, the key is told and nowhere else."""
        directory = tmp_path / "certs"
        directory.mkdir()
        for file in (DATA / "certificates").glob("*.pem"):
            (directory / file.name).write_bytes(file.read_bytes())
        key = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        (directory / "station.key").write_bytes(key)
        done = run("import", "certificates", "certs", code=3)
        assert len(keys(redis)) == 3
        (line,) = (tmp_path / "certs.rejects").read_text().splitlines()
        assert "private key" in json.loads(line)["reason"]
        assert json.loads(line)["source"] == "certs/station.key"
        secret = key.splitlines()[1].decode()
        assert secret not in line + done.stdout + done.stderr

        run("export", "certificates", "out/", "--format", "pem")
        assert sorted(path.read_bytes() for path in (tmp_path / "out").iterdir()) == sorted(
            path.read_bytes() for path in directory.glob("*.pem")
        )

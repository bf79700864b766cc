"""Imports of JSON: files as they came, tokens with one uid, and what the API has answered."""

import io
import json
from pathlib import Path

import pytest
from redis import Redis

from csms_redis.fleet import json_rows
from csms_redis.fleet.json_rows import begins_with_lines
from tests.conftest import DATA
from tests.support.json_files import CASES, PAGE, many, ocpi, read, stored
from tests.support.transfers import Run, keys


class TestCases:
    """Files as they came, imported."""

    def test_contract_ids(self, run: Run, redis: Redis) -> None:
        """Kept as given, whatever they look like; a wrong check digit is told."""
        done = run("import", "tokens", str(CASES / "ct.json"))
        assert "read 4, written 4, existing 0, rejected 0" in done.stdout
        assert [stored(redis, f"CT{number}")["contractId"] for number in range(1, 5)] == [
            "FLEETCARD00017",
            "nl-abc-c00000017",
            "DE-ABC-00123A563-N",
            "VEHICLE00000042",
        ]
        line = next(line for line in done.stderr.splitlines() if "contract-id-check-digit" in line)
        assert line.startswith("warning: contract-id-check-digit: 2 rows, at ")
        assert "ct.json:3" in line
        assert "ct.json:4" in line

    def test_one_uid_several_times(self, run: Run, redis: Redis, tmp_path: Path) -> None:
        """The newest stays; the others are counted, and two eMSPs are told of."""
        done = run("import", "tokens", str(CASES / "dup.json"))
        assert "read 3, written 1, existing 0, rejected 0" in done.stdout
        assert "2 tokens were passed over: of several with one uid" in done.stderr
        assert "warning: uid-of-two-parties: 1 rows, at " in done.stderr
        token = stored(redis, "DUP1")
        assert (token["type"], token["contractId"], token["valid"]) == ("OTHER", "CON-2", True)
        assert token["lastUpdated"] == "2026-01-01T00:00:00Z"
        words = ("import", "tokens", str(CASES / "dup.json"), "--rejects", str(tmp_path / "r"))
        done = run(*words, code=3, api__strict="true")

    def test_odd_values(self, run: Run, redis: Redis, tmp_path: Path) -> None:
        """An optional value costs itself only, a type beyond ours is OTHER, 2.1.1 is read."""
        file = str(CASES / "ocpi_language_empty.json")
        done = run("import", "tokens", file, "--country-code", "DE", "--party-id", "ABC")
        assert "read 4, written 4, existing 0, rejected 0" in done.stdout
        assert "warning: optional-value: 2 rows, at " in done.stderr
        assert "warning: token-type: 1 rows, at " in done.stderr
        assert "languageCode" not in stored(redis, "L1") | stored(redis, "L2")
        assert stored(redis, "DEABCC12345678X")["type"] == "OTHER"
        old = stored(redis, "V211")
        assert (old["countryCode"], old["partyId"], old["contractId"]) == ("DE", "ABC", "CON-1")

        rejects = tmp_path / "rejects"
        done = run("import", "tokens", file, "--rejects", str(rejects), code=3)
        assert "written 3, existing 0, rejected 1" in done.stdout
        assert "--country-code and --party-id" in rejects.read_text()
        run("import", "stations", file, "--party-id", "ABC", code=2)

    def test_pages_and_one_object(self, run: Run, redis: Redis) -> None:
        """Each reply of a file is read, and a reply may have one object."""
        done = run("import", "tokens", str(CASES / "pages.json"), str(CASES / "solo2.json"))
        assert "read 4, written 4, existing 0, rejected 0" in done.stdout
        assert sorted(keys(redis)) == ["token:P0", "token:P1", "token:P2", "token:SOLO1"]

    def test_credentials(self, run: Run, redis: Redis) -> None:
        """A key in hex where a password is to be is told of, and so are OCPP's profile numbers."""
        done = run("import", "stations", str(CASES / "authorization_key_hex.csv"))
        assert "warning: password-is-hex: 1 rows, at " in done.stderr
        text = (CASES / "authorization_key_hex.csv").read_text()
        key = text.splitlines()[1].split(",")[2]
        assert key not in done.stdout + done.stderr
        run("import", "stations", "-", stdin=text.replace(",password", ",authorizationKey"))
        # From: printf KEY | xxd -r -p | openssl dgst -sha256 -binary | base64
        expected = '"8rdnAuBzmwK+Cm8VjPEht4AX7uFXTRfvRflhcU45r+k="'
        assert redis.hget("cs:p40", "base64SHA256Password") == expected
        for bad in ("0g", "012", "00 11", "0x00"):
            row = f"csId,securityProfile,authorizationKey\ncs1,1,{bad}\n"
            run("import", "stations", "-", stdin=row, code=3)
        both = f"csId,securityProfile,password,authorizationKey\ncs1,1,x,{key}\n"
        run("import", "stations", "-", stdin=both, code=3)

        done = run("import", "stations", str(CASES / "num.csv"), "--rejects", "r", code=3)
        assert "written 2, existing 0, rejected 1" in done.stdout
        assert "warning: profile-with-password: 1 rows, at " in done.stderr
        assert "1 is TLS with a password (OCPP's 2)" in done.stderr


class TestNewest:
    """Of several with one uid the one with the newest last_updated stays."""

    def test_across_sources(self, run: Run, redis: Redis, tmp_path: Path) -> None:
        """Whatever the order, in whatever form, also when they are in one source far apart."""
        new = ocpi("A1", last_updated="2026-03-01T00:00:00.5Z", issuer="new")
        old = ocpi("a1", last_updated="2026-02-28T23:59:59", issuer="old")
        older = ocpi("A1", last_updated="2026-03-01T00:30:00+01:00", issuer="older")
        (tmp_path / "new.json").write_text(json.dumps([new, *many(1000)]))
        (tmp_path / "old.jsonl").write_text(json.dumps(old) + "\n" + json.dumps(older))
        for files in (("new.json", "old.jsonl"), ("old.jsonl", "new.json")):
            done = run("import", "tokens", *files)
            assert "2 tokens were passed over" in done.stderr
            assert "uid-of-two-parties" not in done.stderr
            assert stored(redis, "A1")["issuer"] == "new"
        (tmp_path / "far.json").write_text(json.dumps([new, *many(1000), old]))
        assert "1 tokens were" in run("import", "tokens", "far.json").stderr
        assert stored(redis, "A1")["issuer"] == "new"

    def test_equal_and_absent(self, run: Run, redis: Redis) -> None:
        """Of equal ones the later stays; one without is older than all."""
        equal = [ocpi("A1", issuer="first"), ocpi("A1", issuer="second")]
        without = {name: value for name, value in ocpi("A1").items() if name != "last_updated"}
        for tokens in ([*equal, without], [without, *equal]):
            run("import", "tokens", "-", stdin=json.dumps(tokens))
            assert stored(redis, "A1")["issuer"] == "second"

    def test_within_a_second(self, run: Run, redis: Redis) -> None:
        """Whole seconds are stored, but parts of a second count."""
        for moments in (("9", "10"), ("900", "899999"), ("5", "49"), ("000001", "0")):
            new, old = (
                ocpi("A1", last_updated=f"2026-03-01T00:00:00.{part}Z", issuer=name)
                for part, name in zip(moments, ("new", "old"), strict=True)
            )
            for tokens in ([new, old], [old, new]):
                run("import", "tokens", "-", stdin=json.dumps(tokens))
                assert stored(redis, "A1")["issuer"] == "new"

    def test_in_other_formats(self, run: Run, redis: Redis, tmp_path: Path) -> None:
        """A row of CSV that says when it was updated is passed over as well."""
        (tmp_path / "new.json").write_text(json.dumps([ocpi("A1", issuer="new")]))
        header = "country_code,party_id,type,uid,contract_id,issuer,valid,whitelist,last_updated\n"
        row = "DE,TNM,RFID,a1,x,{},true,NEVER,{}\n"
        old = row.format("old", "2025-01-01T00:00:00Z") + row.format(
            "older", "2024-01-01T00:00:00Z"
        )
        (tmp_path / "old.csv").write_text(header + old)
        for files, passed_over in ((("new.json", "old.csv"), 2), (("old.csv", "new.json"), 2)):
            done = run("import", "tokens", *files)
            assert f"{passed_over} tokens were passed over" in done.stderr
            assert stored(redis, "A1")["issuer"] == "new"
        (tmp_path / "later.csv").write_text(header + row.format("later", ""))
        done = run("import", "tokens", "new.json", "later.csv")
        assert "passed over" not in done.stderr
        assert stored(redis, "A1")["issuer"] == "later"

    @pytest.mark.parametrize("dated", [True, False])
    def test_the_contracts_own_rows(self, dated: bool, run: Run, redis: Redis) -> None:  # noqa: FBT001 a table
        """Of rows that do not say when they were updated the later counts, as of requests."""
        rows = [
            {
                "countryCode": "DE",
                "partyId": "TNM",
                "type": "OTHER",
                "uid": "A1",
                "contractId": "x",
                "issuer": issuer,
                "valid": True,
                "cacheMode": "NEVER",
                "lastUpdated": updated,
            }
            for issuer, updated in (
                ("new", "2026-01-01T00:00:00Z"),
                ("old", "2025-01-01T00:00:00Z"),
            )
        ]
        if not dated:
            for row in rows:
                del row["lastUpdated"]
        done = run("import", "tokens", "-", stdin="".join(json.dumps(row) + "\n" for row in rows))
        assert ("passed over" in done.stderr) is dated
        assert stored(redis, "A1")["issuer"] == ("new" if dated else "old")


class TestListings:
    """What the API answers, saved as a file."""

    def test_of_stations_and_tokens(self, run: Run, redis: Redis, tmp_path: Path) -> None:
        run("import", "tokens", "-", stdin=json.dumps([ocpi("U1"), ocpi("U2", language="de")]))
        run("import", "stations", "-", stdin="csId,securityProfile\ncs1,2\ncs2,2\n")
        for kind in ("station", "token"):
            rows = [json.loads(line) for line in run(kind, "list", "--json").stdout.splitlines()]
            assert len(rows) == 2
            before = {key: redis.hgetall(key) for key in keys(redis)}
            for number, text in enumerate(
                (
                    json.dumps(rows),
                    json.dumps(rows, indent=2),
                    "".join(json.dumps([row]) + "\n" for row in rows),
                    json.dumps(rows[0]) + "\n" + json.dumps(rows[1]),
                )
            ):
                for row in rows:
                    run(kind, "remove", row.get("csId") or row["uid"])
                file = tmp_path / f"{kind}{number}.json"
                file.write_text(text)
                done = run("import", f"{kind}s", file.name)
                assert "read 2, written 2, existing 0, rejected 0" in done.stdout
                assert {key: redis.hgetall(key) for key in keys(redis)} == before

    def test_of_certificates(self, run: Run, redis: Redis, tmp_path: Path) -> None:
        """A lookup's answer has the certificate; a listing tells of it only, and that is said."""
        pem = (DATA / "certificates" / "HUBOpenProvCert001.pem").read_text()
        answers = json.dumps([{"certificate": pem}, {"certificate": pem.replace("\n", "\r\n")}])
        (tmp_path / "answers.json").write_text(answers)
        run("import", "certificates", "answers.json")
        assert len(keys(redis)) == 1
        listed = run("certificate", "list", "--json").stdout
        run("import", "certificates", "-", stdin=f"[{listed}]", code=3)
        assert "import what csms-redis export writes" in (tmp_path / "stdin.rejects").read_text()

    def test_a_line_longer_than_what_is_looked_at(self) -> None:
        """A certificate with its chain is one; so is a page of tokens."""
        long = {"certificate": "x" * 60_000}
        text = (json.dumps(long) + "\n") * 3
        assert begins_with_lines(text.encode()[:8192])
        rows = list(json_rows.read_lines(io.BytesIO(text.encode()), "f"))
        assert [row.line for row in rows] == [1, 2, 3]
        page = json.dumps({"data": many(2000)} | PAGE)
        assert len(page) > 2**18
        assert len(read(page * 2)) == 4000
        assert len(read(json.dumps(many(2000)))) == 2000


def test_the_exported_spelling_is_kept(run: Run, redis: Redis) -> None:
    """In each format, so that a record elsewhere is the same; a filter finds any spelling."""
    ids = ["nl-abc-c00000017", "DE-ABC-00123A563-N", "VEHICLE00000042", "CON-1"]
    tokens = [ocpi(f"U{number}", contract_id=each) for number, each in enumerate(ids)]
    run("import", "tokens", "-", stdin=json.dumps(tokens))
    before = {key: redis.hgetall(key) for key in keys(redis)}
    for name, options in (("x.csv", []), ("x.jsonl", []), ("x.json", ["--format", "ocpi"])):
        run("export", "tokens", name, *options)
        for number in range(4):
            run("token", "remove", f"U{number}")
        run("import", "tokens", name)
        assert {key: redis.hgetall(key) for key in keys(redis)} == before
    for spelling in ("NLABCC00000017", "nl-abc-c00000017", "NL-ABC-C00000017"):
        found = run("token", "list", "--contract-id", spelling, "--json").stdout
        assert json.loads(found)["uid"] == "U0"

"""JSON as eMSPs, APIs and their tools write it: every token of it, and only what it says."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from csms_redis.fleet import json_rows
from csms_redis.fleet.json_rows import begins_with_lines
from csms_redis.fleet.ocpi import NO_EMSP, Emsp, from_ocpi, is_ocpi, to_ocpi
from csms_redis.fleet.rows import Row, Unreadable
from tests.conftest import DATA
from tests.support.ocpi import TOKEN
from tests.support.transfers import Run, keys

CASES = DATA / "imports"
PAGE = {"status_code": 1000, "timestamp": "2026-01-01T00:00:00Z"}


def ocpi(uid: str, **more: Any) -> dict[str, Any]:
    """A token as an eMSP has it."""
    return {
        "country_code": "DE",
        "party_id": "ABC",
        "uid": uid,
        "type": "APP_USER",
        "contract_id": "CON-1",
        "issuer": "Acme",
        "valid": True,
        "whitelist": "ALLOWED",
        "last_updated": "2026-01-01T00:00:00Z",
    } | more


def stored(redis: Redis, uid: str) -> dict[str, Any]:
    fields: Mapping[str, str] = redis.hgetall(f"token:{uid}")  # type: ignore[assignment] # it is not async
    return {name: json.loads(value) for name, value in fields.items()}


def read(data: bytes | str, emsp: Emsp = NO_EMSP) -> list[Row | Unreadable]:
    """What an import finds in a file, whose format it has to find out."""
    given = data.encode() if isinstance(data, str) else data
    return list(json_rows.read_lines(io.BytesIO(given), "f", emsp=emsp))


def uids(rows: list[Row | Unreadable]) -> list[object]:
    return [row.data["uid"] if isinstance(row, Row) else row.reason for row in rows]


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

    def test_the_contracts_own_rows_are_in_their_order(self, run: Run, redis: Redis) -> None:
        """The later row counts, as two requests would."""
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
        done = run("import", "tokens", "-", stdin="".join(json.dumps(row) + "\n" for row in rows))
        assert "passed over" not in done.stderr
        assert stored(redis, "A1")["issuer"] == "old"


def many(count: int) -> list[dict[str, Any]]:
    return [ocpi(f"M{number}") for number in range(count)]


TWO = [ocpi("U1"), ocpi("U2")]
ONE = [ocpi("U1")]
FORMS: dict[str, str] = {
    "a list": json.dumps(TWO),
    "a list, indented": json.dumps(TWO, indent=2),
    "a reply": json.dumps(PAGE | {"data": TWO}),
    "a reply, indented": json.dumps({"data": TWO} | PAGE, indent=1),
    "two replies": json.dumps(PAGE | {"data": ONE}) + json.dumps({"data": [ocpi("U2")]} | PAGE),
    "two replies, indented": "\n".join(
        json.dumps(PAGE | {"data": [one]}, indent=2) for one in TWO
    ),
    "two lists": "".join(json.dumps([one]) for one in TWO),
    "a list of replies, as jq -s": json.dumps([PAGE | {"data": [one]} for one in TWO]),
    "a reply, a list, an object": json.dumps(PAGE | {"data": []}) + json.dumps(ONE) + json.dumps(
        ocpi("U2")
    ),
    "a reply with one object, and another": "\n".join(
        json.dumps(PAGE | {"data": one}) for one in TWO
    ),
    "lines": "\n".join(map(json.dumps, TWO)) + "\n\n",
    "lines with CRLF": "\r\n".join(map(json.dumps, TWO)),
    "objects, indented": "\n".join(json.dumps(one, indent=4) for one in TWO),
    "objects without anything between": "".join(map(json.dumps, TWO)),
    "a mark": "\ufeff" + json.dumps(TWO),
    "empty pages between": "[]\n" + json.dumps(TWO) + "\n[]\n",
    "a list in each line": "\n".join(json.dumps([one]) for one in TWO),
}  # fmt: skip


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("reader", ["by its content", "--format ocpi"])
def test_forms(text: str, reader: str) -> None:
    """All of these are two tokens, whole ones."""
    if reader == "--format ocpi":
        rows = list(json_rows.read_ocpi(io.BytesIO(text.encode()), "f"))
    else:
        rows = read(text)
    assert uids(rows) == ["U1", "U2"]
    for row in rows:
        assert isinstance(row, Row)
        assert row.whole
        assert row.data["cacheMode"] == "ALLOWED"


@pytest.mark.parametrize(
    ("rest", "size"),
    [("x", 1), ("}", 1), ("]\n\n", 3), ("\u20ac, and so on", 14), ("," + "y" * 100_000, 100_001)],
)
@pytest.mark.parametrize("form", ["a list", "two replies", "a reply, indented"])
def test_what_is_left_over_is_told_in_bytes(form: str, rest: str, size: int) -> None:
    """And what stands before it is read."""
    *rows, last = read(f"{FORMS[form]} \n{rest}")
    assert uids(rows) == ["U1", "U2"]
    assert isinstance(last, Unreadable)
    assert last.reason == f"{size} bytes follow that are not read"
    assert last.line == FORMS[form].count("\n") + 2


@pytest.mark.parametrize(
    "text", ['{"status_code": 2001}', "{}", '{"data": null, "status_code": 1000}', '{"data": 3}']
)
def test_a_reply_without_a_list(text: str) -> None:
    """It is told, and no token."""
    (row,) = json_rows.read_ocpi(io.BytesIO(text.encode()), "f")
    assert isinstance(row, Unreadable)


class TestObjects:
    """One Token object, of each version."""

    def test_all_of_a_token(self) -> None:
        data, doubts = from_ocpi(TOKEN, NO_EMSP)
        assert doubts == ()
        assert data == {
            "countryCode": "DE",
            "partyId": "TNM",
            "uid": "012345678",
            "type": "RFID",
            "contractId": "DE8ACC12E46L89",
            "visualNumber": "DF000-2001-8999-1",
            "issuer": "TheNewMotion",
            "groupId": "DF000-2001-8999",
            "valid": True,
            "cacheMode": "ALWAYS",
            "languageCode": "de",
            "lastUpdated": "2015-06-29T22:39:09Z",
        }
        assert from_ocpi(to_ocpi(data), NO_EMSP)[0] == data

    @pytest.mark.parametrize(
        "wrong",
        [
            {"language": ""},
            {"language": "de-DE"},
            {"language": "deu"},
            {"language": 7},
            {"visual_number": "x" * 65},
            {"visual_number": 12},
            {"visual_number": " "},
            {"group_id": ""},
            {"group_id": "g" * 37},
            {"group_id": ["g"]},
            {"last_updated": "yesterday"},
            {"last_updated": 1767225600},
            {"last_updated": ""},
        ],
    )
    def test_a_wrong_optional_value_costs_itself(self, wrong: dict[str, Any]) -> None:
        data, doubts = from_ocpi(ocpi("U1", **wrong), NO_EMSP)
        assert doubts == ("optional-value",)
        (name,) = wrong
        assert (
            data
            == from_ocpi({key: value for key, value in ocpi("U1").items() if key != name}, NO_EMSP)[
                0
            ]
        )

    @pytest.mark.parametrize("type_", ["EMAID", "MAC_ADDRESS", "rfid", ""])
    def test_a_type_beyond_ours(self, type_: str) -> None:
        data, doubts = from_ocpi(ocpi("U1", type=type_), NO_EMSP)
        assert (data["type"], doubts) == ("OTHER", ("token-type",))

    @pytest.mark.parametrize("type_", ["AD_HOC_USER", "APP_USER", "OTHER", "RFID", 3])
    def test_a_type_of_ours(self, type_: object) -> None:
        """What is no text is for the check to refuse."""
        data, doubts = from_ocpi(ocpi("U1", type=type_), NO_EMSP)
        assert (data["type"], doubts) == (type_, ())

    def test_null_is_not_there(self) -> None:
        nothing = dict.fromkeys(["group_id", "language", "visual_number", "energy_contract"])
        assert from_ocpi(ocpi("U1") | nothing, NO_EMSP) == from_ocpi(ocpi("U1"), NO_EMSP)

    def test_the_form_of_2_1_1(self) -> None:
        """The eMSP is named beside it, and only where it is not within."""
        old = {
            "uid": "U1",
            "type": "RFID",
            "auth_id": "DE8ACC12E46L89",
            "issuer": "Acme",
            "valid": True,
            "whitelist": "NEVER",
            "last_updated": "2026-01-01T00:00:00Z",
        }
        (row,) = read(json.dumps([old]), Emsp("NL", "XYZ"))
        assert isinstance(row, Row)
        assert (row.data["countryCode"], row.data["partyId"]) == ("NL", "XYZ")
        assert row.data["contractId"] == "DE8ACC12E46L89"
        (row,) = read(json.dumps([old | {"country_code": "FR"}]), Emsp("NL", "XYZ"))
        assert isinstance(row, Row)
        assert (row.data["countryCode"], row.data["partyId"]) == ("FR", "XYZ")
        for emsp in (NO_EMSP, Emsp("NL"), Emsp(None, "XYZ")):
            (told,) = read(json.dumps([old]), emsp)
            assert isinstance(told, Unreadable)
            assert "--party-id" in told.reason

    def test_what_is_ocpis(self) -> None:
        """By a name that the contract has not; only such an object is a whole token."""
        assert is_ocpi(ocpi("x"))
        assert is_ocpi({"uid": "x", "auth_id": "y"})
        assert not is_ocpi({"uid": "x", "contractId": "y", "type": "RFID"})
        (row,) = read('{"uid": "x", "valid": false}')
        assert isinstance(row, Row)
        assert not row.whole


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


def test_a_broken_line_spoils_no_other() -> None:
    text = f'{json.dumps(TWO[0])}\n{{"uid": "x", \n{json.dumps(TWO[1])}\n'
    assert uids(read(text)) == ["U1", "is not JSON (RFC 8259, UTF-8)", "U2"]
    text = f'{{"uid": x}}\n{json.dumps(TWO[1])}\n'
    assert uids(read(text)) == ["is not JSON (RFC 8259, UTF-8)", "U2"]


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


@given(
    st.lists(
        st.sampled_from(
            ["[", "]", "{", "}", ",", ":", '"data"', '"uid"', "1", " ", "\n", "null", "{}", "x"]
        ),
        max_size=30,
    ).map("".join)
)
def test_any_text_is_read_or_told(text: str) -> None:
    lines = text.count("\n") + 1
    for row in (*read(text), *json_rows.read_ocpi(io.BytesIO(text.encode()), "f")):
        assert 1 <= row.line <= lines

"""JSON as eMSPs, APIs and their tools write it: every token of it, and only what it says."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms_redis.fleet import json_rows
from csms_redis.fleet.rows import Row, Unreadable
from csms_redis.rows.ocpi import NO_EMSP, Emsp, from_ocpi, is_ocpi, to_ocpi
from tests.support.json_files import PAGE, ocpi, read, uids
from tests.support.ocpi import TOKEN

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


@pytest.mark.parametrize("data", [[], {}, {"x": 1}, [1, {"uid": "U9"}]])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("form", ["{}", "[{}]", "{}\n{}\n", "[[]]{}"])
def test_a_record_may_have_data_as_well(form: str, order: int, data: object) -> None:
    """It is no reply, and not lost."""
    record = dict(list({"csId": "cs1", "securityProfile": 2, "data": data}.items())[::order])
    text = form.replace("{}", json.dumps(record))
    rows = list(json_rows.read_lines(io.BytesIO(text.encode()), "f"))
    found = [row.data for row in rows if isinstance(row, Row) and row.data.get("csId") == "cs1"]
    assert len(found) == form.count("{}")
    assert all(row["securityProfile"] == 2 for row in found)


def test_a_reply_of_an_error_is_told() -> None:
    """As an eMSP answers what it does not like."""
    (row,) = read(
        '{"status_code": 2001, "status_message": "no", "timestamp": "2026-01-01T00:00:00Z"}'
    )
    assert isinstance(row, Unreadable)
    assert "no list called data" in row.reason


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

    @pytest.mark.parametrize("type_", ["EMAID", "MAC_ADDRESS", "Rfid card", ""])
    def test_a_type_beyond_ours(self, type_: str) -> None:
        data, doubts = from_ocpi(ocpi("U1", type=type_), NO_EMSP)
        assert (data["type"], doubts) == ("OTHER", ("token-type",))

    @pytest.mark.parametrize("type_", ["rfid", "Rfid", "app_user", "ad_hoc_User"])
    def test_a_type_of_ours_in_another_case(self, type_: str) -> None:
        data, doubts = from_ocpi(ocpi("U1", type=type_), NO_EMSP)
        assert (data["type"], doubts) == (type_.upper(), ())

    def test_a_moment_before_all_time_costs_itself(self) -> None:
        """As the first moment of .NET in a time zone."""
        data, doubts = from_ocpi(ocpi("U1", last_updated="0001-01-01T00:00:00+02:00"), NO_EMSP)
        assert "lastUpdated" not in data
        assert doubts == ("optional-value",)

    @pytest.mark.parametrize("other", ["contractId", "countryCode", "cacheMode"])
    def test_a_property_in_two_spellings(self, other: str) -> None:
        """Neither is taken for the right one."""
        (row,) = read(json.dumps(ocpi("U1") | {other: "NL"}))
        assert isinstance(row, Unreadable)
        assert row.reason == "a property is there twice, in two spellings"
        (row,) = read(json.dumps(ocpi("U1") | {other: None}))
        assert isinstance(row, Row)

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


def test_a_broken_line_spoils_no_other() -> None:
    text = f'{json.dumps(TWO[0])}\n{{"uid": "x", \n{json.dumps(TWO[1])}\n'
    assert uids(read(text)) == ["U1", "is not JSON (RFC 8259, UTF-8)", "U2"]
    text = f'{{"uid": x}}\n{json.dumps(TWO[1])}\n'
    assert uids(read(text)) == ["is not JSON (RFC 8259, UTF-8)", "U2"]


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

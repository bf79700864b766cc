"""Authorization tokens over HTTP: `POST /token` and `GET /token/{tokenUid}`."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis

from tests.conftest import API, Service, segment
from tests.support.made import TOKEN

# The Token object's example in OCPI 2.2.1, part 12.
OCPI_EXAMPLE = {
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
    "lastUpdated": "2015-06-29T22:39:09Z",
}
REQUIRED = TOKEN
OPTIONAL = {
    "visualNumber": "GBTWK 012345678",
    "groupId": "group",
    "languageCode": "en",
    "lastUpdated": "2019-08-24T14:15:22Z",
}


def without_date(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "lastUpdated"}


def test_ocpi_example(service: Service) -> None:
    """It comes back as it was, but for the check digit and the date."""
    before = datetime.now(UTC) - timedelta(seconds=1)

    created = service.post("/token", OCPI_EXAMPLE)
    found = service.get("/token/012345678")

    assert (created.status, created.body) == (201, b"")
    assert (found.status, found.headers["Content-Type"]) == (200, "application/json")
    record = found.json
    expected = OCPI_EXAMPLE | {"contractId": "DE8ACC12E46L891"}
    assert without_date(record) == without_date(expected)
    assert record["lastUpdated"].endswith("Z")
    assert before <= datetime.fromisoformat(record["lastUpdated"]) <= datetime.now(UTC)


def test_unknown_token(service: Service) -> None:
    reply = service.get("/token/unheard-of")

    assert (reply.status, reply.error) == (404, "There is no such token.")


def test_is_stored_as_a_hash_of_json_values(service: Service, redis: Redis) -> None:
    """A field is a property, its value is JSON; the key has the uid in upper case."""
    record = REQUIRED | OPTIONAL | {"uid": "Stored 1", "unknown": [1], "valid": False}
    assert service.post("/token", record).status == 201

    stored = redis.hgetall("token:STORED 1")

    expected = {
        name.encode(): json.dumps(value).encode()
        for name, value in record.items()
        if name not in {"unknown", "lastUpdated"}
    }
    assert stored.pop(b"lastUpdated") != json.dumps(OPTIONAL["lastUpdated"]).encode()
    assert stored == expected


def test_setting_again_replaces_the_whole_record(service: Service) -> None:
    """An optional property of the record before is gone."""
    uid = {"uid": "replaced"}
    assert service.post("/token", REQUIRED | OPTIONAL | uid).status == 201

    assert service.post("/token", REQUIRED | uid | {"issuer": "another"}).status == 201

    record = service.get("/token/replaced").json
    assert without_date(record) == REQUIRED | uid | {"issuer": "another"}


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_is_an_absent_optional_property(service: Service, redis: Redis, name: str) -> None:
    record = REQUIRED | OPTIONAL | {"uid": "nulls", name: None}
    assert service.post("/token", record).status == 201

    found = service.get("/token/nulls").json

    expected = without_date(record)
    expected.pop(name, None)
    assert without_date(found) == expected
    assert b"null" not in redis.hvals("token:NULLS")


@pytest.mark.parametrize("name", REQUIRED)
def test_null_is_no_required_property(service: Service, name: str) -> None:
    reply = service.post("/token", REQUIRED | {"uid": "refused", name: None})

    assert reply.status == 400
    assert reply.error.startswith(f"{name}: ")


@pytest.mark.parametrize("name", REQUIRED)
def test_names_the_missing_property(service: Service, redis: Redis, name: str) -> None:
    record: dict[str, Any] = REQUIRED | {"uid": "refused"}
    del record[name]

    reply = service.post("/token", record)

    assert (reply.status, reply.error) == (400, f"{name} is missing.")
    assert redis.exists("token:REFUSED") == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("countryCode", bad) for bad in ("", "D", "DEU", "D1", "D ", "\u00c4\u00d6", "DE\n", 1)],
        *[("partyId", bad) for bad in ("", "TW", "TWKS", "T-K", "T K", "TW\u00c4", "TWK\n", 123)],
        *[("type", bad) for bad in ("", "rfid", "RFID ", "CARD", 1, ["RFID"])],
        *[("uid", bad) for bad in ("", "x" * 37, "a\tb", "a\n", "\u00e4", "\x7f", "\x00", 12)],
        *[("contractId", bad) for bad in ("", "x" * 37, 12, ["GBTWK012345678V"])],
        *[("visualNumber", bad) for bad in ("x" * 65, 12, {"a": "b"})],
        *[("issuer", bad) for bad in ("x" * 65, 12, True)],
        *[("groupId", bad) for bad in ("x" * 37, 12)],
        *[("valid", bad) for bad in (1, 0, "true", "", 1.0, [True])],
        *[("languageCode", bad) for bad in ("", "e", "eng", "e1", "en\n", "\u00e9\u00e9", 1)],
        *[("cacheMode", bad) for bad in ("", "always", "SOMETIMES", 1)],
        *[("lastUpdated", bad) for bad in (0, 1566656122, True, "")],
    ],
)
def test_refuses_what_a_property_cannot_be(
    service: Service, redis: Redis, name: str, value: Any
) -> None:
    """The error names the property; nothing is written."""
    reply = service.post("/token", REQUIRED | {"uid": "refused"} | {name: value})

    assert reply.status == 400
    assert reply.error.startswith(f"{name}: ")
    assert redis.exists("token:REFUSED") == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("countryCode", good) for good in ("de", "De", "ZZ")],
        *[("partyId", good) for good in ("8ac", "000", "tWk")],
        *[("type", good) for good in ("AD_HOC_USER", "APP_USER", "OTHER", "RFID")],
        *[("visualNumber", good) for good in ("", "x" * 64, "\U0001f50c" * 64, "a\nb")],
        *[("issuer", good) for good in ("", "x" * 64, "\u5145" * 64, '"\\\x00')],
        *[("groupId", good) for good in ("", "x" * 36)],
        *[("valid", good) for good in (True, False)],
        *[("languageCode", good) for good in ("EN", "en")],
        *[("cacheMode", good) for good in ("ALWAYS", "ALLOWED", "ALLOWED_OFFLINE", "NEVER")],
    ],
)
def test_takes_what_a_property_may_be(service: Service, name: str, value: Any) -> None:
    """As it is: no case is changed and nothing is stripped."""
    assert service.post("/token", REQUIRED | {"uid": "taken"} | {name: value}).status == 201

    assert service.get("/token/taken").json[name] == value


@pytest.mark.parametrize(
    "date",
    [
        "2019-08-24T14:15:22Z",
        "2019-08-24t14:15:22z",
        "2019-08-24T14:15:22.123456789Z",
        "2019-08-24T14:15:22+02:00",
        "2019-08-24T14:15:22.5-23:59",
        "2016-12-31T23:59:60Z",
        "2020-02-29T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ],
)
def test_a_date_is_taken_and_ignored(service: Service, date: str) -> None:
    assert service.post("/token", REQUIRED | {"uid": "dated", "lastUpdated": date}).status == 201

    assert service.get("/token/dated").json["lastUpdated"] != date


@pytest.mark.parametrize(
    "date",
    [
        "2019-08-24",
        "2019-08-24T14:15:22",
        "2019-08-24 14:15:22Z",
        "2019-08-24T14:15Z",
        "2019-08-24T14:15:22+0200",
        "2019-08-24T14:15:22+02",
        "2019-08-24T14:15:22,5Z",
        "2019-13-24T14:15:22Z",
        "2019-02-29T14:15:22Z",
        "2019-08-24T24:15:22Z",
        "2019-08-24T14:60:22Z",
        "2019-08-24T14:15:61Z",
        "2019-08-24T14:15:22+24:00",
        "20190824T141522Z",
        "2019-W34-6T14:15:22Z",
        "\u0662\u0660\u0661\u0669-08-24T14:15:22Z",
        "2019-08-24T14:15:22Z\n",
        "yesterday",
    ],
)
def test_refuses_what_is_no_date(service: Service, date: str) -> None:
    reply = service.post("/token", REQUIRED | {"uid": "refused", "lastUpdated": date})

    assert (reply.status, reply.error) == (
        400,
        "lastUpdated: must be a date-time with its time zone, such as 2019-08-24T14:15:22Z.",
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("GBTWK012345678V", "GBTWK012345678V"),
        ("GB-TWK-012345678-V", "GBTWK012345678V"),
        ("gbtwk012345678", "GBTWK012345678V"),
        ("gb-twk-012345678", "GBTWK012345678V"),
        ("GbTwK012345678v", "GBTWK012345678V"),
        ("GBTWK-012345678V", "GBTWK012345678V"),
        ("DE8ACC12E46L89", "DE8ACC12E46L891"),
        ("DE-8AC-C12E46L89-1", "DE8ACC12E46L891"),
        ("not an eMAID", "not an eMAID"),
        ("GB--TWK-012345678", "GB--TWK-012345678"),
        ("1234", "1234"),
        ("gbtwk01234567\u0661", "gbtwk01234567\u0661"),
        ("x" * 36, "x" * 36),
        ("\U0001f50c", "\U0001f50c"),
    ],
)
def test_normalises_an_emaid_and_nothing_else(service: Service, given: str, kept: str) -> None:
    record = REQUIRED | {"uid": "emaid", "contractId": given}
    assert service.post("/token", record).status == 201

    assert service.get("/token/emaid").json["contractId"] == kept


@pytest.mark.parametrize("given", ["GBTWK012345678A", "gb-twk-012345678-a", "DE8ACC12E46L892"])
def test_refuses_a_wrong_check_digit(service: Service, redis: Redis, given: str) -> None:
    """The error names the right one."""
    reply = service.post("/token", REQUIRED | {"uid": "refused", "contractId": given})

    right = "DE8ACC12E46L891" if given.startswith("DE") else "GBTWK012345678V"
    assert reply.status == 400
    assert reply.error.startswith("contractId: the check digit ")
    assert f"{right[-1]} is right: send {right}, or leave the check digit out" in reply.error
    assert redis.exists("token:REFUSED") == 0


@pytest.mark.parametrize("spelling", ["Mixed-Case_1", "mixed-case_1", "MIXED-CASE_1"])
def test_is_found_whatever_the_case(service: Service, spelling: str) -> None:
    """The uid comes back as it was given."""
    assert service.post("/token", REQUIRED | {"uid": "Mixed-Case_1"}).status == 201

    assert service.get(f"/token/{spelling}").json["uid"] == "Mixed-Case_1"


def test_uids_that_differ_in_case_are_one(service: Service, redis: Redis) -> None:
    """The later replaces the earlier."""
    assert service.post("/token", REQUIRED | {"uid": "one-card", "issuer": "first"}).status == 201
    assert service.post("/token", REQUIRED | {"uid": "ONE-card", "issuer": "second"}).status == 201

    record = service.get("/token/one-CARD").json

    assert (record["uid"], record["issuer"]) == ("ONE-card", "second")
    assert list(redis.scan_iter("token:[oO][nN][eE]-*")) == [b"token:ONE-CARD"]


@pytest.mark.parametrize(
    "uid",
    [" ", "a b", "{uid}", "a/b", "..", "50%", "%41", "a+b", "a?b#c", '"', "\\", "~" * 36, "^[`"],
)
def test_takes_any_printable_ascii_as_uid(service: Service, uid: str) -> None:
    assert service.post("/token", REQUIRED | {"uid": uid}).status == 201

    found = service.get(f"/token/{segment(uid)}")

    assert (found.status, found.json["uid"]) == (200, uid)


@pytest.mark.parametrize(
    "bad",
    ["%", "%zz", "%4", "%FF", "%00", "%0A", "%7F", "%C3%A9", "x" * 37, "%E2%84%AA", "%C5%BF"],
)
def test_what_is_no_uid_is_not_found(service: Service, bad: str) -> None:
    """The Kelvin sign and the long s too, though their upper or lower case is ASCII."""
    assert service.post("/token", REQUIRED | {"uid": "k"}).status == 201
    assert service.post("/token", REQUIRED | {"uid": "s"}).status == 201

    reply = service.get(f"/token/{bad}")

    assert (reply.status, reply.error) == (404, "There is no such token.")


def test_answers_in_the_order_of_the_contract(service: Service) -> None:
    """As compact JSON, whatever the order in the request."""
    record = dict(reversed((REQUIRED | OPTIONAL | {"uid": "ordered"}).items()))
    assert service.post("/token", record).status == 201

    body = service.get("/token/ordered").body

    assert b" :" not in body
    assert list(json.loads(body)) == [
        "countryCode",
        "partyId",
        "type",
        "uid",
        "contractId",
        "visualNumber",
        "issuer",
        "groupId",
        "valid",
        "languageCode",
        "cacheMode",
        "lastUpdated",
    ]


@pytest.mark.parametrize("path", ["/token/", "/token/a/b", "/tokens"])
def test_other_paths_are_no_route(service: Service, path: str) -> None:
    reply = service.request("GET", API + path)

    assert reply.status == 404
    assert reply.error == "There is no such path; /docs lists the operations."

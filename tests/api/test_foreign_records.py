"""Records that others than this service stored: they are not shown, and spoil nobody's page."""

import json
from typing import Any

import pytest

from tests.api.walking import listed
from tests.conftest import Service, segment

UPDATED = '"2026-01-01T00:00:00Z"'
STATION = {"securityProfile": "2", "registrationStatus": '"Pending"', "lastUpdated": UPDATED}
TOKEN = {
    "countryCode": '"GB"',
    "partyId": '"TWK"',
    "type": '"RFID"',
    "uid": '"GOOD"',
    "contractId": '"GBTWK012345678V"',
    "issuer": '"Thoughtworks"',
    "valid": "true",
    "cacheMode": '"ALWAYS"',
    "lastUpdated": UPDATED,
}
SUMMARY = {
    "certificate": '"x"',
    "subject": '"CN=x"',
    "issuer": '"CN=y"',
    "serialNumber": '"01"',
    "notBefore": UPDATED,
    "notAfter": UPDATED,
    "lastUpdated": UPDATED,
}
BROKEN = ["Pending", '"Pending', "", "{", "1}", '1},{"a":2', "\x00", b'"\xff"', "NaN"]


@pytest.mark.parametrize("value", BROKEN)
def test_a_field_that_is_no_json(service: Service, redis: Any, value: str | bytes) -> None:
    """Its record is on no page and not found; the others are."""
    redis.flushall()
    good, bad = "A" * 43 + "=", "B" * 42 + "A="
    for start, right, field in (
        ("cs", STATION, "registrationStatus"),
        ("token", TOKEN, "issuer"),
        ("certificate", SUMMARY, "subject"),
    ):
        ids = (good, bad) if start == "certificate" else ("GOOD", "BAD")
        redis.hset(f"{start}:{ids[0]}", mapping=right)
        redis.hset(f"{start}:{ids[1]}", mapping=right | {"uid": '"BAD"', field: value})

    assert [one["csId"] for one in listed(service, "/cs")] == ["GOOD"]
    assert [one["uid"] for one in listed(service, "/token")] == ["GOOD"]
    assert [one["certificateHash"] for one in listed(service, "/certificate")] == [good]
    assert service.get("/cs/GOOD").json["csId"] == "GOOD"
    assert service.get("/cs/BAD").status == 404
    assert service.delete("/cs/BAD").status == 204
    assert service.delete(f"/certificate/{segment(bad)}").status == 204


@pytest.mark.parametrize("uid", [None, "5", "null", "[]"])
def test_a_token_without_a_uid(service: Service, redis: Any, uid: str | None) -> None:
    """It is none."""
    redis.flushall()
    redis.hset("token:GOOD", mapping=TOKEN)
    without = {name: value for name, value in TOKEN.items() if name != "uid"}
    redis.hset("token:BAD", mapping=without | ({} if uid is None else {"uid": uid}))

    assert [one["uid"] for one in listed(service, "/token")] == ["GOOD"]
    assert json.loads(service.get("/token?valid=true").body)[0]["uid"] == "GOOD"
    assert service.delete("/token/BAD").status == 204

"""`PUT /cs/{csId}/password`: a new credential, and nothing else changed."""

import json
from typing import Any

import pytest
from redis import Redis

from tests.conftest import API, Reply, Service, password_hash

OLD, NEW = password_hash("old"), password_hash("new")
STATION = {
    "securityProfile": 1,
    "base64SHA256Password": OLD,
    "invalidUsernameAllowed": True,
}
JSON = {"Content-Type": "application/json"}


def set_password(service: Service, cs_id: str, body: object) -> Reply:
    return service.request("PUT", f"{API}/cs/{cs_id}/password", json.dumps(body), JSON)


@pytest.mark.parametrize("status", ["Accepted", "Pending", "Rejected"])
def test_it_changes_the_credential_only(service: Service, redis: Redis, status: str) -> None:
    """Not the profile, nor the status: a blocked station stays so. Lookups have it at once."""
    assert service.post("/cs/rotated", STATION).status == 201
    key = "cs:rotated"
    redis.hset(key, mapping={"registrationStatus": f'"{status}"', "lastUpdated": '"2020"'})
    before = redis.hgetall(key)
    service.get("/cs/rotated/auth")

    reply = set_password(service, "rotated", {"base64SHA256Password": NEW})

    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["Cache-Control"] == "no-store"
    after = redis.hgetall(key)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {b"base64SHA256Password", b"lastUpdated"}
    found = service.get("/cs/rotated/auth")
    if status == "Rejected":
        assert found.status == 404
    else:
        assert found.json == STATION | {"base64SHA256Password": NEW}


def test_who_is_not_there_gets_none(service: Service, redis: Redis) -> None:
    """And no record is made; nor is another program's changed."""
    redis.hset("cs:foreign-hash", "theirs", "1")
    redis.set("cs:foreign-text", "theirs")
    try:
        for cs_id in ("nobody", "foreign-hash", "foreign-text", "a%0Ab"):
            reply = set_password(service, cs_id, {"base64SHA256Password": NEW})
            assert (reply.status, reply.error) == (404, "There is no such charge station.")
        assert redis.exists("cs:nobody") == 0
        assert redis.hgetall("cs:foreign-hash") == {b"theirs": b"1"}
    finally:
        redis.delete("cs:foreign-hash", "cs:foreign-text")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "base64SHA256Password is missing."),
        ({"base64SHA256Password": None}, "base64SHA256Password: "),
        ({"base64SHA256Password": 1}, "base64SHA256Password: "),
        ({"base64SHA256Password": ""}, "base64SHA256Password: "),
        ({"base64SHA256Password": "x" * 257}, "base64SHA256Password: "),
        ([], "The body must be a JSON object."),
    ],
)
def test_says_what_is_wrong(service: Service, body: object, error: str) -> None:
    service.post("/cs/kept", STATION)

    reply = set_password(service, "kept", body)

    assert reply.status == 400
    assert reply.error.startswith(error)
    assert service.get("/cs/kept/auth").json["base64SHA256Password"] == OLD


def test_it_is_told_without_the_hash(service: Service) -> None:
    """Which station it was, by whom and what came of it; a doubtful one is warned of."""
    service.post("/cs/rotated", STATION)
    doubtful = "not-a-sha-256"
    for value in (NEW, doubtful):
        assert set_password(service, "rotated", {"base64SHA256Password": value}).status == 204

    told: dict[str, Any] = service.events("write")[-1]

    assert told["operation"] == "setChargeStationPassword"
    assert (told["csId"], told["outcome"]) == ("rotated", "done")
    assert service.events("doubtful station")[-1]["doubt"] == "password-no-sha256"
    assert NEW not in service.log
    assert doubtful not in service.log

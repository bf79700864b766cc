"""Charge stations over HTTP: `POST /cs/{csId}` and `GET /cs/{csId}/auth`."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis

from tests.conftest import API, Service, password_hash, segment, wait_for
from tests.support.listed import keys_of_records

PASSWORD = password_hash("fiddlesticks_fishsticks")
REJECTED = b'"Rejected"'

ODD_IDS = [
    "cs 001",
    " cs ",
    "{cs}",
    "{csId}",
    "a/b/auth",
    "/",
    "//",
    "..",
    ".",
    "50%",
    "%41",
    "%2F",
    "a?b",
    "a&b=c;d,e",
    'say "hi"',
    "back\\slash",
    "<script>",
    "\u00fc\u00f1\u00ed",
    "e\u0301",  # not the one character that looks like it
    "\u5145\u7535\u7ad9",
    "\U0001f50c",
    "\u2028",
    "\u200b",
    "\ufeff",
    "\ufffd",
    "\U0010ffff",
    "x" * 48,
    "\U0001f50c" * 48,
    "cs:1",
    "*",
    "null",
    "0",
]
REFUSED_SEGMENTS = {
    "49 characters": "x" * 49,
    "49 characters, escaped": segment("\u00e9" * 49),
    "NUL": "%00",
    "newline": "cs%0A1",
    "carriage return": "cs%0D1",
    "tab": "cs%091",
    "escape": "%1B[31m",
    "delete": "%7F",
    "C1 control": "%C2%85",
    "not UTF-8": "%FF",
    "half a character": "%C3",
    "overlong": "%C0%AF",
    "surrogate": "%ED%A0%80",
    "lone percent": "%",
    "percent at the end": "cs%",
    "half an escape": "%4",
    "no hex digits": "%zz",
    "unicode escape": "%u00e9",
}


def test_register_and_look_up(service: Service) -> None:
    """The issue's own example: cs001 is found, cs002 is not."""
    created = service.post("/cs/cs001", {"securityProfile": 1, "base64SHA256Password": PASSWORD})
    found = service.get("/cs/cs001/auth")
    unknown = service.get("/cs/cs002/auth")

    assert (created.status, created.body) == (201, b"")
    assert found.status == 200
    assert found.headers["Content-Type"] == "application/json"
    assert found.body == b'{"securityProfile":1,"base64SHA256Password":"%b"}' % PASSWORD.encode()
    assert (unknown.status, unknown.json) == (
        404,
        {"status": "Not Found", "error": "There is no such charge station."},
    )


def test_is_stored_as_a_hash_of_json_values(service: Service, redis: Redis) -> None:
    """A field is a property, its value is JSON; nothing else of the body is kept."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    record = {"securityProfile": 0, "base64SHA256Password": PASSWORD, "unknown": {"a": 1}}
    assert service.post("/cs/stored", record).status == 201

    stored = redis.hgetall("cs:stored")

    last_updated = json.loads(stored.pop(b"lastUpdated"))
    assert stored == {
        b"securityProfile": b"0",
        b"base64SHA256Password": json.dumps(PASSWORD).encode(),
        b"registrationStatus": b'"Pending"',
    }
    assert last_updated.endswith("Z")
    assert before <= datetime.fromisoformat(last_updated) <= datetime.now(UTC)


def test_every_property_comes_back(service: Service) -> None:
    record = {
        "securityProfile": 2,
        "base64SHA256Password": PASSWORD,
        "invalidUsernameAllowed": False,
    }
    assert service.post("/cs/whole", record).status == 201

    assert service.get("/cs/whole/auth").json == record


def test_registering_again_replaces_the_whole_record(service: Service, redis: Redis) -> None:
    """An optional property of the record before is gone."""
    first = {
        "securityProfile": 1,
        "base64SHA256Password": PASSWORD,
        "invalidUsernameAllowed": True,
    }
    assert service.post("/cs/replaced", first).status == 201
    redis.hset("cs:replaced", "leftover", "1")

    assert service.post("/cs/replaced", {"securityProfile": 2}).status == 201

    assert service.get("/cs/replaced/auth").json == {"securityProfile": 2}
    assert set(redis.hkeys("cs:replaced")) == {
        b"securityProfile",
        b"registrationStatus",
        b"lastUpdated",
    }


def test_registering_again_makes_it_pending(service: Service, redis: Redis) -> None:
    """Whatever it was, save rejected."""
    assert service.post("/cs/accepted", {"securityProfile": 2}).status == 201
    redis.hset("cs:accepted", "registrationStatus", '"Accepted"')

    assert service.post("/cs/accepted", {"securityProfile": 2}).status == 201

    assert redis.hget("cs:accepted", "registrationStatus") == b'"Pending"'


def test_rejected_stays_rejected(service: Service, redis: Redis) -> None:
    """A rejected station is not found; registering it replaces its credentials, no more."""
    first = {"securityProfile": 1, "base64SHA256Password": PASSWORD, "invalidUsernameAllowed": True}
    assert service.post("/cs/rejected", first).status == 201
    redis.hset("cs:rejected", "registrationStatus", REJECTED)
    wait_for(lambda: service.get("/cs/rejected/auth").status == 404, "the station is turned away")
    assert service.get("/cs/rejected/auth").body == service.get("/cs/cs-unheard-of/auth").body

    second = {"securityProfile": 0, "base64SHA256Password": password_hash("another")}
    assert service.post("/cs/rejected", second).status == 201

    assert service.get("/cs/rejected/auth").status == 404
    assert redis.hget("cs:rejected", "registrationStatus") == REJECTED
    assert redis.hget("cs:rejected", "securityProfile") == b"0"
    assert redis.hget("cs:rejected", "base64SHA256Password") == b'"%b"' % (
        password_hash("another").encode()
    )
    assert not redis.hexists("cs:rejected", "invalidUsernameAllowed")

    redis.hset("cs:rejected", "registrationStatus", '"Accepted"')
    wait_for(lambda: service.get("/cs/rejected/auth").status == 200, "the block is lifted")
    assert service.get("/cs/rejected/auth").json == second


@pytest.mark.parametrize("profile", [0, 1, 2])
def test_takes_each_security_profile(service: Service, profile: int) -> None:
    assert service.post("/cs/profile", {"securityProfile": profile}).status == 201

    assert service.get("/cs/profile/auth").body == b'{"securityProfile":%d}' % profile


@pytest.mark.parametrize(
    "profile", [True, False, 1.0, 0.5, "1", -1, 3, 10**30, -0.0, None, [1], {"value": 1}]
)
def test_refuses_any_other_security_profile(service: Service, redis: Redis, profile: Any) -> None:
    reply = service.post("/cs/refused", {"securityProfile": profile})

    assert reply.status == 400
    assert reply.error.startswith("securityProfile: ")
    assert redis.exists("cs:refused") == 0


@pytest.mark.parametrize("profile", ["1e0", "1.0", "0x1", "01", "+1", "NaN", "Infinity", "1E400"])
def test_refuses_other_spellings_of_numbers(service: Service, profile: str) -> None:
    body = f'{{"securityProfile":{profile}}}'
    headers = {"Content-Type": "application/json"}

    reply = service.request("POST", f"{API}/cs/refused", body, headers)

    assert (reply.status, bool(reply.error)) == (400, True)


def test_names_the_missing_property(service: Service) -> None:
    reply = service.post("/cs/refused", {"base64SHA256Password": PASSWORD})

    assert (reply.status, reply.error) == (400, "securityProfile is missing.")


@pytest.mark.parametrize("password", [1, True, ["a"], {}, "x" * 257])
def test_refuses_what_is_no_password(service: Service, password: Any) -> None:
    """Neither a non-string nor more than 256 characters; the error does not show it."""
    record = {"securityProfile": 1, "base64SHA256Password": password}

    reply = service.post("/cs/refused", record)

    assert reply.status == 400
    assert reply.error.startswith("base64SHA256Password: ")
    assert "xxx" not in reply.error


@pytest.mark.parametrize(
    "password",
    ["", "x" * 256, "deadbeef", PASSWORD.rstrip("="), 'quote"\\', "\n\t\x00", "\u00fc\U0001f50c"],
)
def test_keeps_any_password_as_given(service: Service, password: str) -> None:
    """The contract allows any text; a warning in the log is all, as strict mode is off."""
    record = {"securityProfile": 1, "base64SHA256Password": password}
    assert service.post("/cs/any-password", record).status == 201

    assert service.get("/cs/any-password/auth").json == record


def test_a_lone_surrogate_is_no_text(service: Service) -> None:
    body = rb'{"securityProfile":1,"base64SHA256Password":"\ud800"}'
    headers = {"Content-Type": "application/json"}

    assert service.request("POST", f"{API}/cs/refused", body, headers).status == 400


@pytest.mark.parametrize("allowed", [1, 0, "true", [], 1.0])
def test_refuses_what_is_no_boolean(service: Service, allowed: Any) -> None:
    reply = service.post("/cs/refused", {"securityProfile": 1, "invalidUsernameAllowed": allowed})

    assert reply.status == 400
    assert reply.error.startswith("invalidUsernameAllowed: ")


def test_null_is_an_absent_optional_property(service: Service, redis: Redis) -> None:
    record = {"securityProfile": 2, "base64SHA256Password": None, "invalidUsernameAllowed": None}
    assert service.post("/cs/nulls", record).status == 201

    assert service.get("/cs/nulls/auth").json == {"securityProfile": 2}
    assert set(redis.hkeys("cs:nulls")) == {
        b"securityProfile",
        b"registrationStatus",
        b"lastUpdated",
    }


def test_a_body_cannot_set_what_the_service_sets(service: Service, redis: Redis) -> None:
    record = {"securityProfile": 2, "registrationStatus": "Rejected", "lastUpdated": "never"}
    assert service.post("/cs/sneaky", record).status == 201

    assert redis.hget("cs:sneaky", "registrationStatus") == b'"Pending"'
    assert redis.hget("cs:sneaky", "lastUpdated") != b'"never"'
    assert service.get("/cs/sneaky/auth").status == 200


def test_the_last_of_two_equal_names_counts(service: Service) -> None:
    body = '{"securityProfile":0,"securityProfile":2}'
    headers = {"Content-Type": "application/json"}
    assert service.request("POST", f"{API}/cs/twice", body, headers).status == 201

    assert service.get("/cs/twice/auth").json == {"securityProfile": 2}


@pytest.mark.parametrize("cs_id", ODD_IDS)
def test_takes_odd_ids(service: Service, redis: Redis, cs_id: str) -> None:
    """Braces, slashes, spaces and all of Unicode are ordinary characters in a csId."""
    record = {"securityProfile": 1, "base64SHA256Password": password_hash(cs_id)}
    assert service.post(f"/cs/{segment(cs_id)}", record).status == 201

    assert service.get(f"/cs/{segment(cs_id)}/auth").json == record
    assert redis.hget(f"cs:{cs_id}", "securityProfile") == b"1"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{braces}", "%7Bbraces%7D"),
        ("a%2fb", "a%2Fb"),
        ("%63s", "cs"),
        ("a$b", "a%24b"),
        ("a:b@c;d=e", "a%3Ab%40c%3Bd%3De"),
        ("~-._", "%7E%2D%2E%5F"),
    ],
)
def test_escaped_or_not_is_the_same_id(service: Service, one: str, other: str) -> None:
    record = {"securityProfile": 1, "base64SHA256Password": password_hash(one)}
    assert service.post(f"/cs/{one}", record).status == 201

    assert service.get(f"/cs/{other}/auth").json == record


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Case", "case"),
        ("e%CC%81", "%C3%A9"),
        ("a_c", "a%20c"),
        ("%2541", "A"),
        ("%25FF", "%EF%BF%BD"),
        ("space", "space%20"),
    ],
)
def test_different_texts_are_different_ids(service: Service, one: str, other: str) -> None:
    """No case is folded, nothing is normalised, decoded twice or stripped."""
    assert service.post(f"/cs/{one}", {"securityProfile": 0}).status == 201

    assert service.post(f"/cs/{other}", {"securityProfile": 2}).status == 201

    assert service.get(f"/cs/{one}/auth").json == {"securityProfile": 0}
    assert service.get(f"/cs/{other}/auth").json == {"securityProfile": 2}


@pytest.mark.parametrize("bad", REFUSED_SEGMENTS.values(), ids=REFUSED_SEGMENTS.keys())
def test_refuses_what_is_no_id(service: Service, redis: Redis, bad: str) -> None:
    """Nothing is written, and a lookup finds nothing."""
    before = keys_of_records(redis)

    refused = service.post(f"/cs/{bad}", {"securityProfile": 0})
    looked_up = service.get(f"/cs/{bad}/auth")

    assert refused.status == 400
    assert refused.error == "csId must be 1 to 48 characters of UTF-8, none a control character."
    assert (looked_up.status, bool(looked_up.error)) == (404, True)
    assert keys_of_records(redis) == before


@pytest.mark.parametrize("path", ["/cs/", "/cs//auth", "/cs/cs001/auth/", "/cs/a/b/auth"])
def test_an_empty_or_a_second_segment_is_no_route(service: Service, path: str) -> None:
    reply = service.get(path)

    assert (reply.status, reply.error) == (
        404,
        "There is no such path; /docs lists the operations.",
    )


def test_unescaped_utf8_is_no_http(service: Service) -> None:
    """RFC 9112, 3.2: a request target is ASCII."""
    with service.raw() as connection:
        connection.send(f"GET {API}/cs/k\u00f6ln/auth HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        reply = connection.reply()

    assert (reply.status, bool(reply.error)) == (400, True)


def test_head_is_a_get_without_a_body(service: Service) -> None:
    assert service.post("/cs/head", {"securityProfile": 2}).status == 201

    got = service.get("/cs/head/auth")
    head = service.request("HEAD", f"{API}/cs/head/auth")

    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert service.request("HEAD", f"{API}/cs/no-head/auth").status == 404

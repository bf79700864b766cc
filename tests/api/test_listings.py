"""Listings: every record once, filters, what is wrong with a query."""

import datetime as dt
from collections import Counter
from typing import Any

import pytest

from tests.api.walking import listed, pages
from tests.conftest import (
    DATA,
    Service,
    segment,
)
from tests.support.listed import HASHED, MIDNIGHT, NO_CURSOR, TOKEN, add_all, flush, signed
from tests.support.pem import PUBLISHED


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 20, 99, 100])
def test_every_station_is_listed(service: Service, stations: dict[str, int], limit: int) -> None:
    """Whatever the pages' size, which is never more than was asked for."""
    found = []
    for page in pages(service, "/cs", {"limit": limit}):
        assert len(page.json) <= limit
        found += page.json

    assert {one["csId"]: one["auth"]["securityProfile"] for one in found} == stations
    assert len(found) == len(stations)  # nothing came or went, so that none comes twice


def test_the_default_is_twenty(service: Service, stations: dict[str, int]) -> None:
    sizes = [len(page.json) for page in pages(service, "/cs")]

    assert max(sizes) <= 20
    assert sum(sizes) == len(stations)
    assert len(sizes) < 30  # and pages are not all but empty


def test_no_page_shows_a_credential(service: Service, stations: dict[str, int]) -> None:
    del stations
    for page in pages(service, "/cs", {"limit": 100}):
        assert HASHED.encode() not in page.body
        for one in page.json:
            assert one.keys() == {"csId", "auth", "registrationStatus", "lastUpdated"}
            assert one["auth"].keys() == {"securityProfile"}


@pytest.mark.parametrize("limit", [1, 20, 100])
def test_filters_of_stations(service: Service, stations: dict[str, int], limit: int) -> None:
    rejected = {cs_id for cs_id in stations if cs_id.endswith("7")}

    def ids(**query: object) -> Counter[str]:
        return Counter(one["csId"] for one in listed(service, "/cs", {"limit": limit} | query))

    assert ids(registrationStatus="Rejected") == Counter(rejected)
    assert ids(registrationStatus="Pending") == Counter(stations.keys() - rejected)
    assert ids(registrationStatus="Accepted") == Counter()
    assert ids(securityProfile=2) == Counter(one for one, at in stations.items() if at == 2)
    assert ids(csIdPrefix="list-29") == Counter(f"list-29{digit}" for digit in range(10))
    assert ids(csIdPrefix="list-297") == Counter(["list-297"])
    assert ids(csIdPrefix="LIST") == Counter()
    assert ids(csIdPrefix="list-2", registrationStatus="Rejected", securityProfile=0) == Counter(
        one for one in rejected if one.startswith("list-2") and stations[one] == 0
    )


@pytest.mark.parametrize(
    "cs_id", ["*", "?", "[a]", "a*b", "\\", "a\\*", "[^a", "^", "{}", "%", "a b", "$", "\U0001f50c"]
)
def test_a_prefix_is_taken_as_it_is(service: Service, redis: Any, cs_id: str) -> None:
    """It is no pattern."""
    flush(redis)
    assert service.post(f"/cs/{segment(cs_id)}", {"securityProfile": 2}).status == 201
    try:
        found = [one["csId"] for one in listed(service, "/cs", {"csIdPrefix": cs_id})]
    finally:
        assert service.delete(f"/cs/{segment(cs_id)}").status == 204

    assert found == [cs_id]


@pytest.fixture
def tokens(service: Service, redis: Any) -> dict[str, dict[str, Any]]:
    """120 tokens in groups of ten; some have the hyphens and the case that nobody has to keep."""
    flush(redis)
    made = {}
    for number in range(120):
        token: dict[str, Any] = TOKEN | {
            "uid": f"Token {number}",
            "valid": number % 4 > 0,
            "contractId": f"GB-TWK-{number % 12:09}",
        }
        if number < 100:
            token["groupId"] = f"group/{number // 10}"
        assert service.post("/token", token).status == 201
        made[token["uid"]] = token
    add_all(redis, {f"cs:{number}": {"securityProfile": 2} for number in range(50)})
    return made


@pytest.mark.parametrize("limit", [1, 20, 100])
def test_every_token_is_listed_as_it_is_looked_up(
    service: Service, tokens: dict[str, dict[str, Any]], limit: int
) -> None:
    found = listed(service, "/token", {"limit": limit})

    assert Counter(one["uid"] for one in found) == Counter(tokens.keys())
    for one in found[::10]:
        assert service.get(f"/token/{segment(one['uid'])}").json == one


@pytest.mark.parametrize("limit", [1, 20, 100])
def test_filters_of_tokens(service: Service, tokens: dict[str, dict[str, Any]], limit: int) -> None:
    def uids(**query: object) -> Counter[str]:
        return Counter(one["uid"] for one in listed(service, "/token", {"limit": limit} | query))

    def those(name: str, value: object) -> Counter[str]:
        return Counter(uid for uid, token in tokens.items() if token.get(name) == value)

    assert uids(groupId="group/3") == those("groupId", "group/3")
    assert uids(groupId="group/33") == Counter()
    assert uids(valid="false") == those("valid", False)  # noqa: FBT003 a property's value
    assert uids(valid="true") == those("valid", True)  # noqa: FBT003 a property's value
    seven = those("contractId", "GB-TWK-000000007")
    assert len(seven) == 10
    for spelling in ("GB-TWK-000000007", "gbtwk000000007"):
        assert uids(contractId=spelling) == seven
    assert uids(contractId="gbtwk000000007", valid="false") == Counter()
    assert uids(groupId="group/0", valid="false") == Counter(["Token 0", "Token 4", "Token 8"])


@pytest.mark.parametrize("limit", [1, 20, 100])
@pytest.mark.parametrize("query", [{}, {"valid": "true"}])
def test_an_offset_leaves_so_many_out(
    service: Service, tokens: dict[str, dict[str, Any]], limit: int, query: dict[str, str]
) -> None:
    """What is left out and what is not are all there are; the pages after it go on."""
    all_of_them = [one["uid"] for one in listed(service, "/token", {"limit": 100} | query)]
    assert len(all_of_them) == sum(token["valid"] or not query for token in tokens.values())
    for offset in (0, 1, 19, 20, 50, len(all_of_them) - 1, len(all_of_them), 10_000):
        rest = listed(service, "/token", {"limit": limit, "offset": offset} | query)
        assert Counter(one["uid"] for one in rest) <= Counter(all_of_them)
        assert len(rest) == max(0, len(all_of_them) - offset)


def test_offsets_walk_as_in_maeve(service: Service, tokens: dict[str, dict[str, Any]]) -> None:
    """Offset by offset, while nothing changes: what a page has is what the next one leaves out."""
    seen: list[str] = []
    while page := service.get(f"/token?limit=50&offset={len(seen)}").json:
        seen += [one["uid"] for one in page]
    assert Counter(seen) == Counter(tokens.keys())


@pytest.fixture
def certificates(service: Service, redis: Any) -> dict[str, int]:
    """By their hash, how many days after midnight certificates run out.

    Every other is an old record, that does not have what it says of itself.
    """
    flush(redis)
    made = {}
    for days in range(-20, 20):
        pem, digest, _ = signed(f"cs{days}", MIDNIGHT + dt.timedelta(days=days))
        assert service.post("/certificate", {"certificate": pem}).status == 201
        if days % 2:
            added = ("subject", "issuer", "serialNumber", "notBefore", "notAfter")
            assert redis.hdel(f"certificate:{digest}", *added) == len(added)
        made[digest] = days
    redis.hset(f"certificate:{'A' * 43}=", "certificate", '"no PEM"')
    return made


def test_what_certificates_say_of_themselves(service: Service, redis: Any) -> None:
    """Of one that is, and of an old record."""
    text = (DATA / "certificates" / "HUBOpenProvCert001.pem").read_text(encoding="ascii")
    digest = PUBLISHED["HUBOpenProvCert001.pem"].replace("/", "_").replace("+", "-")
    pem, own_digest, serial = signed("cs,001", MIDNIGHT)
    flush(redis)
    for one in (text, pem):
        assert service.post("/certificate", {"certificate": one}).status == 201
    try:
        new = {one["certificateHash"]: one for one in listed(service, "/certificate")}
        redis.hdel(f"certificate:{digest}", "notAfter", "subject")
        old = {one["certificateHash"]: one for one in listed(service, "/certificate")}
    finally:
        flush(redis)

    assert new == old
    assert all(one.pop("lastUpdated").endswith("Z") for one in new.values())
    assert new == {
        digest: {
            "certificateHash": digest,
            "subject": "CN=EMP77TWTW00002,O=Hubject",
            "issuer": "CN=MO Sub2 CA QA G1.2.1,O=Hubject GmbH,C=DE",
            "serialNumber": "5C019A19CD2875DBA11FA6272B4E4D6B",
            "notBefore": "2023-05-23T12:55:53Z",
            "notAfter": "2024-03-01T00:00:00Z",
        },
        own_digest: {
            "certificateHash": own_digest,
            "subject": "CN=cs\\,001,C=DE",
            "issuer": "CN=authority",
            "serialNumber": serial.to_bytes((serial.bit_length() + 7) // 8).hex().upper(),
            "notBefore": "2029-09-23T00:00:00Z",
            "notAfter": "2030-01-01T00:00:00Z",
        },
    }


@pytest.mark.parametrize("limit", [1, 20, 100])
def test_filter_of_certificates(service: Service, certificates: dict[str, int], limit: int) -> None:
    """Those that end before a moment, wherever its clock stands, and not those that end then."""
    for moment, before in (
        ("2030-01-01T00:00:00Z", 0),
        ("2030-01-01T00:00:00.001Z", 1),
        ("2030-01-01T02:00:00+02:00", 0),
        ("2030-01-01T00:00:00-00:01", 1),
        ("2000-01-01T00:00:00Z", -20),
        ("2040-01-01t00:00:00z", 20),
        ("2029-12-31T23:59:60Z", 0),
    ):
        found = listed(service, "/certificate", {"expiresBefore": moment, "limit": limit})
        assert Counter(one["certificateHash"] for one in found) == Counter(
            digest for digest, days in certificates.items() if days < before
        )


def test_a_record_that_is_no_certificate_is_listed_as_such(
    service: Service, certificates: dict[str, int]
) -> None:
    """So that it can be removed."""
    digest = "A" * 43 + "="
    found = {one["certificateHash"]: one for one in listed(service, "/certificate")}

    assert found.keys() == {*certificates, digest}
    assert found[digest] == {"certificateHash": digest}


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/cs?limit=0", "limit: must be 1 or more."),
        ("/cs?limit=101", "limit: must be 100 or less."),
        ("/cs?limit=-1", "limit: must be 1 or more."),
        ("/cs?limit=", "limit: must be a whole number."),
        ("/cs?limit", "limit: must be a whole number."),
        ("/cs?limit=1.0", "limit: must be a whole number."),
        ("/cs?limit=1e1", "limit: must be a whole number."),
        ("/cs?limit=+1", "limit: must be a whole number."),
        ("/cs?limit=%D9%A1", "limit: must be a whole number."),
        ("/cs?limit=10000000000", "limit: must be a whole number."),
        ("/cs?limit=5&limit=5", "The query has a parameter twice; send it once."),
        (
            "/cs?registrationStatus=rejected",
            "registrationStatus: must be 'Accepted', 'Pending' or 'Rejected'.",
        ),
        ("/cs?securityProfile=3", "securityProfile: must be 2 or less; "),
        ("/cs?securityProfile=true", "securityProfile: must be a whole number; "),
        ("/cs?csIdPrefix=", "csIdPrefix: must be 1 to 48 characters, none a control character."),
        ("/cs?csIdPrefix=%0A", "csIdPrefix: must be 1 to 48 characters, none a control character."),
        ("/cs?csIdPrefix=%FF", "The query must be names and values in UTF-8, escaped by %."),
        ("/cs?csIdPrefix=%zz", "The query must be names and values in UTF-8, escaped by %."),
        ("/cs?registrationstatus=a", 'There is no query parameter "registrationstatus"; there are'),
        ("/cs?offset=1", 'There is no query parameter "offset"; there are limit, cursor, regis'),
        ("/cs?&", 'There is no query parameter ""; there are limit, cursor, registration'),
        ("/token?offset=-1", "offset: must be 0 or more."),
        ("/token?offset=10001", "offset: must be 10000 or less."),
        ("/token?valid=1", "valid: must be true or false."),
        ("/token?valid=True", "valid: must be true or false."),
        ("/token?groupId=" + "x" * 37, "groupId: must have 36 characters or fewer."),
        ("/token?contractId=GBTWK012345678A", "contractId: the check digit A of the contract id"),
        ("/token?cursor=AAAA&offset=0", "A cursor has its own beginning; send it without offset."),
        ("/certificate?expiresBefore=2030-01-01", "expiresBefore: must be a date-time"),
        ("/certificate?expiresBefore=2030-01-01T00:00:00+01:00", "expiresBefore: must be a date"),
        ("/cs?cursor=AAAA", NO_CURSOR),
        ("/cs?cursor=", "cursor: must not be empty."),
        ("/cs?cursor=a%20b", "cursor: must match the pattern ^[A-Za-z0-9_-]+$."),
        ("/cs?cursor=" + "A" * 4097, "cursor: must have 4096 characters or fewer."),
    ],
)
def test_says_what_is_wrong_with_a_query(service: Service, path: str, error: str) -> None:
    reply = service.get(path)

    assert reply.status == 400
    assert reply.error.startswith(error)
    assert "xxxx" not in reply.error

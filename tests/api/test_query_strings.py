"""What nobody asked for in a query is refused by every operation, before anything is done.

A `?` that was not escaped in an id asks for another record than was meant.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from csms_redis.contract.operations import OPERATIONS, Operation
from tests.conftest import API, DATA, Service, StartService, password_hash

JSON = {"Content-Type": "application/json"}
EMPTY = {"Content-Length": "0"}  # no request with it is the front's
CERTIFICATE = (DATA / "certificates" / "root-V2G-cert.pem").read_text(encoding="ascii")
HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak"
TOKEN = {
    "countryCode": "GB",
    "partyId": "TWK",
    "type": "RFID",
    "uid": "queried",
    "contractId": "GBTWK012345678V",
    "issuer": "Thoughtworks",
    "valid": True,
    "cacheMode": "ALWAYS",
}
BODIES: dict[str, object] = {
    "registerChargeStation": {"securityProfile": 2},
    "setToken": TOKEN | {"valid": False},
    "uploadCertificate": {"certificate": CERTIFICATE},
    "setChargeStationPassword": {"base64SHA256Password": password_hash("another")},
    "setRegistrationStatus": {"registrationStatus": "Rejected"},
}
LOOKUPS = [operation for operation in OPERATIONS if operation.is_lookup]


def path_of(operation: Operation) -> str:
    record_id = HASH if "certificateHash" in operation.path else "queried"
    return API + re.sub(r"\{\w+\}", record_id, operation.path)


@pytest.fixture
def records(service: Service, redis: Any) -> Iterator[Any]:
    """A record of each kind, for one test; gives the Redis that they are in."""
    service.post("/cs/queried", {"securityProfile": 1})
    service.post("/token", TOKEN)
    service.post("/certificate", {"certificate": CERTIFICATE})
    yield redis
    for path in ("/cs/queried", "/token/queried", f"/certificate/{HASH}"):
        assert service.delete(path).status in {204, 404}


def stored(redis: Any) -> dict[Any, Any]:
    return {key: redis.hgetall(key) for key in redis.scan_iter("*:*")}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_each_operation_refuses_an_unknown_parameter(
    service: Service, records: Any, operation: Operation
) -> None:
    """It names that one and those that there are, and changes nothing."""
    before = stored(records)
    body = json.dumps(BODIES[operation.id]) if operation.request else None

    reply = service.request(operation.method, f"{path_of(operation)}?limt=5&a=b", body, JSON)

    known = list(operation.query.model_fields) if operation.query else []
    there_are = f"there are {', '.join(known)}" if known else "this operation has none"
    assert (reply.status, reply.error) == (
        400,
        f'There is no query parameter "limt"; {there_are}. A ? in an id is written %3F.',
    )
    assert stored(records) == before


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("a", '"a"'),
        ("=a", '""'),
        ("&", '""'),
        ("/auth", '"/auth"'),
        ("b/auth", '"b/auth"'),
        ("%C3%A4+b=1", '"ä b"'),
        ("%22", '"""'),
        ("?", '"?"'),
        ("limit=5", '"limit"'),
        ("x" * 65, f'"{"x" * 64}…"'),
    ],
)
@pytest.mark.parametrize("operation", LOOKUPS, ids=lambda operation: operation.id)
def test_a_lookup_names_what_it_does_not_know_both_ways(
    service: Service, records: Any, operation: Operation, query: str, named: str
) -> None:
    """The front and aiohttp give the same answer, known record or not."""
    del records
    for path in (path_of(operation), path_of(operation).replace("queried", "unheard-of")):
        service.request("GET", path)  # what is known by now is known without the query
        first, second = [
            service.request("GET", f"{path}?{query}", headers=headers) for headers in ({}, EMPTY)
        ]

        assert first.status == second.status == 400
        assert first.error == second.error
        assert first.error.startswith(f"There is no query parameter {named}; this operation has")


@pytest.mark.parametrize("operation", LOOKUPS, ids=lambda operation: operation.id)
def test_an_empty_query_asks_for_nothing(
    service: Service, records: Any, operation: Operation
) -> None:
    del records
    for headers in ({}, EMPTY):
        assert service.request("GET", f"{path_of(operation)}?", headers=headers).status == 200


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_each_operation_refuses_a_fragment(
    service: Service, records: Any, operation: Operation
) -> None:
    """No target has one (RFC 9112, 3.2): it is an id's, and another record would be meant."""
    before = stored(records)
    body = json.dumps(BODIES[operation.id]) if operation.request else None
    for more in ("#", "#more", "#/auth", "?#more"):
        reply = service.request(operation.method, path_of(operation) + more, body, JSON)

        assert reply.status == 400
        assert reply.error == "The request's target has a #; in an id it is written %23."
    assert stored(records) == before


def test_what_is_not_utf_8_is_refused(service: Service) -> None:
    for path in ("/cs/queried?%FF", "/cs/queried/auth?a=%zz", "/cs?%FF"):
        reply = service.get(path)

        assert reply.status == 400
        assert reply.error == "The query must be names and values in UTF-8, escaped by %."


def test_health_metrics_and_documentation_ignore_a_query(service: Service) -> None:
    """Probes and scrapers add their own, and nothing of them is about a record."""
    for path in ("/health", "/health/live", "/health/ready", "/metrics", "/api/openapi.json"):
        assert service.request("GET", f"{path}?a=b").status == 200


def test_the_log_does_not_tell_the_name(start_service: StartService) -> None:
    """It may be anything, a password that someone pasted too."""
    service = start_service()
    replies = [
        service.request("DELETE", f"{API}/cs/queried?hunter2", headers=JSON),
        service.get("/cs/queried?hunter2"),
        service.get("/cs?hunter2=x"),
    ]

    assert [reply.status for reply in replies] == [400] * 3
    (written,) = service.events("write")
    assert written["reason"] == "A query parameter is not known; this operation has none."
    assert "hunter2" not in service.log


def test_a_stranger_is_not_told_of_parameters(start_service: StartService) -> None:
    service = start_service(auth__clients='{"maeve":{"roles":["gateway"]}}')
    for path in ("/cs/queried/auth?a=b", "/cs?a=b"):
        assert service.get(path).status == 401

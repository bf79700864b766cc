"""`[api] strict`: what the contract allows but no gateway can use is refused."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import DATA, Service, password_hash, running_service

PASSWORD = password_hash("fiddlesticks_fishsticks")
TOKEN = {
    "countryCode": "GB",
    "partyId": "TWK",
    "type": "RFID",
    "uid": "strict",
    "contractId": "GBTWK012345678V",
    "issuer": "Thoughtworks",
    "valid": True,
    "cacheMode": "ALWAYS",
}
CERTIFICATE = {
    "certificate": (DATA / "certificates" / "root-V2G-cert.pem").read_text(encoding="ascii")
}
# In base64 of 32 bytes, the 43rd character has two bits that must be 0.
LOOSE_BITS = f"{'A' * 42}B="


@pytest.fixture(scope="module")
def strict() -> Iterator[Service]:
    """A service with `api.strict`."""
    with running_service(api__strict="true") as service:
        yield service


UNUSABLE_PASSWORDS = {
    "empty": "",
    "plain text": "fiddlesticks_fishsticks",
    "hex": "52b12b6457ee5775c81be2d1a5ae015808621",
    "not padded": PASSWORD.rstrip("="),
    "padded too much": f"{PASSWORD}=",
    "base64url": b64encode(b"\xff" * 32).decode().replace("/", "_"),
    "31 bytes": b64encode(bytes(31)).decode(),
    "33 bytes": b64encode(bytes(33)).decode(),
    "loose bits": LOOSE_BITS,
    "space around": f" {PASSWORD}",
    "newline at the end": f"{PASSWORD}\n",
    "not ASCII": f"{PASSWORD[:-2]}\u00e9=",
}


@pytest.mark.parametrize("password", UNUSABLE_PASSWORDS.values(), ids=UNUSABLE_PASSWORDS.keys())
def test_refuses_a_password_that_no_gateway_can_match(strict: Service, password: str) -> None:
    record = {"securityProfile": 1, "base64SHA256Password": password}

    reply = strict.post("/cs/refused", record)

    assert reply.status == 400
    assert reply.error == (
        "Base64SHA256Password is not the padded base64 of 32 bytes, so no password will match it; "
        "`csms-redis hash-password` makes one."
    )
    assert strict.get("/cs/refused/auth").status == 404


@pytest.mark.parametrize("profile", [0, 1])
def test_refuses_basic_auth_without_a_password(strict: Service, profile: int) -> None:
    for record in (
        {"securityProfile": profile},
        {"securityProfile": profile, "base64SHA256Password": None},
    ):
        reply = strict.post("/cs/refused", record)

        assert reply.status == 400
        assert reply.error == "SecurityProfile 0 and 1 need a base64SHA256Password."


@pytest.mark.parametrize(
    "record",
    [
        {"securityProfile": 0, "base64SHA256Password": PASSWORD},
        {"securityProfile": 1, "base64SHA256Password": PASSWORD, "invalidUsernameAllowed": True},
        {"securityProfile": 2},
        {"securityProfile": 2, "base64SHA256Password": None},
    ],
)
def test_takes_a_station_that_can_connect(strict: Service, record: dict[str, Any]) -> None:
    assert strict.post("/cs/taken", record).status == 201

    expected = {name: value for name, value in record.items() if value is not None}
    assert strict.get("/cs/taken/auth").json == expected


@pytest.mark.parametrize("contract", ["1234", "not an eMAID", "GB--TWK-012345678", "x" * 36])
def test_refuses_a_contract_id_that_is_no_emaid(strict: Service, contract: str) -> None:
    reply = strict.post("/token", TOKEN | {"uid": "refused", "contractId": contract})

    assert reply.status == 400
    assert reply.error == "ContractId is not an eMAID, such as GB-TWK-012345678-V."
    assert strict.get("/token/refused").status == 404


@pytest.mark.parametrize("contract", ["GBTWK012345678V", "gb-twk-012345678"])
def test_takes_an_emaid(strict: Service, contract: str) -> None:
    assert strict.post("/token", TOKEN | {"contractId": contract}).status == 201

    assert strict.get("/token/strict").json["contractId"] == "GBTWK012345678V"


@pytest.mark.parametrize(
    ("path", "record", "known"),
    [
        (
            "/cs/refused",
            {"securityProfile": 2},
            "securityProfile, base64SHA256Password, invalidUsernameAllowed",
        ),
        ("/token", TOKEN | {"uid": "refused"}, "countryCode, partyId, type, uid"),
        ("/certificate", CERTIFICATE, "certificate."),
    ],
)
@pytest.mark.parametrize("unknown", ["x", "", "SecurityProfile", "certificate ", "Uid"])
def test_refuses_unknown_properties(
    strict: Service, path: str, record: dict[str, Any], known: str, unknown: str
) -> None:
    """Even `null` ones; the error lists the known ones and does not quote the other."""
    reply = strict.post(path, record | {unknown: None})

    assert reply.status == 400
    assert reply.error.startswith(f"The body has a property that is not one of {known}")


def test_takes_a_token_and_a_certificate(strict: Service) -> None:
    assert strict.post("/token", TOKEN | {"lastUpdated": "2019-08-24T14:15:22Z"}).status == 201
    assert strict.post("/certificate", CERTIFICATE).status == 201


def test_by_default_they_are_taken_with_a_warning(service: Service) -> None:
    """The warning names the station and the doubt, and not the password."""
    record = {"securityProfile": 1, "base64SHA256Password": "no-hash-at-all", "x": 1}
    assert service.post("/cs/doubtful-password", record).status == 201
    assert service.post("/cs/doubtful-profile", {"securityProfile": 0}).status == 201
    assert service.post("/cs/no-doubt", {"securityProfile": 2}).status == 201
    assert service.post("/token", TOKEN | {"contractId": "no eMAID", "x": 1}).status == 201

    warnings = service.events("doubtful station")
    doubts = [
        (event["csId"], event["level"], event["doubt"].partition(",")[0])
        for event in warnings
        if event["csId"] in {"doubtful-password", "doubtful-profile", "no-doubt"}
    ]
    assert doubts == [
        (
            "doubtful-password",
            "warning",
            "base64SHA256Password is not the padded base64 of 32 bytes",
        ),
        (
            "doubtful-profile",
            "warning",
            "securityProfile 0 and 1 need a base64SHA256Password",
        ),
    ]
    assert "no-hash-at-all" not in service.log

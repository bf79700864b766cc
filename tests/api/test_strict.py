"""`[api] strict`: what the contract allows but no gateway can use is refused."""

import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from csms_redis.contract.doubts import Doubt
from tests.conftest import DATA, Service, password_hash, running_service

PASSWORD = password_hash("fiddlesticks_fishsticks")
TOKEN = {
    "countryCode": "GB",
    "partyId": "TWK",
    "type": "RFID",
    "uid": "0485AB12C3D4E5",
    "contractId": "GBTWK012345678V",
    "issuer": "Thoughtworks",
    "valid": True,
    "cacheMode": "ALWAYS",
}
CERTIFICATE = {
    "certificate": (DATA / "certificates" / "HUBOpenProvCert001.pem").read_text(encoding="ascii")
}
KINDS = {"csId": "station", "uid": "token", "certificateHash": "certificate"}
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
        "base64SHA256Password is not the padded base64 of 32 bytes, so no password will match it; "
        "`csms-redis hash-password` makes one (password-no-sha256)."
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
        assert reply.error.startswith("securityProfile 0 and 1 need a base64SHA256Password; ")
        assert reply.error.endswith("(profile-without-password).")


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


@pytest.mark.parametrize("contract", ["1234", "not-an-eMAID", "GB--TWK-012345678", "x" * 36])
def test_refuses_a_contract_id_that_is_no_emaid(strict: Service, contract: str) -> None:
    reply = strict.post("/token", TOKEN | {"uid": "0485AB12", "contractId": contract})

    assert reply.status == 400
    assert reply.error == "contractId is not an eMAID, such as GB-TWK-012345678-V."
    assert strict.get("/token/0485AB12").status == 404


@pytest.mark.parametrize("contract", ["GBTWK012345678V", "gb-twk-012345678"])
def test_takes_an_emaid(strict: Service, contract: str) -> None:
    assert strict.post("/token", TOKEN | {"contractId": contract}).status == 201

    assert strict.get("/token/0485ab12c3d4e5").json["contractId"] == "GBTWK012345678V"


@pytest.mark.parametrize(
    ("path", "record", "known"),
    [
        (
            "/cs/refused",
            {"securityProfile": 2},
            "securityProfile, base64SHA256Password, invalidUsernameAllowed",
        ),
        ("/token", TOKEN | {"uid": "0485AB12"}, "countryCode, partyId, type, uid"),
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


# What is posted where, the key of the log that names the record, and the doubts about it.
DOUBTFUL: list[tuple[str, dict[str, Any], str, list[str]]] = [
    (
        "/cs/doubtful-1",
        {"securityProfile": 1, "base64SHA256Password": "no-hash-at-all", "x": 1},
        "csId",
        ["password-no-sha256"],
    ),
    ("/cs/doubtful-2", {"securityProfile": 0}, "csId", ["profile-without-password"]),
    (
        "/cs/doubtful-3",
        {"securityProfile": 2, "base64SHA256Password": PASSWORD},
        "csId",
        ["profile-with-password"],
    ),
    ("/cs/doubt%20ful", {"securityProfile": 2}, "csId", ["id-inner-blank"]),
    ("/cs/doubt%E2%80%8Bful", {"securityProfile": 0}, "csId", ["id-inner-blank"]),
    ("/token", TOKEN | {"uid": "0485AB12C3D4E"}, "uid", ["rfid-uid"]),
    ("/token", TOKEN | {"uid": "04 85 AB 12"}, "uid", ["rfid-uid", "id-inner-blank"]),
    ("/token", TOKEN | {"uid": "0485AB12", "groupId": " g"}, "uid", ["id-outer-blank"]),
    ("/token", TOKEN | {"uid": "A b", "type": "OTHER"}, "uid", ["id-inner-blank"]),
    (
        "/certificate",
        {"certificate": (DATA / "certificates" / "root-V2G-cert.pem").read_text("ascii")},
        "certificateHash",
        ["ca-certificate"],
    ),
]


def counted(service: Service) -> dict[str, float]:
    """`csms_doubts_total` by name."""
    text = service.request("GET", "/metrics").body.decode()
    found = re.findall(r'^csms_doubts_total\{doubt="([^"]+)"\} (\S+)$', text, re.MULTILINE)
    return {name: float(number) for name, number in found}


@pytest.mark.parametrize(("path", "record", "key", "doubts"), DOUBTFUL)
def test_a_doubt_is_told_and_counted_or_refused(
    service: Service,
    strict: Service,
    path: str,
    record: dict[str, Any],
    key: str,
    doubts: list[str],
) -> None:
    """By default a warning that names the record and the doubt; when strict a 400 with its name."""
    before, told = counted(service), len(service.events(f"doubtful {KINDS[key]}"))
    assert service.post(path, record).status == 201

    expected = ["profile-without-password"] if "%8B" in path else []
    warnings = service.events(f"doubtful {KINDS[key]}")[told:]
    assert [event["doubt"] for event in warnings] == [*doubts, *expected]
    for event in warnings:
        assert (event["level"], bool(event[key]), bool(event["reason"])) == ("warning", True, True)
    after = counted(service)
    assert {name for name in after if after[name] > before[name]} == {*doubts, *expected}

    before = counted(strict)
    record = {name: value for name, value in record.items() if name != "x"}
    reply = strict.post(path, record)
    assert reply.status == 400
    assert reply.error.endswith(f"({doubts[0]}).")
    assert counted(strict) == before | {doubts[0]: before[doubts[0]] + 1}
    assert strict.events("write")[-1]["doubt"] == doubts[0]
    assert "no-hash-at-all" not in service.log + strict.log


def test_no_doubt_about_what_is_right(service: Service) -> None:
    before = counted(service)
    assert set(before) == {doubt.value for doubt in Doubt}
    password = {"base64SHA256Password": PASSWORD}
    assert service.post("/cs/no-doubt", {"securityProfile": 2}).status == 201
    assert service.post("/cs/no-doubt-{1}", {"securityProfile": 1} | password).status == 201
    for uid in ("0485AB12", "0485ab12c3d4e5", "0485AB12C3D4E5060708"):
        assert service.post("/token", TOKEN | {"uid": uid, "x": 1}).status == 201
    # OCPI allows any contractId, and only a card has a uid of some bytes
    assert service.post("/token", TOKEN | {"contractId": "no-eMAID"}).status == 201
    assert service.post("/token", TOKEN | {"uid": "app-7", "type": "APP_USER"}).status == 201
    assert service.post("/certificate", CERTIFICATE).status == 201
    assert counted(service) == before


def test_every_doubt_is_explained() -> None:
    """In one table, by its name."""
    page = (DATA.parents[1] / "deploy" / "operate.md").read_text("utf-8")
    section = page.partition("## Doubts\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE) == [one.value for one in Doubt]

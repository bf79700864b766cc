"""Only a 200 of `lookupChargeStationAuth` reads as a `ChargeStationAuth`, whatever was asked for.

A gateway takes whatever comes with a 200 for one, and what it asks for is made of an id that a
station chose, which it may not escape. Its decoder is Go's encoding/json.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import product
from urllib.parse import quote, unquote_to_bytes

import pytest

from csms_redis.contract.models import ChargeStationAuth
from csms_redis.contract.operations import OPERATIONS, Operation
from tests.conftest import API, DATA, Reply, Service, password_hash, running_service

JSON = {"Content-Type": "application/json"}
CERTIFICATE = (DATA / "certificates" / "root-V2G-cert.pem").read_text(encoding="ascii")
HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak"
TOKEN = {
    "countryCode": "GB",
    "partyId": "TWK",
    "type": "RFID",
    "contractId": "GBTWK012345678V",
    "issuer": "securityProfile",
    "valid": True,
    "cacheMode": "ALWAYS",
}
# of stations and of tokens: some are a part of what another one's target is made of
IDS = [
    *("cs001", "a", "auth", "cs", "..", ".", "x/auth", "a/auth", "a?b", "a?", "a#b", "a%2Fauth"),
    *("a/auth?b=", "/a", "a/", "a;b", "http://a/b", '{"securityProfile":0}', "registrationStatus"),
]
SPELLINGS: dict[str, Callable[[str], str]] = {
    "escaped": lambda text: quote(text, safe=""),
    "escaped but for slashes": lambda text: quote(text, safe="/"),
    "as it is": lambda text: text.replace(" ", "%20"),
    "escaped twice": lambda text: quote(quote(text, safe=""), safe=""),
    "all escaped, in lower case": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
}
PATHS = sorted({operation.path for operation in OPERATIONS})
BEFORE = ["", "http://registry", "/", "/x/.."]
AFTER = [
    *("", "/", "//", "/.", "/..", "/auth", "/%61uth", "%2Fauth", "/../auth", ";a", ";/auth"),
    *("?", "?a=b", "?/auth", "?limit=1", "?a=/auth", "#", "#/auth", "#?"),
]


def properties(body: bytes) -> set[str]:
    """The properties of a `ChargeStationAuth` that Go finds in a body.

    It reads the first JSON value only (`Decoder.Decode`), takes no list for an object, leaves out
    what it does not know, and compares names by their simple case folding (`foldName`), by which
    U+017F is an s.
    """
    pairs: list[tuple[str, object]] = []

    def keep(found: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal pairs
        pairs = found  # the outermost object is the last one that ends
        return dict(found)

    decoder = json.JSONDecoder(object_pairs_hook=keep)
    try:
        value, _ = decoder.raw_decode(body.decode(errors="replace").lstrip(" \t\r\n"))
    except json.JSONDecodeError:
        return set()
    if not isinstance(value, dict):
        return set()
    known = {name.lower(): name for name in ChargeStationAuth.model_fields}
    folded = [name.replace("\N{LATIN SMALL LETTER LONG S}", "s").lower() for name, _ in pairs]
    return {known[name] for name in folded if name in known}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('{"securityProfile":1}', {"securityProfile"}),
        ('{"SECURITYPROFILE":1,"invalidusernameallowed":true}', {"securityProfile", "invalid"}),
        ('{"a":{"b":1},"\u017fecurityProfile":1}', {"securityProfile"}),
        ('{"base64SHA256Pas\u017fword":""} and more', {"base64SHA256Password"}),
        ('\n{"securityProfile":1}{"a":1}', {"securityProfile"}),
        ('{"a":{"securityProfile":1}}', set()),
        ('{"security_profile":1,"securityProfiles":1}', set()),
        ('[{"securityProfile":1}]', set()),
        ('{"status":"OK"}', set()),
        ("null", set()),
        ('"securityProfile"', set()),
        ("<securityProfile>", set()),
        ("", set()),
    ],
)
def test_what_is_read_here_is_what_go_reads(body: str, found: set[str]) -> None:
    read = properties(body.encode())

    assert len(read) == len(found)
    assert all(any(name.startswith(each) for name in read) for each in found)


@pytest.fixture(scope="module")
def own() -> Iterator[Service]:
    """A service that has a station and a token of each id; a station's password is its id."""
    with running_service(api__any_station_id="true") as service:
        for one in IDS:
            station = {
                "securityProfile": 1,
                "base64SHA256Password": password_hash(one),
                "invalidUsernameAllowed": True,
            }
            assert service.post(f"/cs/{quote(one, safe='')}", station).status == 201
            assert service.post("/token", TOKEN | {"uid": one}).status == 201
        assert service.post("/certificate", {"certificate": CERTIFICATE}).status == 201
        yield service


BODIES: dict[str, object] = {
    "registerChargeStation": {"securityProfile": 2},
    "setToken": TOKEN | {"uid": "another"},
    "uploadCertificate": {"certificate": CERTIFICATE},
    "setChargeStationPassword": {"base64SHA256Password": password_hash("another")},
    "setRegistrationStatus": {"registrationStatus": "Accepted"},
}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_a_success_of_each_operation(own: Service, operation: Operation) -> None:
    path = operation.path.replace("{csId}", "of-operations").replace("{tokenUid}", "of-operations")
    path = path.replace("{certificateHash}", HASH)
    own.post("/cs/of-operations", {"securityProfile": 1, "invalidUsernameAllowed": False})
    own.post("/token", TOKEN | {"uid": "of-operations"})
    own.post("/certificate", {"certificate": CERTIFICATE})
    body = json.dumps(BODIES[operation.id]) if operation.request else None

    headers = {"Content-Type": "application/jsonl"} if operation.takes_lines else JSON
    reply = own.request(operation.method, API + path, body, headers)

    assert reply.status == operation.status
    is_auth = operation.id == "lookupChargeStationAuth"
    assert properties(reply.body) == (
        {"securityProfile", "invalidUsernameAllowed"} if is_auth else set()
    )


@pytest.mark.parametrize(
    "path",
    [
        *("/health", "/health/live", "/health/ready", "/metrics", "/api/openapi.json", "/docs"),
        *("/docs/start.js", "/docs/swagger-ui-bundle.js", "/nowhere", f"{API}/cs/nobody/auth"),
    ],
)
def test_nothing_else_that_is_served_reads_as_one(own: Service, path: str) -> None:
    assert properties(own.request("GET", path).body) == set()


def named(target: str) -> str | None:
    """The station whose auth a target asks for; None for every other target."""
    path = re.sub(r"^\w+://[^/]*", "", target).removesuffix("?")
    if "?" in path or "#" in path:
        return None
    segments = [unquote_to_bytes(each).decode(errors="replace") for each in path.split("/")]
    *before, station, auth = segments
    return station if [*before, auth] == ["", "api", "v0", "cs", "auth"] else None


def targets(path: str) -> list[str]:
    """Whatever a path may be made to with the ids, each once."""
    before, _, after = path.replace("}", "{").partition("{")
    after = after.partition("{")[2]
    wanted = [spell(one) for one in IDS for spell in SPELLINGS.values()] if "{" in path else [""]
    filled = {f"{API}{before}{one}{after}" for one in wanted}
    return sorted(
        {one + more for one, more in product(filled, AFTER)}
        | {more + one for one, more in product(filled, BEFORE)}
    )


def replies(service: Service, targets: list[str], header: str) -> Iterator[tuple[str, Reply]]:
    """Send targets as they are, and give what each is answered."""
    rest = iter(targets)
    while True:
        with service.raw() as connection:
            for target in rest:
                connection.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n".encode())
                reply = connection.reply()
                yield target, reply
                if reply.headers.get("Connection") == "close":
                    break
            else:
                return


@pytest.mark.parametrize(
    ("path", "header"),
    [
        *((path, "X-By: front") for path in PATHS),
        # which leads past the front to aiohttp
        *((path, "Content-Length: 0") for path in ("/cs/{csId}", "/cs/{csId}/auth")),
    ],
)
def test_no_target_is_answered_another_stations_auth(own: Service, path: str, header: str) -> None:
    """One that is for another path, station or operation never reads as this one's auth."""
    answered = set()
    for target, reply in replies(own, targets(path), header):
        if properties(reply.body):
            station = named(target)
            assert station is not None, target
            assert reply.json["base64SHA256Password"] == password_hash(station), target
            answered.add(station)

    assert answered == (set(IDS) if path == "/cs/{csId}/auth" else answered & set(IDS))

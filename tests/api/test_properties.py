"""Whatever a request holds: never a 5xx, and nothing changes but with a 201 or a 204."""

import json
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from tests.conftest import API, DATA, Reply, Service, password_hash, running_service

PEM = (DATA / "certificates" / "root-V2G-cert.pem").read_text(encoding="ascii")
HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak"
Record: TypeAlias = dict[str, Any]
Stored: TypeAlias = dict[Any, dict[Any, Any]]

STATION: Record = {
    "securityProfile": 1,
    "base64SHA256Password": password_hash("fiddlesticks_fishsticks"),
    "invalidUsernameAllowed": True,
}
TOKEN: Record = {
    "countryCode": "GB",
    "partyId": "TWK",
    "type": "RFID",
    "uid": "DEADBEEF",
    "contractId": "GBTWK012345678V",
    "visualNumber": "GBTWK 012345678",
    "issuer": "Thoughtworks",
    "groupId": "group",
    "valid": True,
    "languageCode": "en",
    "cacheMode": "ALWAYS",
    "lastUpdated": "2019-08-24T14:15:22Z",
}
CERTIFICATE: Record = {"certificate": PEM}
RECORDS = {"/cs/cs001": STATION, "/token": TOKEN, "/certificate": CERTIFICATE}
PROPERTIES = [(path, name) for path, record in RECORDS.items() for name in [*record, "unknown"]]

fast = settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
texts = st.text(st.characters())  # lone surrogates too
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 5)
    | st.floats()
    | texts
    | st.sampled_from(["", "RFID", "ALWAYS", "DE", "2019-08-24T14:15:22Z", PEM, "GBTWK012345678"])
    | st.from_regex(r"[A-Za-z]{2}-?[A-Za-z0-9]{3}-?[A-Za-z0-9]{9}(-?[A-Za-z0-9])?", fullmatch=True)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=8
)


@pytest.fixture(scope="module")
def own() -> Iterator[Service]:
    """A service of this module's own, to count what it holds."""
    with running_service() as service:
        yield service


@pytest.fixture(scope="module")
def store(own: Service) -> Iterator[Redis]:
    """Its embedded Valkey, with one record of each kind."""
    with Redis(unix_socket_path=str(own.data_dir / "valkey.sock")) as client:
        reset(own, client)
        yield client


def reset(service: Service, store: Redis) -> None:
    store.flushall()
    for path, record in RECORDS.items():
        assert service.post(path, record).status == 201


def snapshot(store: Redis) -> Stored:
    """All records that are stored."""
    not_records = {b"layout", b"dataset", b"refused"}
    keys = [key for key in store.scan_iter() if key not in not_records]
    return {key: dict(store.hgetall(key)) for key in keys}


def check(service: Service, store: Redis, before: Stored, reply: Reply) -> None:
    """Nothing has failed, and nothing has changed unless it was said."""
    assert reply.status < 500
    if reply.status in {201, 204}:
        assert reply.body == b""
        reset(service, store)
    elif reply.status >= 400:
        assert reply.error
        assert snapshot(store) == before
    else:
        assert snapshot(store) == before


def shown(record: Record) -> Record:
    """What a lookup shows of a record that was accepted as it is."""
    return {
        name: value
        for name, value in record.items()
        if value is not None and name not in {"unknown", "lastUpdated"}
    }


@pytest.mark.parametrize(("path", "name"), PROPERTIES)
@settings(fast, max_examples=40)
@given(value=values)
@example(value=None)
@example(value=True)
@example(value=1.0)
def test_any_value_of_any_property(
    own: Service, store: Redis, path: str, name: str, value: Any
) -> None:
    """What was accepted is what is found."""
    before = snapshot(store)
    record = RECORDS[path] | {name: value}

    reply = own.post(path, record)

    if reply.status == 201:
        found = {
            "/cs/cs001": lambda: own.get("/cs/cs001/auth"),
            "/token": lambda: own.get(f"/token/{quoted(record['uid'])}"),
            "/certificate": lambda: own.get(f"/certificate/{HASH}"),
        }[path]()
        expected = shown(record)
        if name != "contractId" and (name, path) != ("certificate", "/certificate"):
            assert shown(found.json) == expected
        assert found.json.keys() == expected.keys() | ({"lastUpdated"} & found.json.keys())
    check(own, store, before, reply)


@fast
@given(path=st.sampled_from(list(RECORDS)), value=values)
def test_any_json_as_body(own: Service, store: Redis, path: str, value: Any) -> None:
    before = snapshot(store)

    reply = own.post(path, value)

    assert reply.status == 400 or value != {}
    check(own, store, before, reply)


@fast
@given(
    path=st.sampled_from(list(RECORDS)),
    cut=st.integers(0, 400),
    noise=st.binary(max_size=40),
    whole=st.booleans(),
)
def test_any_bytes_as_body(
    own: Service, store: Redis, path: str, cut: int, noise: bytes, *, whole: bool
) -> None:
    """All of them, or some of them in the middle of a good body."""
    before = snapshot(store)
    good = json.dumps(RECORDS[path]).encode()
    body = noise if whole else good[:cut] + noise + good[cut + len(noise) :]

    reply = own.request("POST", API + path, body, {"Content-Type": "application/json"})

    check(own, store, before, reply)


def quoted(text: str) -> str:
    """Text as a segment of a path; what is no text in UTF-8 as well."""
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


@fast
@given(cs_id=texts)
@example(cs_id="")
@example(cs_id="\ud800")
@example(cs_id="a+b")
@example(cs_id="#")
def test_any_text_as_station_id(own: Service, store: Redis, cs_id: str) -> None:
    """It is registered and found, or it is neither."""
    before = snapshot(store)
    path = f"/cs/{quoted(cs_id)}"

    created = own.post(path, STATION)
    found = own.get(f"{path}/auth")

    assert (created.status, found.status) in {(201, 200), (400, 404), (404, 404)}
    assert (created.status == 404) == (cs_id == "")
    assert created.status == 400 or not {"+", "#"} & set(cs_id)
    if created.status == 201:
        assert found.json == STATION
    check(own, store, before, created)
    check(own, store, snapshot(store), found)


@fast
@given(segment=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)) | texts.map(quoted))
@example(segment=".")
@example(segment="..")
@example(segment="%")
@example(segment="#")
def test_any_segment_of_any_lookup(own: Service, store: Redis, segment: str) -> None:
    """As it stands in the request line, whether it is well escaped or not."""
    before = snapshot(store)
    for path in (f"/cs/{segment}/auth", f"/token/{segment}", f"/certificate/{segment}"):
        reply = own.get(path)

        assert reply.status in {200, 400, 404, 405}
        check(own, store, before, reply)


@fast
@given(segment=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)) | texts.map(quoted))
@example(segment=HASH)
def test_any_segment_of_a_deletion(own: Service, store: Redis, segment: str) -> None:
    before = snapshot(store)

    reply = own.delete(f"/certificate/{segment}")

    assert reply.status in {204, 400, 404, 405}
    check(own, store, before, reply)


@fast
@given(
    head=st.binary(max_size=200),
    line=st.sampled_from([b"GET /health HTTP/1.1\r\nHost: a\r\n", b"", b"GET /"]),
)
def test_any_bytes_as_a_request(own: Service, store: Redis, head: bytes, line: bytes) -> None:
    """The connection ends, the service does not, and no reply is a 5xx."""
    before = snapshot(store)
    with own.raw() as connection:
        connection.send(line + head + b"\r\n\r\n")
        connection.finish()
        received = connection.rest()

    assert received == b"" or received.startswith(b"HTTP/")
    assert re.search(rb"HTTP/\d\.\d 5", received) is None
    assert own.request("GET", "/health").status == 200
    assert snapshot(store) == before


def test_nothing_here_was_unexpected(own: Service) -> None:
    """No traceback in the log, whatever was sent."""
    assert [event for event in own.events() if event["level"] == "error"] == []

"""Listings that name one record: for an operator, who may not look it up as a gateway does."""

from urllib.parse import quote

import pytest

from tests.conftest import DATA, Service
from tests.support.listed import TOKEN

PEM = (DATA / "certificates" / "root-V2G-cert.pem").read_text()
HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak="


@pytest.mark.parametrize(
    ("more", "number"),
    [
        ("", 1),
        ("&valid=true", 1),
        ("&valid=false", 0),
        ("&groupId=x", 0),
        ("&limit=1&offset=0", 1),
        ("&offset=1", 0),
    ],
)
def test_a_token(service: Service, more: str, number: int) -> None:
    """By its uid in any case; other filters hold as well."""
    service.post("/token", TOKEN | {"uid": "One of them"})
    for uid in ("One of them", "ONE OF THEM"):
        reply = service.get(f"/token?uid={quote(uid)}{more}")
        assert [token["uid"] for token in reply.json] == ["One of them"] * number
        assert "Link" not in reply.headers


@pytest.mark.parametrize(
    ("spelled", "more", "number"),
    [
        (HASH, "", 1),
        (HASH.rstrip("="), "", 1),
        (HASH.replace("-", "+"), "", 1),
        (HASH, "&expiresBefore=2060-01-01T00:00:00Z", 1),
        (HASH, "&expiresBefore=2030-01-01T00:00:00Z", 0),
        ("A" * 43, "", 0),
    ],
)
def test_a_certificate(service: Service, spelled: str, more: str, number: int) -> None:
    """By its hash in any spelling."""
    service.post("/certificate", {"certificate": PEM})
    reply = service.get(f"/certificate?certificateHash={quote(spelled)}{more}")
    assert [each["certificateHash"] for each in reply.json] == [HASH] * number


def test_what_is_none(service: Service) -> None:
    assert service.get("/token?uid=none").json == []
    assert service.get("/token?uid=%C3%A4").status == 400
    assert service.get(f"/token?uid={'x' * 37}").status == 400
    assert service.get("/certificate?certificateHash=none").status == 400

"""Requests of odd form, which aiohttp answers, and after which the connection closes."""

import pytest

from tests.support.front_bytes import REGISTER, bodies, get, station
from tests.support.front_site import CS001, CS002, Site

ODD = {
    "bare line feeds": b"GET /api/v0/cs/cs001/auth HTTP/1.1\nHost: h\n\n",
    "an empty line before it": b"\r\n" + station("cs001"),
    "an absolute target": get(b"http://h/api/v0/cs/cs001/auth"),
    "a header twice": get(b"/api/v0/cs/cs001/auth", b"Accept: a", b"Accept: b"),
    "an expectation": get(b"/api/v0/cs/cs001/auth", b"Expect: 100-continue"),
    "an upgrade": get(b"/api/v0/cs/cs001/auth", b"Connection: Upgrade", b"Upgrade: h2c"),
    "a chunked body": get(b"/api/v0/cs/cs001/auth", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "a header that is not ASCII": get(b"/api/v0/cs/cs001/auth", b"X-Name: S\xc3\xa4ule"),
    "a space before the colon": get(b"/api/v0/cs/cs001/auth", b"Authorization : Basic eDp5"),
    "65 headers": get(b"/api/v0/cs/cs001/auth", *(b"X-%d: x" % n for n in range(64))),
    "Proxy-Connection": get(b"/api/v0/cs/cs001/auth", b"Proxy-Connection: close"),
}


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_request_is_answered_by_aiohttp_and_closes(site: Site, name: str) -> None:
    client = site.client()
    replies = await client.ask(ODD[name])
    assert site.handed_over == 1
    [reply] = replies
    if name in {"bare line feeds", "a space before the colon"}:
        assert reply.status == 400
    else:
        assert (reply.status, reply.body) == (200, CS001)
        assert reply.headers["Connection"] == "close"
    assert client.ended


async def test_an_odd_request_behind_others_is_answered_in_order(site: Site) -> None:
    client = site.client()
    odd = ODD["an absolute target"]
    assert bodies(await client.ask(station("cs002") + REGISTER + odd)) == [CS002, b"", CS001]
    assert client.ended


@pytest.mark.parametrize("expectation", [b"wonders", b"S\xc3\xa4ule", b"\x80"])
async def test_an_expectation_that_cannot_be_met_is_417(site: Site, expectation: bytes) -> None:
    client = site.client()
    [reply] = await client.ask(get(b"/api/v0/cs/cs001/auth", b"Expect: " + expectation))
    assert reply.status == 417
    assert "100-continue" in reply.error
    assert expectation not in client.received


async def test_an_error_is_a_status_that_quotes_nothing(site: Site) -> None:
    client = site.client()
    [reply] = await client.ask(get(b"/api/v0/cs/xyzzy/auth", b"xyzzy : xyzzy"))
    assert reply.status == 400
    assert "RFC 9112" in reply.error
    assert b"xyzzy" not in client.received

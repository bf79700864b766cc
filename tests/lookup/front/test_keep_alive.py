"""Whether the connection stays after an answer: by the version, and by `Connection`."""

import pytest

from tests.support.front_bytes import bodies, get, station, statuses
from tests.support.front_site import CS001, Site


@pytest.mark.parametrize(
    ("version", "header", "answered", "stays"),
    [
        (b"1.1", b"", None, True),
        (b"1.1", b"Connection: keep-alive\r\n", None, True),
        (b"1.1", b"Connection: close\r\n", "close", False),
        (b"1.1", b"connection:CLOSE\r\n", "close", False),
        (b"1.0", b"", None, False),
        (b"1.0", b"Connection: close\r\n", None, False),
        (b"1.0", b"Connection: Keep-Alive\r\n", "keep-alive", True),
    ],
)
@pytest.mark.parametrize("target", [b"/api/v0/cs/cs001/auth", b"/api/v0/cs/no/auth", b"/health"])
async def test_the_version_and_connection_decide(
    site: Site, version: bytes, header: bytes, answered: str | None, *, stays: bool, target: bytes
) -> None:
    request = b"GET %b HTTP/%b\r\nHost: h\r\n%b\r\n" % (target, version, header)
    for _ in range(2):  # the headers are known the second time
        client = site.client()
        [reply] = await client.ask(request)
        assert answered == reply.headers.get("Connection")
        assert client.received.startswith(b"HTTP/%b " % version)
        assert stays is not client.ended
    if stays:
        assert statuses(await client.ask(request.replace(target, b"/health"))) == [200]


async def test_nothing_is_answered_after_close(site: Site) -> None:
    client = site.client()
    request = get(b"/api/v0/cs/cs001/auth", b"Connection: close")
    assert bodies(await client.ask(request + station("cs002"))) == [CS001]
    assert client.ended

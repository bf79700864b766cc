"""Refusals without a body: to whom, which, and the same from the front protocol and aiohttp."""

import math
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import cast

import pytest

from csms_redis.access import throttle
from csms_redis.access.clients import Client as Caller
from csms_redis.access.secret import hash_of
from csms_redis.contract.errors import Unavailable
from csms_redis.lookup.answers import UNAVAILABLE, status_tail
from csms_redis.lookup.front.bodiless import MOST, Bodiless
from csms_redis.lookup.front.protocol import LookupProtocol
from csms_redis.settings import Role
from tests.support.front_bytes import HASH, HOST, Answer, answers, get
from tests.support.front_client import Client, settle
from tests.support.front_site import (
    REQUEST_TIMEOUT,
    Clock,
    Site,
    pass_time,
    running_site,
    set_clock,
)

GO = b"User-Agent: Go-http-client/1.1"
UNKNOWN = (b"/api/v0/cs/nobody/auth", b"/api/v0/certificate/" + b"A" * 43 + b"=")
"""What gateways look up, and nobody has."""
KNOWN = (b"/api/v0/cs/cs001/auth", b"/api/v0/certificate/" + HASH.encode())


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A service, to be reached both ways."""
    async with running_site() as running:
        yield running


async def one_way(client: Client, request: bytes) -> Answer:
    """Ask, and be gone."""
    await client.send(request)
    await settle(client)
    (answer,) = answers(client.received)
    client.transport.abort()
    await settle(client)
    return answer


async def both_ways(site: Site, request: bytes) -> Answer:
    """Ask aiohttp and the front protocol, which must say the same."""
    by_aiohttp = await one_way(site.aiohttp_client(), request)
    by_front = await one_way(site.client(), request)
    assert by_front in {by_aiohttp, by_aiohttp.closing}
    return by_front


def is_bodiless(answer: Answer) -> bool:
    """Whether there is no body; if there is one, it is the contract's."""
    headers = dict(answer.headers)
    assert headers["content-length"] == str(len(answer.body))
    if not answer.body:
        assert "content-type" not in headers
        return True
    assert headers["content-type"].startswith("application/json")
    assert answer.body.startswith(b'{"status":')
    return False


# To whom


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"User-Agent: Go-http-client/1.1", True),
        (b"User-Agent: Go-http-client/2.0", True),
        (b"user-agent:Go-http-client/1.1", True),
        (b"USER-AGENT: \t Go-http-client/1.1 (a gateway) ", True),
        (b"User-Agent: go-http-client/1.1", False),
        (b"User-Agent: Go-http", False),
        (b"User-Agent: a Go-http-client/1.1", False),
        (b"User-Agent: curl/8.5.0", False),
        (b"User-Agent:", False),
        (b"X-User-Agent: Go-http-client/1.1", False),
        (b"X: User-Agent: Go-http-client/1.1", False),
    ],
)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_by_the_user_agent(
    site: Site, header: bytes, *, expected: bool, version: bytes
) -> None:
    for target in UNKNOWN:
        answer = await both_ways(site, get(target, header, version=version))
        assert answer.status == 404
        assert is_bodiless(answer) is expected


async def test_what_is_known_has_its_body(site: Site) -> None:
    for target in KNOWN:
        answer = await both_ways(site, get(target, GO))
        assert answer.status == 200
        assert answer.body
        assert answer == await both_ways(site, get(target))


async def test_tokens_have_theirs(site: Site) -> None:
    """No gateway looks one up; whoever does in Go reads what is wrong."""
    site.lookups.forget(b"/api/v0/token/NOBODY")
    for target in (b"/api/v0/token/NOBODY", b"/api/v0/token/NONE", b"/api/v0/token/%C3%9F"):
        for _ in range(3):  # the headers are known from the second time on
            assert not is_bodiless(await both_ways(site, get(target, GO)))


async def test_other_operations_have_theirs(site: Site) -> None:
    """Also of the same records, and of a station called auth."""
    requests = [
        get(UNKNOWN[1], GO).replace(b"GET", b"DELETE"),
        *(get(target, GO) for target in (b"/api/v0/cs/auth", b"/api/v0/cs/nobody", b"/nowhere")),
        get(b"/api/v0/cs?limit=x", GO),
        get(b"/api/v0/cs/x/registrationStatus", GO).replace(b"GET", b"POST"),
    ]
    for request in requests:
        answer = await both_ways(site, request)
        assert answer.status >= 400
        assert not is_bodiless(answer), request


async def test_agents_are_a_setting() -> None:
    agents = Bodiless(["maeve/", "a b"])
    assert agents.applies_to(b"maeve/2 (gateway)")
    assert agents.applies_to(b"a b")
    assert not agents.applies_to(b"Go-http-client/1.1")
    nobody = Bodiless([])
    assert not nobody.applies_to(b"Go-http-client/1.1")
    assert not nobody.applies_to(b"")
    assert not nobody.applies_to_begun(b"GET /api/v0/cs/" + b"s" * MOST)


# Which refusals


@pytest.mark.parametrize(
    "target",
    [
        b"/api/v0/cs/nobody/auth",
        b"/api/v0/cs/%b/auth" % (b"s" * 49),
        b"/api/v0/cs/%b/auth" % (b"s" * 7000),
        b"/api/v0/cs/%b/auth" % (b"s" * 8150),
        b"/api/v0/cs/%b/auth" % (b"s" * 9000),
        b"/api/v0/cs/%b/auth" % (b"s" * 100_000),
        b"/api/v0/cs//auth",
        b"/api/v0/cs/a/b/auth",
        b"/api/v0/cs/a%2Fb/auth",
        b"/api/v0/cs/a%00/auth",
        b"/api/v0/cs/a?b/auth",
        b"/api/v0/cs/nobody/auth?a=b",
        b"/api/v0/cs/%zz/auth",
        b"/api/v0/cs/S\xc3\xa4ule/auth",
        b"/api/v0/cs/a b/auth",
        b"/api/v0/cs/../auth",
        b"/api/v0/cs/nobody/%61uth",
        b"http://registry/api/v0/cs/nobody/auth",
        b"//api/v0/cs/nobody/auth",
        b"/wrong/cs/nobody/auth",
        b"/api/v0/certificate/zz",
        b"/api/v0/certificate/A/B",
        b"/api/v0/certificate/AB==",
        b"/api/v0/certificate/",
    ],
    ids=lambda target: target[:40].decode("latin-1"),
)
async def test_whatever_is_looked_up(site: Site, target: bytes) -> None:
    """Found nowhere, or no request at all: stations choose their ids."""
    request = get(target, GO)
    for _ in range(2):
        answer = await both_ways(site, request)
        assert answer.status in {400, 404}
        assert is_bodiless(answer)
    if len(request) > 200:  # in the pieces that Go's buffer makes of it
        client = site.client()
        pieces = [request[at : at + 4096] for at in range(0, len(request), 4096)]
        await client.send(*pieces)
        await settle(client)
        assert is_bodiless(answers(client.received)[0])
        client.transport.abort()
    answer = await both_ways(site, get(target, b"User-Agent: curl/8.5.0"))
    assert is_bodiless(answer) is (len(request) > MOST)  # who asks is not seen there


async def test_methods(site: Site) -> None:
    """No other operation is there; what there is stays said in `Allow`."""
    for target in (*KNOWN, *UNKNOWN):
        for method in (b"POST", b"PUT", b"PATCH", b"OPTIONS"):
            answer = await both_ways(site, get(target, GO).replace(b"GET", method))
            assert answer.status == 405
            assert "GET" in dict(answer.headers)["allow"]
            assert is_bodiless(answer)
    for target in UNKNOWN:
        head = await both_ways(site, get(target, GO).replace(b"GET", b"HEAD"))
        assert head == await both_ways(site, get(target, GO))


@pytest.mark.parametrize(
    "odd",
    [
        get(UNKNOWN[0], GO, b"Expect: wonders"),
        get(UNKNOWN[0], GO, b"Accept: a", b"Accept: b"),
        get(UNKNOWN[0], GO, b"X : a"),
        get(UNKNOWN[0], GO, b"X: a\x00b"),
        get(UNKNOWN[0], GO, b"X: " + b"x" * 9000),
        get(UNKNOWN[1], GO, b"Content-Length: -1"),
        b"GET %b HTTP/1.1\r\n%b\r\n\r\n" % (UNKNOWN[0], GO),  # without a Host
    ],
)
async def test_what_only_aiohttp_reads_or_refuses(site: Site, odd: bytes) -> None:
    assert is_bodiless(await both_ways(site, odd))
    assert not is_bodiless(await both_ways(site, odd.replace(GO, b"User-Agent: a")))


async def test_an_answer_from_memory(site: Site) -> None:
    """Known headers, remembered ids: what most refusals are."""
    site.lookups.forget(UNKNOWN[0])
    client, other = site.client(), site.client()
    for _ in range(3):
        for each, agent in ((client, GO), (other, b"User-Agent: curl/8.5.0")):
            each.protocol.data_received(get(UNKNOWN[0], agent))
    assert [is_bodiless(answer) for answer in answers(client.received)] == [True] * 3
    assert [is_bodiless(answer) for answer in answers(other.received)] == [False] * 3
    assert site.handed_over == 0
    for each in (client, other):
        each.transport.abort()


async def test_redis_away(site: Site) -> None:
    """`Retry-After` stays."""
    retry = f"Retry-After: {Unavailable.retry_after}\r\n"
    site.lookups.slow.update(UNKNOWN)
    for target in UNKNOWN:
        found = []
        for client in (site.client(), site.aiohttp_client()):
            await client.send(get(target, GO))
            await settle(client)
            site.lookups.answer(
                UNAVAILABLE, status_tail(HTTPStatus.SERVICE_UNAVAILABLE, "Away.", retry)
            )
            await settle(client)
            found += answers(client.received)
            client.transport.abort()
        assert [answer.status for answer in found] == [503, 503]
        assert found[0] == found[1]
        assert is_bodiless(found[0])
        assert dict(found[0].headers)["retry-after"] == str(Unavailable.retry_after)


async def test_access_control(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The challenges and `Retry-After` stay."""
    monkeypatch.setattr(throttle, "BURST", 4)
    monkeypatch.setattr(throttle, "MAX_DELAY", 0.0)
    site.access_control.use(
        (
            Caller("maeve", frozenset([Role.GATEWAY]), (hash_of(b"right"),)),
            Caller("ops", frozenset([Role.OPERATOR]), (hash_of(b"other"),)),
        )
    )
    for expected, header, lines in (
        (401, "www-authenticate", []),
        (403, "www-authenticate", [b"Authorization: Bearer other"]),
        (401, "www-authenticate", [b"Authorization: Bearer wrong"]),
    ):
        answer = await both_ways(site, get(KNOWN[0], GO, *lines))
        assert answer.status == expected
        assert header in dict(answer.headers)
        assert is_bodiless(answer)
    for _ in range(2):
        await both_ways(site, get(KNOWN[0], GO, b"Authorization: Bearer wrong"))
    answer = await both_ways(site, get(KNOWN[0], GO, b"Authorization: Bearer wrong"))
    assert answer.status == 429
    assert "retry-after" in dict(answer.headers)
    assert is_bodiless(answer)


@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        (b"GET %b HTTP/1.1\r\n%b%b" % (UNKNOWN[0], HOST, GO), True),
        (b"GET %b HTTP/1.1\r\n%b%b\r\n" % (UNKNOWN[1], HOST, GO), True),
        (b"GET /api/v0/cs/%b" % (b"s" * 8100), True),
        (b"GET %b HTTP/1.1\r\n%bUser-Agent: curl" % (UNKNOWN[0], HOST), False),
        (b"GET /api/v0/token/NOBODY HTTP/1.1\r\n%b%b\r\n" % (HOST, GO), False),
        (b"GET /api/v0/cs/no", False),
        (b"GET %b HTTP/1.1\r\n%b%b\r\nX : a" % (UNKNOWN[0], HOST, GO), True),
    ],
)
async def test_half_a_head(
    site: Site, monkeypatch: pytest.MonkeyPatch, begun: bytes, *, expected: bool
) -> None:
    """408, or 400, as far as can be seen who asked for what."""
    clock = Clock()
    set_clock(monkeypatch, clock)
    client = site.client()
    await client.send(begun)
    await settle(client)
    pass_time(site, clock, REQUEST_TIMEOUT + 1)
    await settle(client)
    (answer,) = answers(client.received)
    assert answer.status in {400, 408}
    assert is_bodiless(answer) is expected
    client.transport.abort()
    await settle(client)


async def test_the_end_of_the_service(site: Site) -> None:
    """A lookup under way gets its answer, which closes."""
    site.lookups.slow.update(UNKNOWN)
    client = site.client()
    await client.send(get(UNKNOWN[0], GO))
    site.lookup_server.begin_drain()
    cast("LookupProtocol", client.protocol).drain(math.inf)
    site.lookups.answer(404, status_tail(HTTPStatus.NOT_FOUND, "None."))
    await settle(client)
    (answer,) = answers(client.received)
    assert is_bodiless(answer)
    assert dict(answer.headers)["connection"] == "close"
    assert client.ended


async def test_on_one_connection_each_for_itself(site: Site) -> None:
    """As a balancer's pool mixes them; after a request that aiohttp answered, too."""
    client = site.client()
    order: list[Callable[[bytes], bytes]] = [
        lambda target: get(target, GO),
        get,
        lambda target: get(target, GO).replace(b"GET", b"HEAD"),
        lambda target: get(target, GO),
        get,
    ]
    found = []
    for ask in order * 2:
        for target in UNKNOWN:
            found += await client.ask(ask(target))
    assert [bool(reply.body) for reply in found] == [
        gets for gets in (False, True, False, False, True) * 2 for _ in UNKNOWN
    ]

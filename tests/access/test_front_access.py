"""Who is let in by the front: secrets that are known, revoked, wrong, or in pieces."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csms_redis.access import control, throttle
from csms_redis.access.addresses import client_address
from csms_redis.settings import Role
from tests.support.callers import AUTH, RIGHT, SECRETS, basic, bearer, both_ways, clients
from tests.support.front_bytes import get
from tests.support.front_client import settle
from tests.support.front_site import Site

# The hot path


async def test_right_headers_are_known_again_and_wrong_ones_never(site: Site) -> None:
    client = site.client()
    assert [reply.status for reply in await client.ask(get(AUTH, RIGHT))] == [200]
    assert len(site.lookup_server.known_headers.styles) == 1
    for number in range(throttle.BURST):
        await client.ask(get(AUTH, bearer(f"wrong-{number}")))
    assert len(site.lookup_server.known_headers.styles) == 1
    assert len(site.access_control._recognised) == 1
    client.protocol.data_received(get(AUTH, RIGHT))
    assert client.replies[-1].status == 200
    assert site.handed_over == 0
    client.transport.abort()


async def test_a_revoked_secret_is_refused_at_once_on_an_open_connection(site: Site) -> None:
    client = site.client()
    for _ in range(2):
        assert [reply.status for reply in await client.ask(get(AUTH, RIGHT))] == [200]
    site.access_control.use(clients(gateway="another"))
    assert [reply.status for reply in await client.ask(get(AUTH, RIGHT))] == [401]
    new = basic("gateway", "another")
    assert [reply.status for reply in await client.ask(get(AUTH, new))] == [200]


async def test_of_pipelined_requests_each_is_judged_alone(site: Site) -> None:
    """Among known ones too, and behind one that aiohttp answers."""
    right, none = get(AUTH, RIGHT), get(AUTH)
    wrong = get(AUTH, bearer("wrong"))
    client = site.client()
    await client.ask(right)
    asked = right + none + get(b"/health") + wrong + right + get(b"/api/v0/cs") + right
    found = [reply.status for reply in await client.ask(asked)]
    assert found == [200, 401, 200, 401, 200, 401, 200]


async def test_a_revoked_secret_is_refused_wherever_it_comes_from(site: Site) -> None:
    """From addresses that were let in before, and from others."""
    client = site.client()
    header = b"X-Forwarded-For: 198.51.100.%d"
    for number in (1, 1, 2, 2):
        client.protocol.data_received(get(AUTH, RIGHT, header % number))
    site.access_control.use(clients(gateway="another"))
    for number in (1, 2, 3):
        client.protocol.data_received(get(AUTH, RIGHT, header % number))
    assert [reply.status for reply in client.replies] == [200] * 4 + [401] * 3


@pytest.mark.parametrize("split", [1, 30, 60])
async def test_credentials_in_pieces(site: Site, split: int) -> None:
    request = get(AUTH, RIGHT)
    client = site.client()
    assert [r.status for r in await client.ask(request[:split], request[split:])] == [200]


async def test_two_authorizations_are_refused(site: Site) -> None:
    """Whichever is right: the front and what stands before it might not take the same."""
    for pair in ([RIGHT, bearer("wrong")], [bearer("wrong"), RIGHT], [RIGHT, RIGHT]):
        client = site.client()
        assert [reply.status for reply in await client.ask(get(AUTH, *pair))] == [401]


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ([b"X-Forwarded-For: 198.51.100.1"], "198.51.100.1"),
        ([b"X-Forwarded-For: 198.51.100.1", b"X-Forwarded-For: 203.0.113.7"], "203.0.113.7"),
        ([b"X-Forwarded-For: 203.0.113.7, 192.0.2.1", b"x-forwarded-for:192.0.2.1"], "203.0.113.7"),
        ([b"Forwarded: for=198.51.100.1", b"Forwarded: for=203.0.113.7;by=a"], "203.0.113.7"),
        ([b"Forwarded: for=198.51.100.1", b"X-Forwarded-For: 203.0.113.7"], "203.0.113.7"),
    ],
)
async def test_each_proxy_may_add_a_line(
    site: Site, monkeypatch: pytest.MonkeyPatch, lines: list[bytes], address: str
) -> None:
    """As HAProxy does. The nearest that is no trusted proxy counts, both ways."""
    found = []

    def find(*args: Any) -> str:
        found.append(client_address(*args))
        return found[-1]

    monkeypatch.setattr(control, "client_address", find)
    assert (await both_ways(site, get(AUTH, bearer("wrong"), *lines))).status == 401
    assert found == [address] * 2
    client = site.client()
    client.protocol.data_received(get(AUTH, RIGHT, *lines))
    assert [reply.status for reply in client.replies] == [200]
    client.transport.abort()


# Whatever comes


_schemes = st.sampled_from(["Basic", "basic", "BEARER", "Bearer", "Digest", "", "Basic Basic"])
_right = st.sampled_from([*SECRETS.values(), *SECRETS])
_texts = st.text(max_size=30) | _right
_pairs = st.builds("{}{}{}".format, _texts, st.sampled_from([":", "", "::"]), _texts)
_values = st.one_of(
    st.text([chr(code) for code in range(32, 127)] + ["\t"], max_size=60),
    _right,
    _pairs.map(lambda pair: b64encode(pair.encode("utf-8", "surrogatepass")).decode()),
    st.builds(
        lambda role, cut, end: b64encode(f"{role}:{SECRETS[role]}".encode()).decode()[:cut] + end,
        st.sampled_from(Role),
        st.integers(0, 60),
        st.sampled_from(["", "=", "==", "A", " ", "\t", ","]),
    ),
)
_headers = st.builds("{}{}{}".format, _schemes, st.sampled_from([" ", "  ", "", "\t"]), _values)


def is_right(value: str) -> bool:
    """Whether a value is what it should be, said in another way than the service does."""
    scheme, _, rest = value.strip(" \t").partition(" ")
    rest = rest.lstrip(" ")
    if scheme.lower() == "bearer":
        return rest == SECRETS[Role.GATEWAY]
    given = f"gateway:{SECRETS[Role.GATEWAY]}".encode()
    return scheme.lower() == "basic" and rest == b64encode(given).decode()


def is_of_another_role(value: str) -> bool:
    """Whether it is right for another role."""
    others = [role for role in Role if role is not Role.GATEWAY]
    gateway = SECRETS[Role.GATEWAY]
    for role in others:
        swapped = value.replace(SECRETS[role], gateway)
        pair = b64encode(f"{role}:{SECRETS[role]}".encode()).decode()
        swapped = swapped.replace(pair, b64encode(f"gateway:{gateway}".encode()).decode())
        if swapped != value and is_right(swapped):
            return True
    return False


@pytest.mark.usefixtures("patient")
@settings(
    deadline=None,
    max_examples=400,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(value=_headers)
async def test_no_header_but_the_right_one_is_let_in(site: Site, value: str) -> None:
    answer = await both_ways(site, get(AUTH, f"Authorization: {value}".encode()))
    expected = 200 if is_right(value) else 403 if is_of_another_role(value) else 401
    assert answer.status == expected
    for secret in SECRETS.values():
        assert secret.encode() not in answer.body
    assert site.loop_errors == []


# Failed attempts


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would be waited for by the front."""
    waits: list[float] = []

    def refuse(self: Any, refused: Any) -> None:
        waits.append(refused.delay)
        original(self, refused)

    from csms_redis.lookup.front.protocol import LookupProtocol  # noqa: PLC0415 patched here

    original: Callable[[Any, Any], None] = LookupProtocol._refuse
    monkeypatch.setattr(LookupProtocol, "_refuse", refuse)
    return waits


async def test_wrong_ones_are_slowed_and_right_ones_are_not(site: Site, held: list[float]) -> None:
    """From the same address, at the same time."""
    attacker = site.client()
    statuses = []
    for number in range(throttle.BURST):
        statuses += [r.status for r in await attacker.ask(get(AUTH, bearer(f"wrong{number}")))]
    assert statuses == [401] * throttle.BURST
    waiting = [site.client() for _ in range(30)]
    for client in waiting:
        await client.ask(get(AUTH, bearer("wrong")))
    told = [reply.status for client in waiting for reply in client.replies]
    assert set(told) == {429}
    assert len(told) >= 30 - throttle.MAX_DELAY - 1
    assert max(held) <= throttle.MAX_DELAY
    for _ in range(3):
        gateway = site.client()
        gateway.protocol.data_received(get(AUTH, RIGHT))
        assert [reply.status for reply in gateway.replies] == [200]
    for client in (*waiting, attacker):
        client.transport.abort()
    await settle(attacker)


async def test_addresses_are_taken_from_trusted_proxies(site: Site) -> None:
    """Another customer behind the balancer is answered at once."""
    client = site.client()
    header = b"X-Forwarded-For: 198.51.100.9, 198.51.100.%d"
    for number in range(3 * throttle.BURST):
        asked = get(AUTH, bearer("wrong"), header % (number % 10))
        assert [reply.status for reply in await client.ask(asked)] == [401]

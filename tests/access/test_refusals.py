"""Whoever is turned away is counted and told of: why, from where, by what program."""

import json
import re
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest
from structlog.testing import capture_logs

from csms_redis.access import control, throttle
from csms_redis.access.addresses import Forwarding
from csms_redis.access.clients import Client
from csms_redis.access.control import AccessControl, Refused
from csms_redis.access.refusals import MOST_ADDRESSES, QUIET, Reason, Refusals, printable
from csms_redis.access.secret import hash_of
from csms_redis.settings import Role
from tests.conftest import API, Service, StartService
from tests.support.callers import SECRETS, basic, bearer, both_ways, clients
from tests.support.front_bytes import get
from tests.support.front_site import Clock, Site, running_site

AUTH = b"/api/v0/cs/cs001/auth"
GO = b"User-Agent: Go-http-client/1.1"
NONE, UNKNOWN, WRONG_SECRET, WRONG_ROLE = Reason
OPERATOR = SECRETS[Role.OPERATOR]
CASES: list[tuple[list[bytes], Reason, str | None]] = [
    ([], NONE, None),
    ([basic("stranger", "wrong")], UNKNOWN, None),
    ([basic("stranger", SECRETS[Role.GATEWAY])], UNKNOWN, None),
    ([bearer("wrong")], UNKNOWN, None),
    ([b"Authorization: Digest a"], UNKNOWN, None),
    ([b"Authorization:"], UNKNOWN, None),
    ([basic("", "wrong")], UNKNOWN, None),
    ([basic("gateway", "wrong")], WRONG_SECRET, "gateway"),
    ([basic("gateway", OPERATOR)], WRONG_SECRET, "gateway"),
    ([basic("operator", OPERATOR)], WRONG_ROLE, "operator"),
    ([bearer(OPERATOR)], WRONG_ROLE, "operator"),
]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that the access control sees."""
    clock = Clock()
    monkeypatch.setattr(control, "monotonic", clock)
    monkeypatch.setattr(throttle, "BURST", 10**9)
    return clock


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A service with a client for each role, behind a proxy that is trusted."""
    async with running_site(trusted_proxies=[ip_network("192.0.2.1")]) as running:
        running.access_control.use(clients())
        yield running


@pytest.mark.parametrize(("lines", "reason", "client"), CASES)
async def test_each_reason_both_ways(
    site: Site, clock: Clock, lines: list[bytes], reason: Reason, client: str | None
) -> None:
    """The address is the client's, behind a trusted proxy too."""
    forwarded = b"X-Forwarded-For: 198.51.100.7"
    with capture_logs() as logged:
        await both_ways(site, get(AUTH, GO, forwarded, *lines))
    assert site.access_control.refusals.by_reason == {each: 2 * (each is reason) for each in Reason}
    expected: dict[str, Any] = {
        "event": "credentials refused",
        "log_level": "warning",
        "reason": reason.value,
        "remote": "198.51.100.7",
        "user_agent": "Go-http-client/1.1",
        "role": "gateway",
        "requests": 1,
    }
    assert logged == [expected if client is None else expected | {"client": client}]
    clock.now += QUIET
    with capture_logs() as logged:
        await both_ways(site, get(AUTH, GO, forwarded, *lines))
    assert [line["requests"] for line in logged] == [2]


async def test_who_is_let_in_is_not_told_of(site: Site) -> None:
    with capture_logs() as logged:
        for _ in range(2):
            await both_ways(site, get(AUTH, basic("gateway", SECRETS[Role.GATEWAY])))
        await both_ways(site, get(b"/health"))
    assert logged == []
    assert set(site.access_control.refusals.by_reason.values()) == {0}


async def test_once_a_minute_for_each_address(site: Site, clock: Clock) -> None:
    """Whatever the reason; how many there were is told the next time."""
    client = site.client()
    with capture_logs() as logged:
        for number in range(60):
            address = b"X-Forwarded-For: 198.51.100.%d" % (number % 3)
            lines, _, _ = CASES[number % len(CASES)]
            await client.ask(get(AUTH, GO, address, *lines))
            clock.now += 1
    assert [line["remote"] for line in logged] == [f"198.51.100.{n}" for n in range(3)]
    with capture_logs() as logged:
        await client.ask(get(AUTH, GO, b"X-Forwarded-For: 198.51.100.0"))
        await client.ask(get(AUTH, GO, b"X-Forwarded-For: 198.51.100.0"))
    assert [(line["remote"], line["requests"]) for line in logged] == [("198.51.100.0", 20)]
    client.transport.abort()


async def test_no_credential_is_told(site: Site, clock: Clock) -> None:
    """Neither a secret nor a name that nobody has: people paste secrets there."""
    with capture_logs() as logged:
        for lines in (
            [basic("hunter2", "hunter2")],
            [bearer("hunter2")],
            [b"Authorization: hunter2"],
            [basic("gateway", "hunter2")],
        ):
            clock.now += QUIET
            await both_ways(site, get(AUTH, *lines))
    assert len(logged) == 4
    assert "hunter2" not in str(logged)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"", ""),
        (b"curl/8.5.0", "curl/8.5.0"),
        (b"a\tb", "a?b"),
        (b"a\r\nreason=none", "a??reason=none"),
        (b"\x1b[31mred\x00\x7f\x9b", "?[31mred???"),
        ("Säule".encode(), "S??ule"),
        (b"x" * 100, "x" * 100),
        (b"x" * 5000, "x" * 100 + "…"),
    ],
)
def test_the_user_agent_is_short_and_printable(header: bytes, expected: str) -> None:
    assert printable(header) == expected


async def test_no_line_is_forged(site: Site, clock: Clock) -> None:
    """The headers that only aiohttp reads, too."""
    for header in (b"a\tb", b"S\xc3\xa4ule \xff", b"x" * 7000):
        clock.now += QUIET
        with capture_logs() as logged:
            client = site.client()
            await client.ask(get(AUTH, b"User-Agent: " + header))
            client.transport.abort()
        (line,) = logged
        assert re.fullmatch("[ -~]{1,100}…?", line["user_agent"])


class TestAFlood:
    """Of addresses; memory and log are bounded, the counts are right."""

    def test_of_addresses(self) -> None:
        refusals = Refusals()
        told = sum(
            refusals.add(NONE, f"{number}", 100.0 + number / 1e6)
            for number in range(10 * MOST_ADDRESSES)
        )
        assert told == MOST_ADDRESSES
        assert len(refusals._logged) == MOST_ADDRESSES
        assert refusals.by_reason[NONE] == 10 * MOST_ADDRESSES
        assert refusals.of_others(101.0) == 9 * MOST_ADDRESSES
        assert refusals.of_others(101.0) == 0
        assert refusals.add(NONE, "another", 101.0) == 0
        assert refusals.of_others(102.0) == 0
        assert refusals.of_others(101.0 + QUIET) == 1

    def test_makes_room(self) -> None:
        """After a minute the longest untold one gives way; the others keep their counts."""
        refusals = Refusals()
        for number in range(MOST_ADDRESSES):
            assert refusals.add(NONE, f"{number}", 100.0 + number / 1e6) == 1
        assert refusals.add(NONE, "1", 101.0) == 0
        assert refusals.add(NONE, "new", 100.0 + QUIET) == 1
        assert len(refusals._logged) == MOST_ADDRESSES
        assert "0" not in refusals._logged
        assert refusals.add(NONE, "1", 101.0 + QUIET) == 2

    def test_one_line_tells_of_the_rest(self, clock: Clock) -> None:
        guarded = AccessControl([ip_network("0.0.0.0/0")])
        guarded.use((Client("a", frozenset([Role.GATEWAY]), (hash_of(b"right"),)),))
        with capture_logs() as logged:
            for number in range(3 * MOST_ADDRESSES):
                clock.now += 1e-3
                address = Forwarding("", f'for="[2001:db8:0:{number:x}::1]"')
                with pytest.raises(Refused):
                    guarded.admit(Role.GATEWAY, None, Peer(), address)  # type: ignore[arg-type]
        rest = [line for line in logged if line["event"] != "credentials refused"]
        assert len(logged) - len(rest) == MOST_ADDRESSES
        assert [(line["event"], line["log_level"]) for line in rest] == [
            ("credentials refused of more addresses than are told", "warning")
        ]


class Peer:
    """The other end's address is all that is asked of it."""

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return "10.0.0.1", 1


def counted(service: Service, secret: str) -> dict[str, float]:
    """The counter, by reason."""
    headers = {"Authorization": f"Bearer {secret}"}
    text = service.request("GET", "/metrics", headers=headers).body.decode()
    name = "csms_credentials_refused_total{reason="
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}


def test_the_service(start_service: StartService) -> None:
    """A gateway that sends none, and a scrape without: the log and the metrics say so."""
    roles = {"maeve": "gateway", "prometheus": "metrics"}
    service = start_service(
        auth__clients=json.dumps(
            {
                name: {"roles": [role], "secret_hashes": [hash_of(name.encode()).hex()]}
                for name, role in roles.items()
            }
        )
    )
    agent = {"User-Agent": "Go-http-client/1.1"}
    for _ in range(5):
        assert service.request("GET", f"{API}/cs/cs001/auth", headers=agent).status == 401
    assert service.request("GET", "/metrics", headers=agent).status == 401
    wrong = agent | {"Authorization": "Bearer maeve"}
    assert service.request("GET", "/metrics", headers=wrong).status == 403
    assert counted(service, "prometheus") == {
        "none": 6,
        "unknown": 0,
        "wrong_secret": 0,
        "wrong_role": 1,
    }
    (line,) = service.events("credentials refused")
    assert line["level"] == "warning"
    told = ("reason", "remote", "user_agent", "requests")
    assert [line[name] for name in told] == ["none", "127.0.0.1", "Go-http-client/1.1", 1]

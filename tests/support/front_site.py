"""A service without Redis and without a listener: its front, and aiohttp behind it."""

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from csms_redis.access.addresses import Network
from csms_redis.access.control import AccessControl
from csms_redis.api.app import make_app
from csms_redis.api.health import Component
from csms_redis.api.protocol import LINGERING, StatusRequestHandler
from csms_redis.check import Finding, Level
from csms_redis.contract.certificates import ClientCertificate
from csms_redis.contract.models import ChargeStationAuth, RefusedReason, RegistrationStatus, Token
from csms_redis.contract.queries import CertificateQuery, StationQuery, TokenQuery
from csms_redis.lookup import targets
from csms_redis.lookup.answers import NOT_FOUND, tail
from csms_redis.lookup.front import connection, connections, plain_sockets, protocol
from csms_redis.lookup.front.server import LookupServer
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.flight import Answered
from csms_redis.lookup.reading.flights import NOT_FOUND_TAILS
from csms_redis.lookup.refused import RefusedStations
from csms_redis.lookup.targets import Wanted
from csms_redis.redis.standalone import Standalone
from csms_redis.registry.certificates import CERTIFICATE, Certificates
from csms_redis.registry.listing import Page
from csms_redis.registry.records import RecordStore
from csms_redis.registry.refused import RefusedId, RefusedStore
from csms_redis.registry.resource import Resource
from csms_redis.registry.stations import STATION, Stations
from csms_redis.registry.tokens import TOKEN, Tokens
from csms_redis.settings import ApiSettings, LookupSettings
from tests.support.front_bytes import HASH, MAX_BODY
from tests.support.front_client import Client
from tests.support.wire import MASTER, wire_of

KEEPALIVE_TIMEOUT = 75.0
REQUEST_TIMEOUT = 10.0
RECORDS: dict[tuple[Resource, str], bytes] = {
    (STATION, "cs001"): b'{"securityProfile":1,"base64SHA256Password":"c2VjcmV0"}',
    (STATION, "cs002"): b'{"securityProfile":2}',
    (STATION, "{a}/b c"): b'{"securityProfile":0}',
    (STATION, "Säule"): b'{"securityProfile":2,"invalidUsernameAllowed":true}',
    (STATION, "s" * 48): b'{"securityProfile":2}',
    (TOKEN, "ABC123"): b'{"uid":"ABC123","valid":true}',
    (TOKEN, "A/B C"): b'{"uid":"A/B C","valid":false}',
    (CERTIFICATE, HASH): b'{"certificate":"-----BEGIN CERTIFICATE-----"}',
}
CS001 = RECORDS[STATION, "cs001"]
CS002 = RECORDS[STATION, "cs002"]


class HandFilled(Lookups):
    """Lookups that know `RECORDS`, and say of all else that there is none.

    What is in `slow` is answered by `answer`, as if Redis had been asked.
    """

    def __init__(self) -> None:
        super().__init__(LookupSettings(), b"", Standalone(MASTER))
        connection = wire_of(self).connection
        self.events.connected(MASTER, connection)
        self.events.renew(connection, sent=math.inf, until=math.inf)
        (self.source,) = self.sources.all
        self.slow: set[bytes] = set()
        self.waiting: list[Answered] = []
        for (resource, record_id), body in RECORDS.items():
            _, _, target = targets.wanted(resource, record_id)
            self.cache.put(self.source.generation, target, tail(body))

    def know(self, count: int) -> None:
        """Register stations n0, n1 and so on."""
        for number in range(count):
            body = b'{"securityProfile":%d}' % number
            self.cache.put(self.source.generation, b"/api/v0/cs/n%d/auth" % number, tail(body))

    def forget(self, target: bytes) -> None:
        """Remember that there is no such record."""
        wanted = targets.read(target)
        assert wanted is not None
        self.source.unknown.until[target] = (math.inf, NOT_FOUND_TAILS[wanted[0]])

    @contextmanager
    def changing(self, resource: Resource, record_id: str) -> Iterator[None]:
        """Know the same afterwards; nothing is written here."""
        del resource, record_id
        yield

    def read(self, wanted: Wanted, answered: Answered, now: float) -> None:
        del now
        resource, _, target = wanted
        if target in self.slow:
            self.waiting.append(answered)
        else:
            answered(NOT_FOUND, NOT_FOUND_TAILS[resource])

    def answer(self, status: int, answer_tail: bytes) -> None:
        """Answer the lookup that has waited longest."""
        self.waiting.pop(0)(status, answer_tail)


class _Stations(Stations):
    def __init__(self) -> None:
        self.registered: list[str] = []

    async def register(self, cs_id: str, auth: ChargeStationAuth) -> None:
        del auth
        self.registered.append(cs_id)

    async def set_status(self, cs_id: str, status: RegistrationStatus) -> bool:
        del cs_id, status
        return False

    async def set_password(self, cs_id: str, base64_sha256: str) -> bool:
        del cs_id, base64_sha256
        return False

    async def delete(self, cs_id: str) -> bool:
        del cs_id
        return False

    async def get(self, cs_id: str) -> bytes | None:
        del cs_id
        return None

    async def page(self, query: StationQuery) -> Page:
        del query
        return Page([], None)


class _Tokens(Tokens):
    def __init__(self) -> None:
        pass

    async def set(self, token: Token) -> None:
        pass

    async def delete(self, uid: str) -> bool:
        del uid
        return False

    async def page(self, query: TokenQuery) -> Page:
        del query
        return Page([], None)


class _Certificates(Certificates):
    def __init__(self) -> None:
        pass

    async def upload(self, certificate: ClientCertificate) -> None:
        pass

    async def delete(self, hash_: str) -> bool:
        del hash_
        return False

    async def page(self, query: CertificateQuery) -> Page:
        del query
        return Page([], None)


class _Store(RecordStore):
    def __init__(self) -> None:
        self.prefix = b""

    async def every(
        self, resource: Resource, names: Sequence[str]
    ) -> AsyncIterator[tuple[str, dict[str, Any]] | None]:
        del resource, names
        yield None


async def _no_findings() -> AsyncIterator[Finding]:
    yield Finding(Level.OK, "settings", "valid")


class _Refused(RefusedStore):
    def __init__(self) -> None:
        pass

    async def read(self) -> list[list[RefusedId]]:
        return []

    async def with_reasons(
        self, refused: Sequence[RefusedId], most: int
    ) -> list[tuple[RefusedId, RefusedReason | None]]:
        return [(one, "unknown") for one in refused[:most]]


@dataclass(frozen=True)
class Site:
    """A service without Redis and without a listener."""

    lookup_server: LookupServer
    lookups: HandFilled
    stations: _Stations
    server: web.Server
    access_control: AccessControl
    lingering: float
    loop_errors: list[dict[str, Any]]

    def client(self) -> "Client":
        """Connect to the front protocol."""
        return Client(self.lookup_server.new_protocol())

    def aiohttp_client(self) -> "Client":
        """Connect to aiohttp's protocol as if there were no front."""
        return Client(self.aiohttp_protocol())

    def aiohttp_protocol(
        self, answered: Callable[[bool], None] = lambda _stays_open: None
    ) -> StatusRequestHandler:
        """The protocol of aiohttp for one connection."""
        protocol = StatusRequestHandler(self.server, answered)
        protocol._lingering_time = self.lingering
        return protocol

    @property
    def handed_over(self) -> int:
        """How many requests aiohttp has answered."""
        return self.server.requests_count


@asynccontextmanager
async def running_site(
    *,
    max_connections: int = 1000,
    lingering: float = LINGERING,
    trusted_proxies: Collection[Network] = (),
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Site]:
    """A site; nothing may have gone wrong in the event loop at its end.

    Args:
        max_connections: of the front.
        lingering: seconds for which aiohttp reads on after an early answer.
        trusted_proxies: whose word on a client's address is believed.
        tls: context of the handshakes.
    """
    lookups = HandFilled()
    stations = _Stations()
    access_control = AccessControl(trusted_proxies)
    refused = RefusedStations(access_control)
    app = make_app(
        stations=stations,
        tokens=_Tokens(),
        certificates=_Certificates(),
        lookups=lookups,
        components=lambda: {"redis": Component()},
        access_control=access_control,
        refused=refused,
        refused_store=_Refused(),
        store=_Store(),
        check=_no_findings,
        api=ApiSettings(),
        max_body=MAX_BODY,
        request_timeout=REQUEST_TIMEOUT,
    )
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    server = runner.server
    assert server is not None
    lookup_server = LookupServer(
        lookups,
        lambda answered: site.aiohttp_protocol(answered),  # noqa: PLW0108 there is no site yet
        access_control,
        keepalive_timeout=KEEPALIVE_TIMEOUT,
        request_timeout=REQUEST_TIMEOUT,
        max_connections=max_connections,
        tls=lambda: tls,
        refused=refused,
    )
    site = Site(lookup_server, lookups, stations, server, access_control, lingering, [])
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: site.loop_errors.append(context)
    )
    try:
        yield site
        assert site.loop_errors == []
    finally:
        await runner.cleanup()
        lookup_server.plain_sockets.close()  # its epoll set, which a cycle would keep


class Clock:
    """The time that the front protocol sees; it stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def set_clock(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Have the front see this time."""
    for module in (connection, connections, plain_sockets, protocol):
        monkeypatch.setattr(module, "monotonic", clock)


def pass_time(site: Site, clock: Clock, seconds: float) -> None:
    """Let time pass, in the steps in which the front looks."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now = min(end, clock.now + 0.5)
        site.lookup_server.sweep()

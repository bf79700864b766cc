"""Bytes in, bytes out: a front protocol, or aiohttp's alone, on a transport without a socket."""

import asyncio
import http.client
import math
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, cast

import pytest
from aiohttp import web

from csms_redis.access.addresses import Network
from csms_redis.access.control import AccessControl
from csms_redis.api.app import make_app
from csms_redis.api.health import Component
from csms_redis.api.protocol import LINGERING, StatusRequestHandler
from csms_redis.contract.certificates import ClientCertificate
from csms_redis.contract.models import ChargeStationAuth, RegistrationStatus, Token
from csms_redis.contract.queries import CertificateQuery, StationQuery, TokenQuery
from csms_redis.lookup import targets
from csms_redis.lookup.answers import NOT_FOUND, tail
from csms_redis.lookup.front import connection, connections, protocol
from csms_redis.lookup.front.server import LookupServer
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.flight import Answered
from csms_redis.lookup.reading.flights import NOT_FOUND_TAILS
from csms_redis.lookup.targets import Wanted
from csms_redis.redis.standalone import Standalone
from csms_redis.registry.certificates import CERTIFICATE, Certificates
from csms_redis.registry.listing import Page
from csms_redis.registry.resource import Resource
from csms_redis.registry.stations import STATION, Stations
from csms_redis.registry.tokens import TOKEN, Tokens
from csms_redis.settings import ApiSettings, LookupSettings
from tests.conftest import Reply
from tests.lookup.wire import MASTER, wire_of

MAX_BODY = 4096
KEEPALIVE_TIMEOUT = 75.0
REQUEST_TIMEOUT = 10.0
HOST = b"Host: registry\r\n"

_MATTER = {
    "content-type",
    "content-length",
    "connection",
    "allow",
    "retry-after",
    "www-authenticate",
}
_HIGH_WATER = 65536  # asyncio's own mark
_QUIET_TURNS = 12  # of the event loop; aiohttp needs fewer from a request to its answer

HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak="
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
SLOW = b"/api/v0/cs/slow/auth"
BUFFER = 65536  # bytes that may wait while a request is being answered
SEGMENT = 16384  # bytes


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
) -> AsyncIterator[Site]:
    """A site; nothing may have gone wrong in the event loop at its end.

    Args:
        max_connections: of the front.
        lingering: seconds for which aiohttp reads on after an early answer.
        trusted_proxies: whose word on a client's address is believed.
    """
    lookups = HandFilled()
    stations = _Stations()
    access_control = AccessControl(trusted_proxies)
    app = make_app(
        stations=stations,
        tokens=_Tokens(),
        certificates=_Certificates(),
        lookups=lookups,
        components=lambda: {"redis": Component()},
        access_control=access_control,
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


class Clock:
    """The time that the front protocol sees; it stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def set_clock(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Have the front see this time."""
    for module in (connection, connections, protocol):
        monkeypatch.setattr(module, "monotonic", clock)


def pass_time(site: Site, clock: Clock, seconds: float) -> None:
    """Let time pass, in the steps in which the front looks."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now = min(end, clock.now + 0.5)
        site.lookup_server.sweep()


class MockTransport(asyncio.Transport):
    """A transport that keeps what is written, and can be as stuck as a client that never reads."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.stuck = False
        self.reading = True
        self.closed = False  # asked for
        self.ended = False  # done
        self.aborted = False
        self._unsent = 0
        self._paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 50000) if name == "peername" else default

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self._unsent:
                asyncio.get_running_loop().call_soon(self._end)

    def abort(self) -> None:
        self.closed = self.aborted = True
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self.protocol.connection_lost(None)

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        if self.ended or self.aborted:
            return
        self.written += data
        if self.stuck:
            self._unsent += len(data)
            if self._unsent > _HIGH_WATER and not self._paused:
                self._paused = True
                self.protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        return self._unsent

    def catch_up(self) -> None:
        """The client has read everything."""
        self._unsent = 0
        if self._paused:
            self._paused = False
            self.protocol.resume_writing()
        if self.closed:
            self._end()

    def is_reading(self) -> bool:
        return self.reading and not self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@dataclass
class Client:
    """The client's end of a connection."""

    protocol: asyncio.Protocol
    transport: MockTransport = field(init=False)

    def __post_init__(self) -> None:
        """Connect."""
        self.transport = MockTransport(self.protocol)
        self.protocol.connection_made(self.transport)

    async def send(self, *segments: bytes) -> None:
        """Send bytes, each segment in a turn of its own, as long as they are read."""
        for segment in segments:
            if self.transport.closed or not self.transport.reading:
                break
            self.protocol.data_received(segment)
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """Say that nothing more will be sent."""
        if not self.transport.closed and not self.protocol.eof_received():
            self.transport.close()
        await settle(self)

    async def ask(self, *segments: bytes) -> list[Reply]:
        """Send bytes, and give the replies to them."""
        already = len(self.transport.written)
        await self.send(*segments)
        await settle(self)
        return replies(bytes(self.transport.written[already:]))

    @property
    def ended(self) -> bool:
        """Whether the connection has ended."""
        return self.transport.ended

    @property
    def received(self) -> bytes:
        """All that was received."""
        return bytes(self.transport.written)

    @property
    def replies(self) -> list[Reply]:
        """All that was received, which must be replies."""
        return replies(self.received)


async def settle(*clients: Client) -> None:
    """Let the event loop turn until nothing more happens on some connections."""

    def state() -> list[tuple[int, bool, bool]]:
        return [(len(c.received), c.transport.ended, c.transport.reading) for c in clients]

    quiet = 0
    before = state()
    while quiet < _QUIET_TURNS:
        await asyncio.sleep(0)
        now = state()
        quiet = quiet + 1 if now == before else 0
        before = now


class _Stream(BytesIO):
    """Bytes as `http.client` reads them from a socket; it must not close them."""

    def makefile(self, mode: str) -> "_Stream":
        del mode
        return self

    def close(self) -> None:
        pass


def replies(data: bytes) -> list[Reply]:
    """Read replies to GET or POST one after another; nothing may be left over."""
    stream = _Stream(data)
    found: list[Reply] = []
    while stream.tell() < len(data):
        response = http.client.HTTPResponse(cast("Any", stream))
        response.begin()
        headers = dict(response.getheaders())
        assert "Content-Length" in headers, data
        found.append(Reply(response.status, response.reason, headers, response.read()))
    return found


@dataclass(frozen=True)
class Answer:
    """What matters of a reply."""

    line: str
    headers: frozenset[tuple[str, str]]
    body: bytes

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.line.split(" ")[1])

    @property
    def closing(self) -> "Answer":
        """The same, but for its `Connection`, which says close."""
        kept = {(name, value) for name, value in self.headers if name != "connection"}
        said = {("connection", "close")} if self.line.startswith("HTTP/1.1") else set()
        return replace(self, headers=frozenset(kept | said))


def answers(received: bytes) -> list[Answer]:
    """Read answers one after another; a body that is not there was not wanted (HEAD)."""
    found = []
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        assert end, received
        line, *lines = head.decode("ascii").split("\r\n")
        received = rest
        if line == "HTTP/1.1 100 Continue":
            continue
        headers = [
            (name.lower(), value) for name, _, value in (each.partition(": ") for each in lines)
        ]
        length = 0 if rest.startswith(b"HTTP/1.") else int(dict(headers)["content-length"])
        assert not line.endswith("500 Internal Server Error")
        assert len({name for name, _ in headers}) == len(headers), headers
        assert dict(headers)["cache-control"] == "no-store", received
        assert length <= len(rest) or not rest, received
        matter = frozenset(header for header in headers if header[0] in _MATTER)
        found.append(Answer(line, matter, rest[:length]))
        received = rest[length:]
    return found


def get(target: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    """A GET with a Host and other headers."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"GET %b HTTP/%b\r\n%b%b\r\n" % (target, version, HOST, lines)


def station(name: str) -> bytes:
    """A lookup of a station in the plainest form."""
    return get(b"/api/v0/cs/%b/auth" % name.encode())


def post(target: bytes, body: bytes, *headers: bytes) -> bytes:
    """A POST of JSON with a Host and other headers."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return (
        b"POST %b HTTP/1.1\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b"
        % (target, HOST, len(body), lines, body)
    )


REGISTER = post(b"/api/v0/cs/new", b'{"securityProfile":2}')
HEALTH = get(b"/health")


def bodies(found: list[Reply]) -> list[bytes]:
    """The bodies of replies."""
    return [reply.body for reply in found]


def statuses(found: list[Reply]) -> list[int]:
    """The statuses of replies."""
    return [reply.status for reply in found]

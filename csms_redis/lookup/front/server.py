"""The public port: makes the protocol of each connection, and holds what all connections share."""

import asyncio
import ssl
from collections.abc import Callable

from csms_redis.access.control import AccessControl
from csms_redis.lookup.front.bodiless import BY_DEFAULT, Bodiless
from csms_redis.lookup.front.connections import SWEEP, Connections
from csms_redis.lookup.front.from_memory import FromMemory
from csms_redis.lookup.front.handover import NewAiohttpProtocol
from csms_redis.lookup.front.handshakes import Handshakes
from csms_redis.lookup.front.known_headers import KnownHeaders
from csms_redis.lookup.front.plain_sockets import PlainSockets
from csms_redis.lookup.front.protocol import LookupProtocol
from csms_redis.lookup.front.response_heads import ResponseHeads
from csms_redis.lookup.front.tracing import LookupSpans
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.refused import RefusedStations


class LookupServer:
    """Serves the lookups of a listener; the listener accepts its connections.

    Attributes:
        lookups: the answers.
        new_aiohttp_protocol: makes what answers all that is no plain lookup.
        access_control: who may look up.
        bodiless: which refusals have no body.
        connections: the registry of the open connections.
        handshakes: takes a connection that begins with TLS.
        plain_sockets: takes any other connection.
        known_headers: how to answer to headers that were read before.
        heads: the response heads of this second.
        memory: answers at once what is in memory.
        refused: is told of the stations that are turned away.
        spans: makes the spans of lookups that have to wait; None without tracing.
    """

    def __init__(  # noqa: PLR0913 one keyword for each limit
        self,
        lookups: Lookups,
        new_aiohttp_protocol: NewAiohttpProtocol,
        access_control: AccessControl,
        *,
        keepalive_timeout: float,
        request_timeout: float,
        max_connections: int,
        bodiless: Bodiless = BY_DEFAULT,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
        refused: RefusedStations | None = None,
    ) -> None:
        """Serve from `lookups`, and through aiohttp what is no plain lookup.

        Args:
            lookups: the answers.
            new_aiohttp_protocol: makes the protocol that takes a request that is handed over.
            access_control: who may look up; aiohttp's side has to ask it too.
            keepalive_timeout: seconds until an idle connection is closed.
            request_timeout: seconds within which a request's head must have arrived.
            max_connections: how many may be open; beyond it the longest waiting one is closed.
            bodiless: which refusals have no body; aiohttp's side has to do the same.
            tls: gives the context of the next TLS handshake.
            refused: is told of the stations that are turned away; None for one that nobody asks.
        """
        self.lookups = lookups
        self.new_aiohttp_protocol = new_aiohttp_protocol
        self.access_control = access_control
        self.bodiless = bodiless
        self.heads = ResponseHeads()
        self.known_headers = KnownHeaders()
        access_control.changed = self.known_headers.clear
        self.connections = Connections(
            keepalive_timeout=keepalive_timeout,
            request_timeout=request_timeout,
            max_connections=max_connections,
        )
        self.spans: LookupSpans | None = None
        self.refused = refused or RefusedStations(access_control)
        self.memory = FromMemory(
            lookups, self.known_headers, self.heads, self.refused, self.connections
        )
        self.plain_sockets = PlainSockets(self.connections, self.memory, self.new_protocol)
        self.handshakes = Handshakes(
            self.connections, self.plain_sockets.watched, self.new_protocol, tls
        )

    def new_protocol(self) -> LookupProtocol:
        """Make the protocol of a new connection."""
        return LookupProtocol(self)

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP)
            self.sweep()

    def sweep(self) -> None:
        """Look at the connections' time-outs, and write the date anew."""
        self.heads.refresh()
        self.connections.sweep()

    def begin_drain(self) -> None:
        """Let every connection end with its next answer."""
        self.known_headers.close()
        self.connections.draining = True

    async def drain(self, seconds: float) -> None:
        """Close what is idle and let the rest finish; after `seconds`, cut all."""
        self.begin_drain()
        await self.connections.drain(seconds)

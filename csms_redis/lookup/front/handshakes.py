"""TLS handshakes of new connections, where the listener is secured (`[server.tls]`).

A connection counts from its first moment on, and gives way to others like any.
"""

import socket
import ssl
from collections.abc import Callable
from typing import cast

import structlog

from csms_redis.access.addresses import peer_of, plain
from csms_redis.lookup.front import other_protocols
from csms_redis.lookup.front.connections import Connections
from csms_redis.lookup.front.plain_transport import AT_ONCE, DO_NOT_WAIT, PlainTransport
from csms_redis.lookup.front.protocol import LookupProtocol
from csms_redis.lookup.front.socket_set import SocketSet
from csms_redis.lookup.front.tls_transport import TlsTransport

_log = structlog.get_logger()


class Handshakes:
    """Begins the TLS handshakes, and logs those that fail.

    When a handshake takes too long, `Connections` ends it.
    """

    def __init__(
        self,
        connections: Connections,
        sockets: SocketSet,
        new_protocol: Callable[[], LookupProtocol],
        tls: Callable[[], ssl.SSLContext | None],
    ) -> None:
        """Prepare; no handshake begins yet.

        Args:
            connections: the registry, which knows the handshakes under way.
            sockets: the plain sockets that are read.
            new_protocol: makes the protocol of a connection.
            tls: gives the context that the next handshake uses.
        """
        self._connections = connections
        self._sockets = sockets
        self._new_protocol = new_protocol
        self._tls = tls

    def begin(self, connection: socket.SocketType) -> None:
        """Begin the handshake of a connection; from now on it counts as open."""
        context = cast("ssl.SSLContext", self._tls())
        secured = TlsTransport(context, self._new_protocol(), self._over)
        self._connections.accepted += 1
        self._connections.handshakes.add(secured)
        try:
            hello = connection.recv(AT_ONCE, DO_NOT_WAIT)  # mostly it is there already
        except OSError:
            hello = b""  # if the client has left, that is read in a moment
        PlainTransport(self._sockets, connection, secured).begin(hello)

    def _over(self, secured: TlsTransport, failure: str | None) -> None:
        self._connections.handshakes.discard(secured)
        if failure is None:
            return
        remote = plain(peer_of(secured))
        spoken = other_protocols.of_handshake(failure)
        if spoken is None:
            _log.debug("TLS handshake failed", reason=failure, remote=remote)
        else:
            _log.warning(
                "TLS handshake failed",
                reason=failure,
                remote=remote,
                speaks=spoken.name,
                advice=spoken.advice,
            )

"""TLS handshakes of new connections, where the listener is secured (`[server.tls]`).

The event loop's own server would keep a connection to itself until its handshake has ended, so that
it would neither count nor give way to others. Here a connection counts from its first moment on.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

import structlog

from csms_redis.access.addresses import plain
from csms_redis.lookup.front import other_protocols
from csms_redis.lookup.front.connections import LINGER, Connections
from csms_redis.lookup.front.protocol import LookupProtocol

_log = structlog.get_logger()


class Handshakes:
    """The TLS handshakes that are under way.

    It runs each in a task, and closes the socket of one that fails. When a handshake takes too
    long, `Connections` ends it.
    """

    def __init__(
        self,
        connections: Connections,
        new_protocol: Callable[[], LookupProtocol],
        tls: Callable[[], ssl.SSLContext | None],
        *,
        timeout: float,
    ) -> None:
        """Prepare; no handshake begins yet.

        Args:
            connections: the registry, which knows the handshakes under way.
            new_protocol: makes the protocol of a connection.
            tls: gives the context that the next handshake uses.
            timeout: seconds that a handshake may take.
        """
        self._connections = connections
        self._new_protocol = new_protocol
        self._tls = tls
        self._timeout = timeout

    def begin(self, connection: socket.SocketType) -> None:
        """Begin the handshake of a connection; from now on it counts as open."""
        accepted = socket.socket(fileno=connection.detach())
        accepted.settimeout(0)
        self._connections.accepted += 1
        handshakes = self._connections.handshakes
        protocol = self._new_protocol()
        handshake = asyncio.create_task(self._run(protocol, accepted))
        handshakes.add(handshake)

        def ended(_: object) -> None:  # no part of the task, which may end before it began
            handshakes.discard(handshake)
            if not protocol.is_open:
                accepted.close()
                protocol.connection_lost(None)

        handshake.add_done_callback(ended)
        protocol.shakes_hands(handshake)

    async def _run(self, protocol: LookupProtocol, accepted: socket.socket) -> None:
        remote = _peer_of(accepted)  # now, for a handshake that fails closes the socket
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=self._tls(),
                ssl_handshake_timeout=self._timeout,
                ssl_shutdown_timeout=LINGER,
            )
        except OSError as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            spoken = other_protocols.of_handshake(reason)
            if spoken is None:
                _log.debug("TLS handshake failed", reason=reason, remote=remote)
            else:
                _log.warning(
                    "TLS handshake failed",
                    reason=reason,
                    remote=remote,
                    speaks=spoken.name,
                    advice=spoken.advice,
                )


def _peer_of(accepted: socket.socket) -> str:
    try:
        peer = accepted.getpeername()
    except OSError:  # it has left
        return ""
    return plain(str(peer[0])) if isinstance(peer, tuple) else ""

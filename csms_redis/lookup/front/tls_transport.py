"""TLS of one connection, between what carries its records and its protocol.

What carries the records is the connection's plain socket, and later perhaps a transport of the event
loop (`plain_sockets`); to both a `TlsTransport` is the protocol. To the connection's own protocol it
is the transport, which stays the same.

It keeps nothing for long: what arrives is decrypted at once, or not read; what is written is
encrypted at once and given to the carrier, whose flow control holds. Waiting is not its own either:
`Connections` ends a handshake, or a close, that takes too long.

The states:

| state | what is done with bytes | what leads away |
|---|---|---|
| `SHAKES_HANDS` | they are the handshake's | its end: `OPEN`; a failure, the client's end, `abort`: `CLOSED` |
| `OPEN` | they are decrypted, for the protocol; the protocol's are encrypted | the client's end of stream, a broken record, `close`, `abort`: `CLOSED` |
| `CLOSED` | nothing; what was encrypted before may still leave | nothing |
"""  # noqa: E501 a row of a table is one line

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any, Final, Protocol, cast

from csms_redis.lookup.front.plain_transport import PlainTransport

_RECORD: Final = 2**14  # bytes that a record holds at most (RFC 8446, 5.1)
_AT_ONCE: Final = 2**16  # bytes of answers that may leave together


class State(Enum):
    """What a `TlsTransport` does now; see the table above."""

    SHAKES_HANDS = "is in its handshake"
    OPEN = "carries the protocol's bytes"
    CLOSED = "carries nothing any more"


SHAKES_HANDS: Final = State.SHAKES_HANDS
OPEN: Final = State.OPEN
CLOSED: Final = State.CLOSED


class SecuredProtocol(Protocol):
    """The protocol of a connection with TLS: it counts from its first moment on."""

    def shakes_hands(self, transport: asyncio.Transport) -> None:
        """The handshake begins; `connection_made` follows when it has ended well."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake has ended well."""

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client's."""

    def eof_received(self) -> bool | None:
        """The client sends nothing more, and the connection closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection, or its handshake, has ended."""

    def pause_writing(self) -> None:
        """The client does not take what was written."""

    def resume_writing(self) -> None:
        """The client takes it again, or has another carrier."""


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """TLS of one connection: its protocol's transport, and the protocol of what carries it."""

    __slots__ = (
        "_carrier",
        "_incoming",
        "_outgoing",
        "_over",
        "_paused",
        "_protocol",
        "_reads",
        "_state",
        "_tls",
        "_turn",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        protocol: SecuredProtocol,
        over: Callable[["TlsTransport", str | None], None],
    ) -> None:
        """Wait for `connection_made`.

        Args:
            context: of the handshake.
            protocol: the connection's.
            over: is called once, when the handshake is over; with why it has failed (OpenSSL's
                word, or an error's name), and with None where it has not, or where we ended it.
        """
        # without the base's, which makes a dictionary for each
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._protocol = protocol
        self._over = over
        self._carrier: asyncio.Transport | None = None  # None before it is there and after
        self._state = SHAKES_HANDS
        self._reads = True  # the protocol takes bytes
        self._paused = False  # the carrier does not take bytes
        self._turn = False  # what is written waits until all that has arrived was read

    # As the protocol of what carries the records

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake; or go on, where a plain socket has become a transport."""
        former, self._carrier = self._carrier, cast("asyncio.Transport", transport)
        if former is None:
            self._protocol.shakes_hands(self)
            return
        self._paused = False
        cast("PlainTransport", former).moved_to(self._carrier)
        if not self._reads:
            self._carrier.pause_reading()
        if self._state is OPEN and not self._paused:
            self._protocol.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Decrypt, and give the protocol what was said; its answers leave together."""
        if self._state is CLOSED:
            return
        self._incoming.write(data)
        self._take()

    def _take(self) -> None:
        self._turn = True
        try:
            if self._state is SHAKES_HANDS:
                self._shake_hands()
            if self._state is OPEN:
                self._read()
        finally:
            self._turn = False
        self._flush()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            self._is_over(error.reason or type(error).__name__)
            self._close_carrier()  # after the alert, which tells the client why
            return
        self._is_over(None, OPEN)
        self._protocol.connection_made(self)

    def _is_over(self, failure: str | None, state: State = CLOSED) -> None:
        """End the handshake, if it has not ended yet."""
        if self._state is SHAKES_HANDS:
            self._over(self, failure)
        self._state = state

    def _read(self) -> None:
        while self._state is OPEN and self._reads and self._has_more:
            try:
                data = self._tls.read(_RECORD)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLError:  # no record, or not the client's
                self._break()
                return
            if data:
                self._protocol.data_received(data)
            else:  # its close_notify, which is answered with ours (RFC 5246, 7.2.1)
                self._protocol.eof_received()
                self.close()

    @property
    def _has_more(self) -> bool:
        """Whether there may be more to read; to try in vain costs an exception."""
        return bool(self._incoming.pending or self._tls.pending())

    def eof_received(self) -> bool:
        """The client has left, without a close_notify: the carrier closes."""
        if self._state is OPEN:
            self._protocol.eof_received()
            self.close()
        else:
            self._is_over(ConnectionResetError.__name__)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave nothing behind."""
        self._is_over(None if exc is None else type(exc).__name__)
        self._carrier = None
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The carrier has more than the client takes."""
        self._paused = True
        if self._state is OPEN:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The client has taken it."""
        self._paused = False
        if self._state is OPEN:
            self._protocol.resume_writing()

    # As the transport of the connection's protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if self._state is not OPEN:
            return
        try:
            sent = self._tls.write(data) if data else 0
            while sent < len(data):
                if self._outgoing.pending >= _AT_ONCE:
                    self._flush()
                data = memoryview(data)[sent:]
                sent = self._tls.write(data)
        except ssl.SSLError:
            self._break()
            return
        # more than a little leaves at once, so that the carrier can tell when it is too much
        if not self._turn or self._outgoing.pending >= _AT_ONCE:
            self._flush()

    def move(self) -> bool:
        """Let the event loop carry the records, unless it does; `resume_writing` then follows.

        Returns:
            Whether that is still to come.
        """
        return isinstance(self._carrier, PlainTransport) and self._carrier.move()

    def close(self) -> None:
        """Say that no more comes, and close when all that was written has left."""
        if self._state is OPEN:
            self._state = CLOSED
            with suppress(ssl.SSLError):  # it asks for the client's close_notify, without waiting
                self._tls.unwrap()
            self._close_carrier()
        elif self._state is SHAKES_HANDS:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._is_over(None)
        if self._carrier is not None:
            self._carrier.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._state is CLOSED or self._carrier is None or self._carrier.is_closing()

    def pause_reading(self) -> None:
        """Give the protocol nothing, and take nothing from the client."""
        self._reads = False
        if self._carrier is not None:
            self._carrier.pause_reading()

    def resume_reading(self) -> None:
        """Give the protocol what has arrived, and take more."""
        if not self._reads:
            self._reads = True
            if self._carrier is not None:
                self._carrier.resume_reading()
            if self._has_more:
                asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._state is OPEN:
            self._take()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The context, `sslcontext`, and what the carrier knows."""
        if name == "sslcontext":
            return self._tls.context
        return default if self._carrier is None else self._carrier.get_extra_info(name, default)

    def _flush(self) -> None:
        if self._outgoing.pending and self._carrier is not None:
            self._carrier.write(self._outgoing.read())

    def _close_carrier(self) -> None:
        self._flush()
        if self._carrier is not None:
            self._carrier.close()

    def _break(self) -> None:
        """End a connection with a broken record, after an alert.

        Not at once, for the protocol may be writing to it.
        """
        self._state = CLOSED
        asyncio.get_running_loop().call_soon(self._close_carrier)

"""The sockets that the service listens on: its own, or those that systemd hands to it."""

import asyncio
import ctypes
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice

import structlog

from csms_redis.settings import ServerSettings

_FIRST_INHERITED = 3
_AT_ONCE = 100  # connections that are accepted in one turn of the event loop
_PAUSE = 1.0  # seconds after which accepting is tried again
_SETTLE = 0.05  # seconds that clients have to finish TCP's handshake, once they began it

# A classic BPF program that lets a listening socket pass everything but a SYN, which begins a
# connection (https://docs.kernel.org/networking/filter.html): load the byte of TCP's flags, keep
# SYN and ACK of it, drop the packet when just SYN is left.
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python's socket module does not name it
_NO_SYN = tuple(
    struct.pack("HBBI", *instruction)
    for instruction in [
        (0x30, 0, 0, 13),
        (0x54, 0, 0, 0x12),
        (0x15, 0, 1, 0x02),
        (0x06, 0, 0, 0),
        (0x06, 0, 0, 0xFFFFFFFF),
    ]
)
_log = structlog.get_logger()


class CannotListen(Exception):
    """The address cannot be listened on; the message is one line for the operator."""


class Listener:
    """Takes connections from listening sockets, and at the end leaves none of them unanswered."""

    def __init__(self, sockets: Sequence[socket.socket], *, inherited: bool) -> None:
        """Own some listening sockets.

        Args:
            sockets: that listen already.
            inherited: whether another process listens on them as well.
        """
        self._sockets = sockets
        self._inherited = inherited
        self._servers: list[asyncio.Server] = []
        self._stopped = False
        self._protocol: Callable[[], asyncio.BaseProtocol] = asyncio.Protocol
        self._shake_hands: Callable[[socket.socket], None] | None = None

    @property
    def urls(self) -> list[str]:
        """Where it listens."""
        scheme = "https" if self._shake_hands else "http"
        return [_url(scheme, listening) for listening in self._sockets]

    async def start(
        self,
        protocol: Callable[[], asyncio.BaseProtocol],
        backlog: int,
        shake_hands: Callable[[socket.socket], None] | None = None,
    ) -> None:
        """Give every new connection a protocol.

        Args:
            protocol: makes one.
            backlog: connections that the kernel holds until they are accepted.
            shake_hands: takes the protocol's place where connections begin with TLS.
        """
        self._protocol = protocol
        self._shake_hands = shake_hands
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            if shake_hands is not None:
                listening.setblocking(False)  # noqa: FBT003 its only argument
                loop.add_reader(listening, self._take_some, listening, shake_hands)
                continue
            # a duplicate: uvloop closes what it accepts from before it has accepted all
            create = (
                loop.create_unix_server
                if listening.family is socket.AF_UNIX
                else loop.create_server
            )
            server = await create(protocol, sock=listening.dup(), backlog=backlog)
            self._servers.append(server)

    async def stop(self) -> None:
        """Accept what the kernel has accepted already, and no more.

        Closing a listening socket resets the connections in its queue, though their clients were
        told that they are connected. So no more of them are let into the queue, it is emptied, and
        closed then. Whoever wanted to connect meanwhile repeats that after a second, as TCP does,
        and is refused, or comes to another process of `server.reuse_port`.

        What waits at an inherited socket is left to who handed it over, and has it still.
        """
        self._stop_accepting()
        if not self._inherited:
            for listening in self._sockets:
                _let_no_more_in(listening)
            await self._accept_all()
            await asyncio.sleep(_SETTLE)
            await self._accept_all()
        self.close()

    def close(self) -> None:
        """Close everything as it is."""
        self._stop_accepting()
        for listening in self._sockets:
            listening.close()

    def _stop_accepting(self) -> None:
        self._stopped = True
        for server in self._servers:
            server.close()
        if self._shake_hands is not None:
            for listening in self._sockets:
                if listening.fileno() >= 0:
                    asyncio.get_running_loop().remove_reader(listening)

    def _take_some(
        self, listening: socket.socket, shake_hands: Callable[[socket.socket], None]
    ) -> None:
        try:
            for connection in islice(_accepted(listening), _AT_ONCE):
                shake_hands(connection)
        except OSError as error:  # no descriptors are left, as a rule
            _log.error("connections wait to be accepted", reason=os.strerror(error.errno or 0))
            loop = asyncio.get_running_loop()
            loop.remove_reader(listening)
            loop.call_later(_PAUSE, self._go_on, listening, shake_hands)

    def _go_on(
        self, listening: socket.socket, shake_hands: Callable[[socket.socket], None]
    ) -> None:
        if listening.fileno() >= 0 and not self._stopped:
            loop = asyncio.get_running_loop()
            loop.add_reader(listening, self._take_some, listening, shake_hands)

    async def _accept_all(self) -> None:
        if self._shake_hands is not None:
            for listening in self._sockets:
                for connection in _accepted(listening):
                    self._shake_hands(connection)
            return
        loop = asyncio.get_running_loop()
        accepted = [
            loop.connect_accepted_socket(self._protocol, connection)
            for listening in self._sockets
            for connection in _accepted(listening)
        ]
        # one that cannot be taken has left
        await asyncio.gather(*accepted, return_exceptions=True)


def _accepted(listening: socket.socket) -> Iterator[socket.socket]:
    listening.settimeout(0)
    while True:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return
        except ConnectionAbortedError:  # it has left the queue already
            continue
        connection.settimeout(0)
        yield connection


async def listen(settings: ServerSettings) -> Listener:
    """Listen on the sockets that were handed over, else where the settings say.

    Raises:
        CannotListen: the address is taken or not ours, or what was handed over does not listen.
    """
    if handed_over := inherited():
        return Listener(handed_over, inherited=True)
    where = f"{settings.host} port {settings.port}"
    sockets: list[socket.socket] = []
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            settings.host or None,
            settings.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
        for family, _, _, _, address in dict.fromkeys(found):
            listening = socket.create_server(
                address, family=family, backlog=settings.backlog, reuse_port=settings.reuse_port
            )
            sockets.append(listening)
    except OSError as error:
        for listening in sockets:
            listening.close()
        # not strerror of the error, which repeats the address, but for a name that is none
        own = error.errno is None or isinstance(error, socket.gaierror)
        reason = str(error.strerror) if own else os.strerror(error.errno or 0)
        raise CannotListen(f"cannot listen on {where}: {reason.lower()}") from None
    return Listener(sockets, inherited=False)


def inherited() -> list[socket.socket]:
    """The listening sockets that systemd has opened for this process (sd_listen_fds(3)).

    Children must not take them for theirs, so that the environment tells of them no more.

    Raises:
        CannotListen: one is no listening stream socket.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    sockets = []
    for descriptor in range(_FIRST_INHERITED, _FIRST_INHERITED + int(count)):
        try:
            listening = socket.socket(fileno=descriptor)
            listening.set_inheritable(False)
            listens = listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise CannotListen(f"cannot listen on inherited file {descriptor}: {reason}") from None
        if not listens or listening.type != socket.SOCK_STREAM:
            raise CannotListen(
                f"cannot listen on inherited file {descriptor}: it is no listening stream socket"
            )
        sockets.append(listening)
    return sockets


def _let_no_more_in(listening: socket.socket) -> None:
    program = ctypes.create_string_buffer(b"".join(_NO_SYN))
    described = struct.pack("HP", len(_NO_SYN), ctypes.addressof(program))
    # Where that cannot be had (not on Linux), a connection made in the last moment is reset.
    with suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def _url(scheme: str, listening: socket.socket) -> str:
    address = listening.getsockname()
    if listening.family is socket.AF_UNIX or isinstance(address, str | bytes):
        return f"{scheme}+unix://{os.fsdecode(address)}"
    host, port, *_ = address
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

"""Accepts connections from the listening sockets, and at the end leaves none unanswered."""

import asyncio
import ctypes
import errno
import os
import resource
import socket
import struct
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic

import structlog

from csms_redis import aside
from csms_redis.listening_sockets import inherited, open_sockets
from csms_redis.settings import ServerSettings

_AT_ONCE = 50  # connections that are accepted in one turn of the event loop
_PAUSE = 1.0  # seconds after which accepting is tried again
_SETTLE = 0.05  # seconds for clients to finish a TCP handshake that they have begun
_ROOM_PAUSE = 0.01  # seconds between two looks at whether one more can be accepted
_LOOK = 0.5  # seconds between looks at whether there are descriptors
_SILENT = 1  # seconds after which a connection is accepted that has sent nothing
_SPARE = 16  # descriptors; while fewer are left, nothing is accepted
_QUIET = 10.0  # seconds between two lines in the log about missing descriptors

_INTERNET = frozenset([socket.AF_INET, socket.AF_INET6])
_SYN_RECEIVED = "03"  # in /proc/net/tcp (include/net/tcp_states.h)
_NONE_LEFT = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
_NOT_LISTENING = frozenset([errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP])

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


class _Queue:
    """The kernel's queue of the connections of a listening socket."""

    def __init__(self, listening: socket.socket) -> None:
        self.socket = listening
        # accept() makes an object on top of this one's, and to ask a socket for its family makes
        # an enumeration's member: together they take as long as an answer
        self._accept = listening._accept  # type: ignore[attr-defined] # noqa: SLF001
        self._make = partial(socket.SocketType, int(listening.family), int(listening.type), 0)

    def next(self) -> socket.SocketType | None:
        """Accept one connection; None where there is none.

        Raises:
            OSError: nothing can be accepted now.
        """
        while True:
            try:
                descriptor, _ = self._accept()
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in _NONE_LEFT | _NOT_LISTENING:
                    raise
                continue  # the error is of a connection that has left the queue (accept(2))
            return self._make(descriptor)


class Listener:
    """Accepts connections from listening sockets, and at the end leaves none of them unanswered.

    What becomes of a connection then, `Connections` knows.
    """

    def __init__(self, sockets: Sequence[socket.socket], *, inherited: bool) -> None:
        """Own some listening sockets.

        Args:
            sockets: that listen already.
            inherited: whether systemd has opened them, and keeps them open.
        """
        self._sockets = sockets
        self._queues = [_Queue(each) for each in sockets]
        self._batch = 1
        self._inherited = inherited
        self._secured = False
        self._accepting = False
        self._take: Callable[[socket.SocketType], None] = lambda connection: connection.close()
        self._room: Callable[[], int] = lambda: _AT_ONCE
        self._watching: asyncio.Task[None] | None = None
        self._logged_at = -_QUIET

    @property
    def urls(self) -> list[str]:
        """Where it listens."""
        scheme = "https" if self._secured else "http"
        return [_url(scheme, listening) for listening in self._sockets]

    def start(
        self,
        take: Callable[[socket.SocketType], None],
        *,
        secured: bool = False,
        room: Callable[[], int] = lambda: _AT_ONCE,
    ) -> None:
        """Accept connections.

        Args:
            take: takes each accepted connection; its socket is blocking.
            secured: whether connections begin with TLS. Then, while there is no room, connections
                wait in the kernel's queue, for a handshake that has begun must be let finish.
            room: how many connections may be accepted now; without TLS it is asked in `stop` only.
        """
        self._take = take
        self._secured = secured
        self._room = room
        for listening in self._sockets:
            listening.setblocking(False)  # noqa: FBT003 its only argument
            _send_at_once(listening)
            if not self._inherited:
                _defer(listening, _SILENT)
        self._accept()
        self._watching = asyncio.create_task(self._watch_descriptors())

    def _accept(self) -> None:
        self._accepting = True
        for queue in self._queues:
            asyncio.get_running_loop().add_reader(queue.socket, self._take_some, queue)

    def _pause(self) -> None:
        self._accepting = False
        for listening in self._sockets:
            if listening.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(listening)

    async def _watch_descriptors(self) -> None:
        """While hardly any descriptors are left, accept nothing: connections wait in the kernel."""
        while True:
            await asyncio.sleep(_LOOK)
            if not _has_spare_descriptors():
                self._pause()
                self._log_waiting(errno.EMFILE)
            elif not self._accepting:
                self._accept()
                _log.info("connections are accepted again")

    def _log_waiting(self, number: int | None) -> None:
        """Log why connections wait, but not more often than each `_QUIET` seconds."""
        now = monotonic()
        if now - self._logged_at >= _QUIET:
            self._logged_at = now
            _log.error(
                "connections wait to be accepted",
                reason=os.strerror(number or 0).lower(),
                remedy="raise the limit of descriptors (ulimit -n, LimitNOFILE), "
                "or lower server.max_connections",
            )

    async def stop(self) -> None:
        """Accept the connections that the kernel has accepted already, then close.

        To close a listening socket resets the connections in its queue, though their clients were
        told that they are connected. So the kernel first stops letting connections into the queue;
        then the queue is emptied, and the socket closed. A client that wanted to connect meanwhile
        tries again after a second, as TCP does. It is refused then, or comes to another process of
        `server.reuse_port`.

        The queue of an inherited socket is left to systemd, which has the socket still.

        Where there is no room for a connection, this waits; the caller limits for how long.
        """
        self._stop_accepting()
        if not self._inherited:
            for listening in self._sockets:
                _let_no_more_in(listening)
                _defer(listening, 0)
            await self._accept_all()
            await asyncio.sleep(_SETTLE)
            await self._accept_all()
            await self._accept_silent_ones()
        self.close()

    async def _accept_silent_ones(self) -> None:
        """Accept who has connected and said nothing yet, which the kernel has not told of.

        Now that nothing is deferred, the kernel asks such a client once more for the end of its
        handshake, a second after the client has come, or later where it is busy.
        """
        ports = {each.getsockname()[1] for each in self._sockets if each.family in _INTERNET}
        latest = monotonic() + 3 * _SILENT
        connecting = True
        while connecting:
            connecting = monotonic() < latest and await aside.run(lambda: _are_connecting(ports))
            await self._accept_all()  # after the look, for who was connecting may be in the queue
            await asyncio.sleep(_SETTLE if connecting else 0)

    def close(self) -> None:
        """Close at once, whatever waits in the queues."""
        self._stop_accepting()
        for listening in self._sockets:
            listening.close()

    def _stop_accepting(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        self._pause()

    def _take_some(self, queue: _Queue) -> None:
        room, pause = self._room() if self._secured else _AT_ONCE, _ROOM_PAUSE
        most = min(room, self._batch)
        try:
            for taken in range(most):
                connection = queue.next()
                if connection is None:
                    # to find none left takes as long as half an answer: where connections come one
                    # by one, only one is asked for
                    self._batch = max(1, taken)
                    break
                self._take(connection)
            else:
                self._batch = min(2 * self._batch, _AT_ONCE)
        except OSError as error:  # mostly because no descriptors are left
            self._log_waiting(error.errno)
            room, pause = 0, _PAUSE
        if room <= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(queue.socket)
            loop.call_later(pause, self._go_on, queue)

    def _go_on(self, queue: _Queue) -> None:
        if self._accepting and queue.socket.fileno() >= 0:
            asyncio.get_running_loop().add_reader(queue.socket, self._take_some, queue)

    async def _accept_all(self) -> None:
        for queue in self._queues:
            try:
                await self._accept_all_from(queue)
            except OSError as error:
                # the queues of the other sockets can still be emptied
                _log.error("cannot accept", reason=os.strerror(error.errno or 0).lower())

    async def _accept_all_from(self, queue: _Queue) -> None:
        while True:
            if self._room() <= 0:
                await asyncio.sleep(_ROOM_PAUSE)
                continue
            try:
                connection = queue.next()
            except OSError as error:
                if error.errno not in _NONE_LEFT:
                    raise
                self._log_waiting(error.errno)
                await asyncio.sleep(_ROOM_PAUSE)
                continue
            if connection is None:
                return
            self._take(connection)
            await asyncio.sleep(0)


def _has_spare_descriptors() -> bool:
    """Whether more than a few are left below the limit; a new one is always the lowest."""
    try:
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(lowest)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit == resource.RLIM_INFINITY or lowest < limit - _SPARE


async def listen(settings: ServerSettings) -> Listener:
    """Listen on the sockets that systemd has handed over, else on the address in the settings.

    Raises:
        CannotListen: the address is taken or not ours, or what was handed over does not listen.
    """
    if handed_over := inherited():
        return Listener(handed_over, inherited=True)
    return Listener(await open_sockets(settings), inherited=False)


def _let_no_more_in(listening: socket.socket) -> None:
    program = ctypes.create_string_buffer(b"".join(_NO_SYN))
    described = struct.pack("HP", len(_NO_SYN), ctypes.addressof(program))
    # Where that cannot be had (not on Linux), a connection made in the last moment is reset.
    with suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def _send_at_once(listening: socket.socket) -> None:
    """Have each answer leave as soon as it is written (TCP_NODELAY in tcp(7)).

    Else the second of two answers waits until the client's kernel confirms the first, which it puts
    off. An accepted connection has this from the listening socket; the event loop sets it anew.
    """
    # where that cannot be had (no TCP), nothing waits
    with suppress(OSError):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _defer(listening: socket.socket, seconds: int) -> None:
    """Have the kernel keep a connection to itself until it has sent something, or so long.

    So a request is there when its connection is accepted, and neither a wait for it nor what looks
    whether a server listens costs anything (TCP_DEFER_ACCEPT in tcp(7)).
    """
    # Where that cannot be had (not on Linux, or no TCP), a connection is accepted before it says
    # something.
    with suppress(OSError, AttributeError):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, seconds)


def _are_connecting(ports: Collection[int]) -> bool:
    """Whether somebody has begun a TCP handshake with one of these ports that has not ended.

    With a connection that is deferred the kernel waits for its end, too.
    """
    for name in ("tcp", "tcp6"):
        with suppress(OSError), Path("/proc/net", name).open(encoding="ascii") as table:
            for line in table:
                _, local, _, state, *_ = line.split(maxsplit=4)
                if state == _SYN_RECEIVED and int(local.rpartition(":")[2], 16) in ports:
                    return True
    return False


def _url(scheme: str, listening: socket.socket) -> str:
    address = listening.getsockname()
    if listening.family is socket.AF_UNIX or isinstance(address, str | bytes):
        return f"{scheme}+unix://{os.fsdecode(address)}"
    host, port, *_ = address
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

"""Host names and connections to them; a name server that is silent holds up nothing else.

A name is resolved on a thread that nothing waits for, and never twice at the same time. A caller
who gives up leaves the thread at work, and the next caller waits for the same answer: so a slow
name server is waited for in several attempts.
"""

import asyncio
import os
import socket
from contextlib import suppress
from typing import Final, TypeAlias

from csms_redis import aside

Place: TypeAlias = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
"""Where to connect to: an address family, and an address as sockets of it take it."""

_NEXT: Final = 0.25
"""Seconds after which a name's next address is tried as well (RFC 8305, 8: 250 ms)."""

_asked: "aside.Shared[tuple[str, int], list[Place]]" = aside.Shared()


class NotResolved(OSError):
    """A name has no address, or the name server did not answer in time."""

    def __init__(self, reason: str = "") -> None:
        """Give the `reason` in the resolver's words, if it has one."""
        told = f": {reason.lower()}" if reason else ""
        super().__init__(socket.EAI_NONAME, f"its name is not resolved{told}")


async def places(host: str, port: int) -> list[Place]:
    """All addresses of a host name; of an IP address, the address itself.

    Raises:
        NotResolved: the name has no address.
    """
    with suppress(OSError, UnicodeError):
        return _places(host, port, socket.AI_NUMERICHOST)
    try:
        return await _asked.run((host, port), lambda: _look_up(host, port))
    except socket.gaierror as error:
        raise NotResolved(str(error.strerror)) from None
    except (OSError, UnicodeError):
        raise NotResolved from None


def blamed(host: str, port: int, error: BaseException) -> BaseException:
    """The error to report for a failed connection: a time-out may be the name server's fault."""
    waits = isinstance(error, TimeoutError) and _asked.waits((host, port))
    return NotResolved() if waits else error


async def connect(host: str, port: int) -> socket.socket:
    """Connect to a name: try its addresses one after another, also while one is silent.

    Raises:
        NotResolved: the name has no address.
        OSError: no address of the name can be connected to.
    """
    waiting = await places(host, port)
    trying: set[asyncio.Task[socket.socket]] = set()
    failure: OSError | None = None
    try:
        while waiting or trying:
            if waiting:
                trying.add(asyncio.create_task(_connect(*waiting.pop(0))))
            done, trying = await asyncio.wait(
                trying,
                timeout=_NEXT if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in done:
                try:
                    connected = attempt.result()
                except OSError as error:
                    failure = failure or error
                else:
                    trying |= done - {attempt}
                    return connected
    finally:
        for attempt in trying:
            attempt.cancel()
            attempt.add_done_callback(_close)
    raise failure or NotResolved


async def _connect(family: socket.AddressFamily, address: tuple[str | int, ...]) -> socket.socket:
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)  # noqa: FBT003 its only argument
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connecting, address)
    except BaseException as error:
        connecting.close()
        if isinstance(error, OSError) and error.errno:
            # the event loop's own words give the address again, and not what is wrong with it
            raise OSError(error.errno, os.strerror(error.errno)) from None
        raise
    return connecting


def _close(attempt: "asyncio.Task[socket.socket]") -> None:
    """Close the connection of an attempt that was not the first to succeed."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


def _look_up(host: str, port: int) -> list[Place]:
    return _places(host, port, 0)


def _places(host: str, port: int, flags: int) -> list[Place]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys((info[0], info[4]) for info in found))  # type: ignore[misc]

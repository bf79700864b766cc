"""Opens the sockets that the service listens on, or takes those that systemd hands to it."""

import errno
import os
import socket
from ipaddress import IPv6Address, ip_address

import structlog

from csms_redis import aside
from csms_redis.access.addresses import plain
from csms_redis.settings import ServerSettings

_FIRST_INHERITED = 3
_UNSPECIFIED = IPv6Address("::")
_NO_IPV6 = frozenset([errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
_log = structlog.get_logger()


class CannotListen(Exception):
    """The address cannot be listened on; the message is one line for the operator."""


async def open_sockets(settings: ServerSettings) -> list[socket.socket]:
    """Listen on the address in the settings, with a socket for each address that it stands for.

    Raises:
        CannotListen: the address is taken, or is none of this machine.
    """
    where = f"{settings.host or '::'} port {settings.port}"
    sockets: list[socket.socket] = []
    try:
        host = _unbracketed(settings.host)
        if _is_anywhere(host):
            sockets.append(_listen_on_both_families(settings))
        else:
            found = await aside.run(
                lambda: socket.getaddrinfo(
                    plain(host),
                    settings.port,
                    type=socket.SOCK_STREAM,
                    flags=socket.AI_PASSIVE,
                )
            )
            for family, _, _, _, address in dict.fromkeys(found):
                listening = socket.create_server(
                    address, family=family, backlog=settings.backlog, reuse_port=settings.reuse_port
                )
                sockets.append(listening)
    except OSError as error:
        for listening in sockets:
            listening.close()
        # strerror of the error itself repeats the address, but for a name that is not found
        own = error.errno is None or isinstance(error, socket.gaierror)
        reason = str(error.strerror) if own else os.strerror(error.errno or 0)
        raise CannotListen(f"cannot listen on {where}: {reason.lower()}") from None
    return sockets


def _unbracketed(host: str) -> str:
    """An IPv6 address may stand in brackets, as in a URL (RFC 3986, 3.2.2)."""
    return host[1:-1] if ":" in host and host[0] + host[-1] == "[]" else host


def _is_anywhere(host: str) -> bool:
    """Whether a host is every address of both families, however it is written."""
    try:
        return not host or ip_address(host) == _UNSPECIFIED
    except ValueError:
        return False


def _listen_on_both_families(settings: ServerSettings) -> socket.socket:
    """Listen on every address, IPv6 and IPv4, with one socket (ipv6(7), IPV6_V6ONLY).

    One socket has one port, also where the kernel chooses it. Where the kernel has no IPv6, nobody
    can come over it, and IPv4 is all that there is: the image listens so by default and must start
    there too.

    Raises:
        OSError: the port is taken or may not be used.
    """
    try:
        return socket.create_server(
            ("::", settings.port),
            family=socket.AF_INET6,
            backlog=settings.backlog,
            reuse_port=settings.reuse_port,
            dualstack_ipv6=True,
        )
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
    except ValueError:
        pass  # CPython's words for a kernel whose IPv6 sockets cannot take IPv4
    _log.warning("no IPv6 on this machine: it listens on IPv4 only")
    return socket.create_server(
        ("0.0.0.0", settings.port),  # noqa: S104 the operator has asked for every address
        backlog=settings.backlog,
        reuse_port=settings.reuse_port,
    )


def inherited() -> list[socket.socket]:
    """The listening sockets that systemd has opened for this process (sd_listen_fds(3)).

    The environment names them no more afterwards, for child processes must not take them.

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

"""Whether something has arrived on a connection that nobody has read yet."""

from fcntl import ioctl
from termios import FIONREAD
from typing import Protocol


class HasDescriptor(Protocol):
    """A socket, or what stands for one."""

    def fileno(self) -> int:
        """Its descriptor."""


def has_arrived(connection: HasDescriptor) -> bool:
    """Whether the kernel has bytes of it (SIOCINQ in tcp(7)).

    To close a connection then resets it (RFC 9293, 3.6.1), and the request that has arrived is
    lost. Where thousands of idle connections close in one turn of the event loop, thousands of
    requests may have arrived that nobody has read.

    Args:
        connection: its socket, which is open.
    """
    return any(ioctl(connection.fileno(), FIONREAD, bytes(4)))

"""A Valkey that answers LOADING for as long as it reads its file."""

import socket
from contextlib import suppress

from tests.conftest import Valkey


class LoadingValkey(Valkey):
    """One that is not waited for until it has loaded."""

    def _answers(self) -> bool:
        return ping(self.socket).startswith(b"-LOADING")


def ping(path: str) -> bytes:
    """The reply to a PING, without any client's patience; nothing where there is none."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        probe.connect(path)
        probe.sendall(b"PING\r\n")
        return probe.recv(1024).strip()
    return b""

"""As many connections as `server.max_connections` and the limit of descriptors allow."""

import socket
import struct
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.service import HOST, Service

SOFT = 256
CLIENTS = 400
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("most", ["0", "2000"])
def test_the_soft_limit_of_descriptors_is_none(most: str, tmp_path: Path) -> None:
    """It is raised as far as it goes, whether or not a number of connections is set."""
    limited = ("sh", "-c", f'ulimit -S -n {SOFT} && exec "$0" "$@"')  # as some nodes of Kubernetes
    service = Service(tmp_path, {"CSMS_SERVER__MAX_CONNECTIONS": most}, launcher=limited)
    with service, ExitStack() as stack:
        service.ready()
        clients = [
            stack.enter_context(socket.create_connection((HOST, service.port), timeout=10))
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.sendall(HEALTH)
        for client in clients:
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_who_says_nothing_is_seen_and_closed(tmp_path: Path) -> None:
    """After the keep-alive time-out, though the kernel tells of such a connection late."""
    service = Service(tmp_path, {"CSMS_SERVER__KEEPALIVE_TIMEOUT": "1"})
    with service, socket.create_connection((HOST, service.port), timeout=30) as mute:
        assert mute.recv(1) == b""


def test_who_only_looks_whether_it_listens_disturbs_nobody(tmp_path: Path) -> None:
    """As load balancers do, some with a reset."""
    service = Service(tmp_path, {"CSMS_TELEMETRY__LOG_FORMAT": "json"})
    with service:
        service.ready()
        for number in range(20):
            with socket.create_connection((HOST, service.port), timeout=10) as looking:
                if number % 2:  # with a reset
                    linger = struct.pack("ii", 1, 0)
                    looking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        with socket.create_connection((HOST, service.port), timeout=10) as client:
            client.sendall(HEALTH)
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert [line for line in service.log if line["level"] in {"error", "warning"}] == []

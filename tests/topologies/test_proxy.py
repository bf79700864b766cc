"""The proxies of the topologies leave nothing behind."""

import gc
import socket
import threading
from contextlib import suppress

from tests.support.topologies.node import Address, free_port
from tests.support.topologies.proxy import Proxies


def test_ends_while_connections_come() -> None:
    """Each that was accepted is closed; pytest fails this test for one that is not."""
    address = Address("127.0.0.1", free_port())
    ended, first = threading.Event(), threading.Semaphore(0)

    def connect() -> None:
        while not ended.is_set():
            with suppress(OSError):
                socket.create_connection(address, timeout=1).close()
                first.release()

    clients = [threading.Thread(target=connect) for _ in range(4)]
    with Proxies() as proxies:
        proxies.add(address, Address("127.0.0.1", free_port()))
        for client in clients:
            client.start()
        for _ in range(50):
            first.acquire()
    ended.set()
    for client in clients:
        client.join()
    gc.collect()

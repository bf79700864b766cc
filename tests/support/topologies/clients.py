"""Connections to a service, one request at a time on each."""

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.conftest import API
from tests.support.http_client import Answer, HttpClient

ANSWER = 10.0  # seconds after which an answer is given up
IDLE = 64  # connections that are kept for each kind of lookup


class Client(HttpClient):
    """One connection to a service."""

    def delete(self, path: str) -> "asyncio.Future[Answer]":
        """`DELETE` a path below /api/v0."""
        return self._send(f"DELETE {API}{path} HTTP/1.1\r\nHost: registry\r\n\r\n".encode())

    def put(self, path: str, value: object) -> "asyncio.Future[Answer]":
        """`PUT` a value as JSON to a path below /api/v0."""
        return self._send_json("PUT", path, value)


class Pool:
    """Connections to one service, one request at a time on each, so that none waits for another."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._free: list[Client] = []

    async def request(
        self, send: Callable[[Client], "asyncio.Future[Answer]"]
    ) -> tuple[float, Answer]:
        """Send one request; give when it was sent as well.

        Raises:
            ConnectionRefusedError: it was not.
            OSError: there was no answer.
        """
        while self._free and self._free[-1].closed:
            self._free.pop()
        client = self._free.pop() if self._free else await self._connect()
        start = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER):
                answer = await send(client)
        except BaseException:
            client.reset()
            raise
        if len(self._free) < IDLE:
            self._free.append(client)
        else:
            client.close()
        return start, answer

    async def _connect(self) -> Client:
        loop = asyncio.get_running_loop()
        try:
            _, client = await loop.create_connection(Client, self._host, self._port)
        except OSError as error:
            raise ConnectionRefusedError(*error.args) from error
        return client

    def close(self) -> None:
        """Close what is idle."""
        for client in self._free:
            client.reset()
        self._free.clear()

"""A fast HTTP client: kept-alive connections, any number of requests under way on each."""

import asyncio
import re
import resource
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, cast

import orjson

from tests.conftest import API, Service

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *\d+\r\n", re.IGNORECASE)


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    head: bytes
    body: bytes

    @property
    def says_when(self) -> bool:
        """Whether it has a `Retry-After`."""
        return _RETRY_AFTER.search(self.head) is not None


class HttpClient(asyncio.Protocol):
    """One connection; its requests are answered in order."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiting: deque[asyncio.Future[Answer]] = deque()
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        start = 0
        while (end := buffer.find(b"\r\n\r\n", start)) >= 0:
            head = buffer[start : end + 4]
            length = _LENGTH.search(head)
            after = end + 4 + (int(length[1]) if length else 0)
            if after > len(buffer):
                break
            answer = Answer(int(head[9:12]), head, buffer[end + 4 : after])
            start = after
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(answer)
        self._buffer = buffer[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(exc or ConnectionResetError("closed"))

    def get(self, path: str) -> "asyncio.Future[Answer]":
        """`GET` a path below /api/v0."""
        return self._send(f"GET {API}{path} HTTP/1.1\r\nHost: registry\r\n\r\n".encode())

    def post(self, path: str, record: object) -> "asyncio.Future[Answer]":
        """`POST` a value as JSON to a path below /api/v0."""
        return self._send_json("POST", path, record)

    def _send_json(self, method: str, path: str, value: object) -> "asyncio.Future[Answer]":
        body = orjson.dumps(value)
        head = (
            f"{method} {API}{path} HTTP/1.1\r\nHost: registry\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return self._send(head.encode() + body)

    def _send(self, request: bytes) -> "asyncio.Future[Answer]":
        assert self._transport is not None
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._transport.write(request)
        return waiting

    def close(self) -> None:
        """End the connection in order."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()


async def connect(service: Service) -> HttpClient:
    """Open one connection."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(HttpClient, service.host, service.port)
    return client


@asynccontextmanager
async def connections(service: Service, count: int) -> AsyncIterator[list[HttpClient]]:
    """Open many; they end with the block."""
    opened: list[HttpClient] = []
    try:
        while len(opened) < count:
            batch = min(200, count - len(opened))
            opened += await asyncio.gather(*(connect(service) for _ in range(batch)))
        yield opened
    finally:
        for client in opened:
            client.reset()
        await asyncio.sleep(0)


def most_connections(wanted: int) -> int:
    """How many of the wanted connections the limit of descriptors allows here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted + 500 if hard == resource.RLIM_INFINITY else min(hard, wanted + 500)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return min(wanted, limit - 500)

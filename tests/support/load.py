"""Lookups and writes through a balancer, all of them counted, and what failed of them."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from tests.conftest import API, password_hash
from tests.support.http_client import Answer, HttpClient

KEPT = SHORT = 64  # connections
PAUSE = 0.03  # seconds between the requests of one client
PATIENCE = 12.0  # seconds for one answer: a balancer gives a replica 8; a gateway waits for ever
STATIONS = 500


def station(number: int) -> tuple[str, dict[str, object]]:
    """A station's path, and its record."""
    return f"/cs/cs{number}", {
        "securityProfile": 1,
        "base64SHA256Password": password_hash(f"{number}"),
    }


class ShortClient(HttpClient):
    """A connection for one request, as a gateway makes most of its lookups."""

    def get(self, path: str) -> "asyncio.Future[Answer]":
        """`GET` a path below /api/v0, and no other after it."""
        return self._send(
            f"GET {API}{path} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n".encode()
        )


@dataclass
class Load:
    """Clients of a balancer at a port of loopback."""

    port: int
    done: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    slowest: float = 0
    written: int = 0  # stations with a number below it were acknowledged

    async def seed(self) -> None:
        """Register the stations that are looked up."""
        client = await self._connect(HttpClient)
        for number in range(STATIONS):
            answer = await client.post(*station(number))
            assert answer.status == 201, answer
        client.close()
        self.written = STATIONS

    @asynccontextmanager
    async def running(self, *, writes: bool = True) -> AsyncIterator[None]:
        """Ask and write until the block's end; what is under way then is finished."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as clients:
            for number in range(KEPT):
                clients.create_task(self._look_up("kept", number, over))
            for number in range(SHORT):
                clients.create_task(self._look_up("short", number, over))
            if writes:
                clients.create_task(self._write(over))
            try:
                yield
            finally:
                over.set()

    async def check(self) -> list[int]:
        """The stations that were acknowledged and are not there."""
        client = await self._connect(HttpClient)
        lost = []
        for number in range(self.written):
            path, record = station(number)
            answer = await client.get(f"{path}/auth")
            if answer.status != 200 or orjson.loads(answer.body) != record:
                lost.append(number)
        client.close()
        return lost

    async def _look_up(self, kind: str, number: int, over: asyncio.Event) -> None:
        client: HttpClient | None = None
        await asyncio.sleep(PAUSE * number / KEPT)
        while not over.is_set():
            number = (number + 7) % STATIONS
            path, record = station(number)
            start = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    if kind == "short":
                        client = await self._connect(ShortClient)
                    elif client is None:
                        client = await self._connect(HttpClient)
                    answer = await client.get(f"{path}/auth")
            except (OSError, TimeoutError) as error:
                self.failed.append(f"{kind} lookup: {error!r}")
                client = None
            else:
                if answer.status != 200 or orjson.loads(answer.body) != record:
                    self.failed.append(f"{kind} lookup: {answer}")
                elif client.closed and kind == "kept":
                    client = None
            self._count(f"{kind} lookups", start)
            await asyncio.sleep(PAUSE)
        if client is not None:
            client.close()

    async def _write(self, over: asyncio.Event) -> None:
        client = await self._connect(HttpClient)
        while not over.is_set():
            start = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    answer = await client.post(*station(self.written))
            except (OSError, TimeoutError) as error:
                self.failed.append(f"write: {error!r}")
                client = await self._connect(HttpClient)
            else:
                if answer.status == 201:
                    self.written += 1
                else:
                    self.failed.append(f"write: {answer}")
            self._count("writes", start)
            await asyncio.sleep(PAUSE / 4)
        client.close()

    def _count(self, what: str, start: float) -> None:
        self.done[what] += 1
        self.slowest = max(self.slowest, time.monotonic() - start)

    async def _connect(self, kind: type[HttpClient]) -> HttpClient:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(kind, "127.0.0.1", self.port)
        return client

    def __str__(self) -> str:
        """One line."""
        counts = ", ".join(f"{count} {what}" for what, count in sorted(self.done.items()))
        return f"{counts}, {len(self.failed)} failed, slowest {self.slowest * 1000:.0f} ms"

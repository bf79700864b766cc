"""A client that treats its connections as the gateways of the field do.

They use Go's `http.DefaultClient` and look only at the status of what is not 200: the body is
neither read nor closed. Go's transport keeps two idle connections to a host. A connection whose
answer has a body comes back when that was read to its end, and is the client's until then, whatever
the server does; one whose answer has none comes back at once (net/http's transport.go: `readLoop`,
`tryPutIdleConn`, `DefaultMaxIdleConnsPerHost`).
"""

import asyncio
import re
from contextlib import suppress

_MOST_IDLE = 2
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)
_KEEPS = re.compile(rb"\r\nconnection: *keep-alive\r\n", re.IGNORECASE)

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class GoTransport:
    """Asks one service, over as many connections as it takes."""

    def __init__(self, host: str, port: int, *headers: str) -> None:
        """Send these headers with each request."""
        self._at = host, port
        self._headers = "".join(f"{header}\r\n" for header in headers)
        self._idle: list[Connection] = []
        self._open: set[asyncio.StreamWriter] = set()
        self.most_open = 0

    @property
    def open(self) -> int:
        """How many connections this side has not closed."""
        return len(self._open)

    async def status(self, target: str) -> int:
        """Look something up as a gateway does: read the body of a 200 only."""
        while True:
            reused = bool(self._idle)
            connection = self._idle.pop() if reused else await self._connect()
            reader, writer = connection
            writer.write(
                f"GET {target} HTTP/1.1\r\nHost: registry\r\nUser-Agent: Go-http-client/1.1\r\n"
                f"{self._headers}Accept-Encoding: gzip\r\n\r\n".encode()
            )
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                if not reused:
                    raise
                await self._close(writer)  # the service closed it while it was idle
                continue
            break
        status, length = int(head[9:12]), _LENGTH.search(head)
        body = int(length[1]) if length else 0
        if body and status != 200:
            return status
        await reader.readexactly(body)
        keeps = not _CLOSES.search(head) if head.startswith(b"HTTP/1.1") else _KEEPS.search(head)
        if keeps and len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            await self._close(writer)
        return status

    async def close(self) -> None:
        """End the program."""
        for writer in list(self._open):
            await self._close(writer)

    async def _connect(self) -> Connection:
        reader, writer = await asyncio.open_connection(*self._at)
        self._open.add(writer)
        self.most_open = max(self.most_open, self.open)
        return reader, writer

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

"""JSON Lines as they come and go: read within bounds, and written as fast as they are taken."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import StreamReader, web

from csms_redis.api.protocol import StatusRequestHandler
from csms_redis.lookup.front.response_heads import CACHING

JSON_LINES = "application/jsonl"

_WRITTEN_TOGETHER = 2**14  # bytes
_MOST_HELD = 2**20  # bytes


async def read_lines(
    content: StreamReader, *, longest: int, within: float
) -> AsyncIterator[list[bytes | None]]:
    """Read lines as they arrive.

    Args:
        content: a body.
        longest: bytes of a line; of a longer one nothing is held in memory.
        within: seconds within which more must arrive.

    Yields:
        All the lines that have arrived by now, without their ends; None for one that is too long.

    Raises:
        TimeoutError: nothing more arrived in time.
        aiohttp.web.RequestPayloadError, ConnectionError: the body broke off.
    """
    begun, too_long = b"", False
    while True:
        async with asyncio.timeout(within):
            data = await content.readany()
        if not data:
            break
        first, *others = data.split(b"\n")
        begun += first
        if len(begun) > longest:
            begun, too_long = b"", True
        if others:
            *whole, last = others
            yield [
                None if too_long else begun,
                *(each if len(each) <= longest else None for each in whole),
            ]
            begun, too_long = last, False
    if begun or too_long:
        yield [None if too_long else begun]


class LineStream:
    """An answer of JSON Lines that is written line by line.

    Attributes:
        response: the answer.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        """Write to an answer; `begin` makes one."""
        self.response = response
        self._request = request
        self._waiting: list[bytes] = []
        self._size = 0

    @classmethod
    async def begin(cls, request: web.Request, *, hold: bool = False) -> "LineStream":
        """Begin the answer to a request.

        Args:
            request: that is answered.
            hold: whether it is to be sent when it is whole: some balancers send no more of a body
                once its answer has begun. A long one is sent sooner.
        """
        response = web.StreamResponse(
            headers={
                "Content-Type": JSON_LINES,
                "Server": "csms-redis",
                "Cache-Control": CACHING,
            }
        )
        protocol = request.protocol
        if isinstance(protocol, StatusRequestHandler) and protocol.closes:
            response.force_close()  # its head says so
        if not hold:
            await response.prepare(request)
        return cls(request, response)

    async def write(self, line: bytes, *, at_once: bool = False) -> None:
        """Write a line, or several that are joined; wait while the client takes no more.

        Args:
            line: without its end.
            at_once: whether it is not to wait for others.

        Raises:
            ConnectionError: the client has gone.
        """
        self._waiting.append(line)
        self._size += len(line)
        is_held = not self.response.prepared
        if self._size > (_MOST_HELD if is_held else _WRITTEN_TOGETHER) or (at_once and not is_held):
            await self._flush()

    async def end(self, line: bytes | None = None) -> None:
        """End the answer, with a last line.

        Raises:
            ConnectionError: the client has gone.
        """
        if line is not None:
            self._waiting.append(line)
        await self._flush()
        await self.response.write_eof()

    async def _flush(self) -> None:
        await self.response.prepare(self._request)  # unless it was
        if self._waiting and self._request.method != "HEAD":
            data = b"\n".join((*self._waiting, b""))
            self._waiting, self._size = [], 0
            await self.response.write(data)

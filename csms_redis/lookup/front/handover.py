"""Hands a request that is no plain lookup over to aiohttp, which answers it."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeAlias


class AiohttpProtocol(Protocol):
    """aiohttp's protocol of one connection, as it is driven here.

    Attributes:
        closes: whether its next answer is the connection's last.
    """

    closes: bool

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""

    @property
    def begun(self) -> bytes:
        """The bytes that have arrived since the last answer, or the first of them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write to this transport."""

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection has ended."""

    def pause_writing(self) -> None:
        """The client does not take what was written."""

    def resume_writing(self) -> None:
        """The client takes it again."""


NewAiohttpProtocol: TypeAlias = Callable[[Callable[[bool], None]], AiohttpProtocol]
"""Makes aiohttp's protocol of a connection.

That calls the argument after each answer, with whether the connection stays open.
"""


class Handover:
    """aiohttp's part of one connection: which bytes it is given, and whether it has answered.

    A request whose end is known is framed: aiohttp is given exactly its bytes, and no byte of the
    next request. One whose end only aiohttp can tell is not: aiohttp is given all that follows.

    The connection's state, its time-outs and its end are `LookupProtocol`'s.

    Attributes:
        aiohttp: aiohttp's protocol.
        to_come: bytes of the framed request that have not arrived yet.
        answered_early: whether the framed request was answered before all of it had arrived.
    """

    __slots__ = ("aiohttp", "answered_early", "to_come")

    def __init__(self, aiohttp: AiohttpProtocol, transport: asyncio.BaseTransport) -> None:
        """Let aiohttp write to `transport`."""
        self.aiohttp = aiohttp
        self.to_come = 0
        self.answered_early = False
        aiohttp.connection_made(transport)

    @property
    def is_over(self) -> bool:
        """Whether the framed request has arrived, after it was answered early."""
        return self.answered_early and self.to_come == 0

    def begin(self, size: int) -> None:
        """Frame the next request, which has `size` bytes."""
        self.to_come = size
        self.answered_early = False

    def feed(self, data: bytes) -> bytes:
        """Give aiohttp what belongs to the framed request; what is left is of the next one."""
        mine, rest = data[: self.to_come], data[self.to_come :]
        self.to_come -= len(mine)
        if mine:
            self.aiohttp.data_received(mine)
        return rest

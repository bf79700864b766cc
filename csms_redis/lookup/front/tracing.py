"""The front protocol with a span for each lookup that has to wait, as for Redis.

A protocol of its own, so that the plain one costs nothing for it.
"""

from typing import TYPE_CHECKING

from csms_redis.contract.operations import BASE_PATH, OPERATIONS
from csms_redis.lookup.front.protocol import Front, FrontProtocol, waits
from csms_redis.lookup.front.request_heads import RequestHead
from csms_redis.lookup.targets import ROUTES
from csms_redis.telemetry.tracing import Tracing, trace_headers

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from csms_redis.lookup.answers import Style

_PATHS = [
    (route.before, BASE_PATH + each.path)
    for each in OPERATIONS
    if each.is_lookup
    for route in ROUTES
    if f"{BASE_PATH}{each.path}".startswith(route.before.decode())
]


class TracedFrontProtocol(FrontProtocol):
    """One connection."""

    __slots__ = ("_received", "_span", "_tracing")

    def __init__(self, front: Front, tracing: Tracing) -> None:
        """Belong to `front`, and tell `tracing` of lookups that wait."""
        super().__init__(front)
        self._tracing = tracing
        self._received = b""
        self._span: Span | None = None

    def data_received(self, data: bytes) -> None:
        """As its base, and keep the bytes, which have the trace's headers."""
        self._received = data
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """As its base; whoever asked has left without an answer."""
        super().connection_lost(exc)
        span, self._span = self._span, None
        if span is not None:
            span.end()

    def _ask(self, target: bytes, style: "Style", head: RequestHead | None = None) -> bool:
        request = self._received if head is None else self._buffer[: head.size]
        asked = super()._ask(target, style, head)
        if asked and self._span is None and waits(self):
            path = next(path for before, path in _PATHS if target.startswith(before))
            self._span = self._tracing.start("GET", path, trace_headers(request))
        return asked

    def _answered(self, status: int, tail: bytes) -> None:
        span, self._span = self._span, None
        if span is not None:
            self._tracing.end(span, status)
        super()._answered(status, tail)

"""OpenTelemetry spans of the lookups that have to wait, as for Redis.

An answer from memory has no span: it would cost more than the answer.
"""

from typing import TYPE_CHECKING

from csms_redis.contract.operations import BASE_PATH, OPERATIONS
from csms_redis.lookup.targets import ROUTES
from csms_redis.registry.resource import Resource
from csms_redis.telemetry.tracing import Tracing, trace_headers

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_PATHS = {
    route.resource: BASE_PATH + operation.path
    for operation in OPERATIONS
    if operation.is_lookup
    for route in ROUTES
    if f"{BASE_PATH}{operation.path}".startswith(route.before.decode())
}


class LookupSpans:
    """Makes a span of each lookup that waits; `LookupProtocol` begins and ends them."""

    def __init__(self, tracing: Tracing) -> None:
        """Send the spans by `tracing`."""
        self._tracing = tracing

    def begin(self, resource: Resource, request: bytes) -> "LookupSpan":
        """Begin a span; its parent is the one that the request's headers name."""
        span = self._tracing.start("GET", _PATHS[resource], trace_headers(request))
        return LookupSpan(self._tracing, span)


class LookupSpan:
    """The span of one lookup."""

    __slots__ = ("_span", "_tracing")

    def __init__(self, tracing: Tracing, span: "Span") -> None:
        """Follow a lookup that has just begun to wait."""
        self._tracing = tracing
        self._span = span

    def answered(self, status: int) -> None:
        """End the span with the answer's status."""
        self._tracing.end(self._span, status)

    def abandoned(self) -> None:
        """End the span without a status, for there is no answer."""
        self._span.end()

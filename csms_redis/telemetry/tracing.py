"""OpenTelemetry spans, sent by OTLP over HTTP (extra `otel`).

Nothing of OpenTelemetry is imported, and nothing of this is called, unless
`telemetry.otlp_endpoint` is set. Spans follow its semantic conventions for HTTP servers
(https://opentelemetry.io/docs/specs/semconv/http/http-spans/), but never have a path, for that has
an id.
"""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from csms_redis import __version__
from csms_redis.settings import BadSettings, TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_EXPORT_TIMEOUT = 2.0  # seconds; at the end of the process this long is waited for the collector
_HEADER = re.compile(rb"(?i)\r\n(traceparent|tracestate):[ \t]*([ -~]*?)[ \t]*(?=\r\n)")


class Tracing:
    """Makes spans and sends them, some seconds later and from a thread of its own."""

    def __init__(self, settings: TelemetrySettings) -> None:
        """Send spans to `telemetry.otlp_endpoint`, the share of `telemetry.trace_share` of them.

        Raises:
            BadSettings: the extra is not installed.
        """
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import (
                TraceContextTextMapPropagator,
            )
        except ImportError:
            raise BadSettings(
                "telemetry.otlp_endpoint: needs what csms-redis[otel] installs"
            ) from None
        self._server = trace.SpanKind.SERVER
        self._error = trace.Status(trace.StatusCode.ERROR)
        self._extract = TraceContextTextMapPropagator().extract
        self._provider = _provider(settings)
        self._tracer = self._provider.get_tracer("csms_redis", __version__)

    def start(self, method: str, route: str, headers: Mapping[str, str]) -> "Span":
        """Begin the span of a request.

        Args:
            method: of the request; something that only few can be.
            route: its path with placeholders.
            headers: of which `traceparent` and `tracestate` count, in lower case
                (https://www.w3.org/TR/trace-context/).
        """
        return self._tracer.start_span(
            f"{method} {route}",
            context=self._extract(headers),
            kind=self._server,
            attributes={"http.request.method": method, "http.route": route},
        )

    def end(self, span: "Span", status: int) -> None:
        """End a span, with the status of the answer."""
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(self._error)
        span.end()

    def close(self) -> None:
        """Send what was not sent yet; takes some seconds where the collector is away."""
        self._provider.shutdown()


def trace_headers(head: bytes) -> dict[str, str]:
    """What the head of a request says of the trace that it belongs to."""
    return {name.decode().lower(): value.decode() for name, value in _HEADER.findall(head)}


def trace_id(span: "Span") -> str:
    """The trace's id in hexadecimal, as tracing programs show it."""
    return f"{span.get_span_context().trace_id:032x}"


def _provider(settings: TelemetrySettings) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    about: dict[str, Any] = {"service.version": __version__}
    if "OTEL_SERVICE_NAME" not in os.environ:
        about["service.name"] = "csms-redis"
    provider = TracerProvider(
        resource=Resource.create(about),
        sampler=ParentBasedTraceIdRatio(settings.trace_share),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(
        endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_TIMEOUT
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider

"""Spans, as a collector gets them from a service that really runs."""

import http.client
import http.server
import json
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from gzip import decompress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from csms_redis.settings import BadSettings, TelemetrySettings
from csms_redis.telemetry.tracing import Tracing, trace_headers
from tests.conftest import PATIENCE, Service, StartService, Valkey, running_service, wait_for
from tests.support.topologies.authority import Authority

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
NOT_SAMPLED = f"00-{TRACE}-{PARENT}-00"
STATION = "station-under-watch"


class Collector(http.server.ThreadingHTTPServer):
    """Receives OTLP over HTTP, as protobuf (https://opentelemetry.io/docs/specs/otlp/)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[ExportTraceServiceRequest] = []
        self.bytes = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def by_name(self) -> dict[str, list[Span]]:
        found: dict[str, list[Span]] = {}
        for span in self.spans:
            found.setdefault(span.name, []).append(span)
        return found


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = decompress(body)
        self.server.bytes += body
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        self.server.requests.append(request)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@contextmanager
def traced(collector: Collector, **settings: str) -> Iterator[Service]:
    """A service that sends its spans to a collector, the last of them at its end.

    It reads records when they are asked for: a lookup that memory answers has no span.
    """
    given = {"telemetry__otlp_endpoint": collector.url, "lookup__preload": "false", **settings}
    with running_service(**given) as service:
        wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
        yield service
        assert service.stop() == 0


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def look_up(service: Service, path: str, **headers: str) -> int:
    return service.request("GET", f"/api/v0{path}", headers=headers).status


def register(service: Service, **headers: str) -> int:
    body = json.dumps({"securityProfile": 2})
    given = {"Content-Type": "application/json"} | headers
    return service.request("POST", f"/api/v0/cs/{STATION}", body, given).status


def test_writes_and_lookups_that_wait_for_redis(collector: Collector) -> None:
    """And no other: a hit leaves no span, nor do health and metrics."""
    with traced(collector) as service:
        assert register(service) == 201
        for _ in range(3):
            assert look_up(service, f"/cs/{STATION}/auth") == 200
        assert look_up(service, "/token/nobody") == 404
        service.request("GET", "/metrics")
    told = {
        name: [attributes(span)["http.response.status_code"] for span in spans]
        for name, spans in collector.by_name().items()
    }
    assert told == {
        "POST /api/v0/cs/{csId}": [201],
        "GET /api/v0/cs/{csId}/auth": [200],
        "GET /api/v0/token/{tokenUid}": [404],
    }
    for span in collector.spans:
        assert span.kind == Span.SPAN_KIND_SERVER
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
        assert {"http.request.method", "http.route"} <= attributes(span).keys()
    resource = {
        each.key: each.value.string_value
        for each in collector.requests[0].resource_spans[0].resource.attributes
    }
    assert resource["service.name"] == "csms-redis"


def test_the_callers_trace_goes_on(collector: Collector) -> None:
    """Whichever protocol answers, and whether the headers were seen before or not."""
    with traced(collector, lookup__cache_entries="0") as service:
        assert register(service, traceparent=SAMPLED) == 201
        with service.raw() as connection:
            for _ in range(2):
                connection.send(
                    f"GET /api/v0/cs/{STATION}/auth HTTP/1.1\r\nHost: h\r\n"
                    f"TraceParent: {SAMPLED}\r\n\r\n".encode()
                )
                assert connection.reply().status == 200
        assert look_up(service, f"/cs/{STATION}/auth", traceparent="nonsense") == 200
        (line,) = service.events("write")
        assert line["trace_id"] == TRACE
    *ours, other = sorted(collector.spans, key=lambda span: span.start_time_unix_nano)
    assert len(ours) == 3
    for span in ours:
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert other.trace_id.hex() != TRACE
    assert other.parent_span_id == b""


def test_over_tls_as_well(collector: Collector, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "server-ca")
    pair = authority.issue("service", "127.0.0.1")
    context = ssl.create_default_context(cafile=authority.ca)
    settings = {
        "server__tls__certificate_file": str(pair.certificate),
        "server__tls__key_file": str(pair.key),
        "telemetry__otlp_endpoint": collector.url,
        "lookup__preload": "false",  # a lookup that memory answers has no span
    }

    def asked(path: str) -> int:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", service.port, timeout=PATIENCE, context=context
        )
        with closing(connection):
            connection.request("GET", path, headers={"traceparent": SAMPLED})
            return connection.getresponse().status

    with running_service(**settings) as service:
        wait_for(lambda: asked("/health/ready") == 200, "ready")
        assert asked("/api/v0/token/nobody") == 404
        assert service.stop() == 0
    (span,) = collector.spans
    assert span.name == "GET /api/v0/token/{tokenUid}"
    assert span.trace_id.hex() == TRACE


def test_the_caller_decides_whether_else_a_share(collector: Collector) -> None:
    """`telemetry.trace_share` is for who does not say."""
    settings = {"telemetry__trace_share": "0", "lookup__cache_entries": "0"}
    with traced(collector, **settings) as service:
        register(service)
        look_up(service, "/cs/a/auth")
        look_up(service, "/cs/b/auth", traceparent=NOT_SAMPLED)
        look_up(service, "/cs/c/auth", traceparent=SAMPLED)
    (span,) = collector.spans
    assert span.trace_id.hex() == TRACE


def test_what_fails_says_so(collector: Collector, valkey: Valkey) -> None:
    with traced(collector, redis__url=valkey.url, lookup__timeout="1") as service:
        valkey.freeze()
        assert look_up(service, "/token/a") == 503
        assert register(service) == 503
        valkey.thaw()
    assert len(collector.spans) == 2
    for span in collector.spans:
        assert span.status.code == 2  # STATUS_CODE_ERROR
        assert attributes(span)["error.type"] == "503"


def test_no_span_has_an_id(collector: Collector) -> None:
    with traced(collector) as service:
        register(service)
        look_up(service, f"/cs/{STATION}/auth")
        service.request(STATION.upper(), f"/api/v0/cs/{STATION}/auth")
    assert collector.spans
    assert STATION.encode() not in collector.bytes.lower()


def test_a_collector_that_is_away_harms_nobody(start_service: StartService) -> None:
    service = start_service(telemetry__otlp_endpoint="http://127.0.0.1:9")
    wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
    assert register(service) == 201
    assert look_up(service, f"/cs/{STATION}/auth") == 200
    assert service.stop() == 0


def test_off_by_default_it_is_not_even_loaded(service: Service, collector: Collector) -> None:
    """What OpenTelemetry needs is in the memory only of a service that has an endpoint."""

    def loaded(running: Service) -> bool:
        return "google/_upb/" in Path(f"/proc/{running.process.pid}/maps").read_text()

    with traced(collector) as tracing:
        assert (loaded(tracing), loaded(service)) == (True, False)


def test_without_the_extra_the_start_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(BadSettings, match=r"csms-redis\[otel\]"):
        Tracing(TelemetrySettings(otlp_endpoint="http://h"))


@pytest.mark.parametrize(
    ("head", "headers"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", {}),
        (b"GET / HTTP/1.1\r\nTraceParent:  a-b \r\nH: h\r\n\r\n", {"traceparent": "a-b"}),
        (
            b"GET / HTTP/1.1\r\ntraceparent: a\r\ntracestate: b=c\r\n\r\n",
            {"traceparent": "a", "tracestate": "b=c"},
        ),
        (b"GET /traceparent: HTTP/1.1\r\nX-traceparent: a\r\n\r\n", {}),
    ],
)
def test_the_headers_of_a_trace(head: bytes, headers: dict[str, str]) -> None:
    assert headers == trace_headers(head)

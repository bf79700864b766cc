"""Any requests, well and badly formed, for the tests that compare two readers."""

from itertools import pairwise

from hypothesis import strategies as st

from tests.support.front_bytes import HASH, HOST, get, station
from tests.support.front_corpus import CORPUS, HEADERS, OTHERS, TARGETS

ADDED = st.one_of(
    st.builds(
        lambda name, blank, value: name + b":" + blank + value,
        st.sampled_from(
            [
                *(b"X-Forwarded-For", b"x-forwarded-for", b"Forwarded", b"Via", b"X-Real-IP"),
                *(b"X-Request-ID", b"Traceparent", b"tracestate", b"X-B3-TraceId"),
                *(b"X-Forwarded-Proto", b"x-amzn-trace-id", b"X-Request", b"Vi\xc3\xa4", b" Via"),
            ]
        ),
        st.sampled_from([b" ", b"", b"\t "]),
        st.one_of(
            st.from_regex(rb"[!-~]([\t -~]{0,20}[!-~])?", fullmatch=True),
            st.binary(max_size=8),
            st.sampled_from([b"", b"a\r\n", b"a\r\n\r\nGET / HTTP/1.1", b"a\r\n b", b"a\r", b"\n"]),
        ),
    ),
    st.sampled_from([line for name, lines in HEADERS.items() if "id" in name for line in lines]),
)
"""Lines that proxies add, some of them badly formed."""

_names = st.sampled_from(
    [b"X", b"Accept", b"Connection", b"Content-Length", b"Host", b"TE", b"A-b"]
)
_values = st.one_of(
    st.sampled_from([b"", b"a", b"close", b"keep-alive", b"0", b"2", b"chunked", b"registry"]),
    st.binary(max_size=8),
)
_lines = st.one_of(
    st.sampled_from([line for lines in HEADERS.values() if len(lines) < 9 for line in lines]),
    st.builds(b"%b: %b".__mod__, st.tuples(_names, _values)),
)
_segments = st.one_of(
    st.sampled_from([b"cs001", b"nobody", b"ABC123", b"abc123", HASH.encode(), b"%2F", b"..", b""]),
    st.text(max_size=6).map(lambda text: text.encode(errors="replace")),
    st.binary(max_size=6),
    st.binary(max_size=6).map(lambda raw: b"".join(b"%%%02x" % byte for byte in raw)),
)
_targets = st.one_of(
    st.sampled_from(list(TARGETS.values())),
    st.builds(b"/api/v0/cs/%b/auth".__mod__, _segments),
    st.builds(b"/api/v0/token/%b".__mod__, _segments),
    st.builds(b"/api/v0/certificate/%b".__mod__, _segments),
)
_built = st.builds(
    lambda method, target, version, lines, body: (
        b"%b %b %b\r\n%b\r\n%b"
        % (method, target, version, b"".join(line + b"\r\n" for line in lines), body)
    ),
    st.sampled_from([b"GET"] * 6 + [b"HEAD", b"POST", b"DELETE", b"get"]),
    _targets,
    st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0"] * 3 + [b"HTTP/1.2"]),
    st.lists(_lines, max_size=4).map(lambda lines: [HOST[:-2], *lines])
    | st.lists(_lines, max_size=5),
    st.sampled_from([b""] * 6 + [b"ab", b"0\r\n\r\n", b"2\r\nab\r\n0\r\n\r\n"]),
)
_short = [request for request in CORPUS.values() if len(request) < 10_000]
REQUESTS = st.one_of(
    st.sampled_from(
        [station("cs001"), station("nobody"), get(b"/health"), OTHERS["a registration"]]
    ),
    st.sampled_from(_short),
    _built,
)
"""Requests, well formed or not."""

STREAMS = st.lists(REQUESTS, min_size=1, max_size=5).map(b"".join)
"""What a client may send on one connection."""


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A stream in which some bytes were replaced, left out or said twice."""
    data = draw(STREAMS)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 8)))
        piece = draw(
            st.one_of(
                st.just(b""),
                st.just(data[start:end] * 2),
                st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"\x00"]),
                st.binary(max_size=4),
            )
        )
        data = data[:start] + piece + data[end:]
    return data


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The segments in which some bytes arrive."""
    places = draw(st.lists(st.integers(0, len(data)), max_size=5).map(sorted))
    edges = [0, *places, len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]

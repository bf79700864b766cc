"""Requests of every kind, well and badly formed, for the tests that compare two readers."""

from itertools import pairwise

from hypothesis import strategies as st

from tests.support.front_bytes import HASH, HOST, MAX_BODY, get, post, station

AUTH = b"/api/v0/cs/cs001/auth"
_HASH = HASH.encode()
_PLAIN_HASH = _HASH.replace(b"-", b"+").replace(b"_", b"/")

TARGETS = {
    "a station": AUTH,
    "a station, escaped": b"/api/v0/cs/%63%73%30%30%31/auth",
    "a station with braces, a slash and a space": b"/api/v0/cs/%7Ba%7D%2Fb%20c/auth",
    "braces unescaped": b"/api/v0/cs/{a}%2fb%20c/auth",
    "a slash unescaped": b"/api/v0/cs/{a}/b%20c/auth",
    "UTF-8": b"/api/v0/cs/S%C3%A4ule/auth",
    "UTF-8 in lower case": b"/api/v0/cs/S%c3%a4ule/auth",
    "UTF-8 unescaped": b"/api/v0/cs/S\xc3\xa4ule/auth",
    "Latin-1": b"/api/v0/cs/S%E4ule/auth",
    "Latin-1 unescaped": b"/api/v0/cs/S\xe4ule/auth",
    "overlong UTF-8": b"/api/v0/cs/%C0%AF/auth",
    "a surrogate": b"/api/v0/cs/%ED%A0%80/auth",
    "escaped twice": b"/api/v0/cs/%2563s001/auth",
    "a plus": b"/api/v0/cs/{a}%2Fb+c/auth",
    "48 characters": b"/api/v0/cs/%b/auth" % (b"s" * 48),
    "48 characters, escaped": b"/api/v0/cs/%b/auth" % (b"%73" * 48),
    "49 characters": b"/api/v0/cs/%b/auth" % (b"s" * 49),
    "an id of 3,000 characters": b"/api/v0/cs/%b/auth" % (b"s" * 3000),
    "an id of 8,150 characters": b"/api/v0/cs/%b/auth" % (b"s" * 8150),
    "an id of 9,000 characters": b"/api/v0/cs/%b/auth" % (b"s" * 9000),
    "no id": b"/api/v0/cs//auth",
    "no segment": b"/api/v0/cs/auth",
    "NUL": b"/api/v0/cs/a%00/auth",
    "NUL unescaped": b"/api/v0/cs/a\x00/auth",
    "a tab unescaped": b"/api/v0/cs/a\tb/auth",
    "a space unescaped": b"/api/v0/cs/a b/auth",
    "a line end": b"/api/v0/cs/a%0D%0Ab/auth",
    "DEL": b"/api/v0/cs/%7F/auth",
    "a C1 control": b"/api/v0/cs/%C2%80/auth",
    "a broken escape": b"/api/v0/cs/%zz/auth",
    "half an escape": b"/api/v0/cs/cs001%6/auth",
    "a lone percent sign": b"/api/v0/cs/%/auth",
    "punctuation": b"/api/v0/cs/a:b@c;d,e=f&g!h$i'j(k)l*m~n/auth",
    "quotes and brackets": b'/api/v0/cs/"<>[]\\^`|/auth',
    "a dot": b"/api/v0/cs/./auth",
    "two dots": b"/api/v0/cs/../auth",
    "escaped dots": b"/api/v0/cs/%2e%2E/auth",
    "dots on the way": b"/api/v0/x/../cs/cs001/auth",
    "dots at the end": b"/api/v0/cs/cs001/auth/..",
    "three dots": b"/api/v0/cs/.../auth",
    "double slashes": b"//api/v0/cs/cs001/auth",
    "double slashes within": b"/api//v0/cs/cs001/auth",
    "a trailing slash": AUTH + b"/",
    "another case": b"/API/v0/cs/cs001/auth",
    "an escaped route": b"/api/v0/%63s/cs001/auth",
    "an escaped end": b"/api/v0/cs/cs001/%61uth",
    "a query": AUTH + b"?a=b",
    "an empty query": AUTH + b"?",
    "a query with a slash": b"/api/v0/cs/cs001?/auth",
    "a fragment": AUTH + b"#a",
    "a fragment with a slash": b"/api/v0/cs/cs001#/auth",
    "a query in a fragment": b"/api/v0/token/ABC123#a?b",
    "parameters": b"/api/v0/cs/cs001;a=b/auth",
    "an absolute target": b"http://registry" + AUTH,
    "an absolute target with a user": b"http://user:secret@registry" + AUTH,
    "an absolute target of another scheme": b"ftp://registry" + AUTH,
    "an absolute target without a host": b"http://" + AUTH,
    "an asterisk": b"*",
    "an authority": b"registry:9410",
    "a relative target": b"api/v0/cs/cs001/auth",
    "a backslash": b"\\api\\v0\\cs\\cs001\\auth",
    "an unknown station": b"/api/v0/cs/nobody/auth",
    "a station without auth": b"/api/v0/cs/cs001",
    "a token": b"/api/v0/token/ABC123",
    "a token in lower case": b"/api/v0/token/abc123",
    "a token, escaped": b"/api/v0/token/%61BC123",
    "a token with a slash and a space": b"/api/v0/token/a%2FB%20C",
    "a token with a slash unescaped": b"/api/v0/token/A/B%20C",
    "a token of 36 characters": b"/api/v0/token/" + b"t" * 36,
    "a token of 37 characters": b"/api/v0/token/" + b"t" * 37,
    "a token that is not ASCII": b"/api/v0/token/%C3%9F",
    "no token": b"/api/v0/token/",
    "tokens": b"/api/v0/token",
    "a certificate": b"/api/v0/certificate/" + _HASH,
    "a certificate, padding escaped": b"/api/v0/certificate/" + _HASH.replace(b"=", b"%3D"),
    "a certificate, unpadded": b"/api/v0/certificate/" + _HASH[:-1],
    "a certificate, base64": b"/api/v0/certificate/" + _PLAIN_HASH,
    "a certificate, base64 escaped": b"/api/v0/certificate/"
    + _PLAIN_HASH.replace(b"+", b"%2B").replace(b"/", b"%2F"),
    "a certificate, padded twice": b"/api/v0/certificate/" + _HASH + b"=",
    "a certificate with a slash": b"/api/v0/certificate/AB/CD",
    "a certificate, hexadecimal": b"/api/v0/certificate/" + b"0" * 64,
    "a certificate that is none": b"/api/v0/certificate/zz",
    "no certificate": b"/api/v0/certificate/",
    "health": b"/health",
    "readiness": b"/health/ready",
    "nothing": b"/nowhere",
    "the root": b"/",
    "no target": b"",
}

HEADERS = {
    "Basic": [b"Authorization: Basic eDp5"],
    "a space before the colon": [b"Authorization : Basic eDp5"],
    "a tab before the colon": [b"Authorization\t: Basic eDp5"],
    "a space before the name": [b" Authorization: Basic eDp5"],
    "obsolete folding": [b"X: a", b" b"],
    "obsolete folding with a tab": [b"X: a", b"\tb"],
    "an empty value": [b"X:"],
    "a blank value": [b"X: \t "],
    "tabs": [b"X:\ta\tb\t"],
    "no space": [b"X:a"],
    "no colon": [b"X"],
    "no name": [b": a"],
    "every character of a token": [b"!#$%&'*+-.^_`|~09AZaz: a"],
    "a name in parentheses": [b"(X): a"],
    "a name that is not ASCII": [b"X\xc3\xa4: a"],
    "UTF-8": [b"X: \xc3\xa4"],
    "Latin-1": [b"X: \xe4"],
    "NUL": [b"X: a\x00b"],
    "a bell": [b"X: a\x07b"],
    "DEL": [b"X: a\x7fb"],
    "a bare carriage return": [b"X: a\rb"],
    "a bare line feed": [b"X: a\nY: b"],
    "a second Host": [b"Host: other"],
    "the same Host again": [b"host: registry"],
    "a header twice": [b"Accept: a", b"Accept: b"],
    "a header twice in another case": [b"X: a", b"x: b"],
    "a gateway in Go": [b"User-Agent: Go-http-client/1.1"],
    "a gateway in Go, twice": [b"User-Agent: Go-http-client/1.1"] * 2,
    "User-Agent twice": [b"User-Agent: a", b"User-Agent: b"],
    "Content-Type twice": [b"Content-Type: a", b"Content-Type: b"],
    "63 headers": [b"X-%d: x" % number for number in range(63)],
    "64 headers": [b"X-%d: x" % number for number in range(64)],
    "127 headers": [b"X-%d: x" % number for number in range(126)],
    "200 headers": [b"X-%d: x" % number for number in range(199)],
    "a header of 7,800 bytes": [b"X: " + b"x" * 7800],
    "a header of 8,180 bytes": [b"X: " + b"x" * 8177],
    "a header of 9,000 bytes": [b"X: " + b"x" * 8997],
    "a header of 100,000 bytes": [b"X: " + b"x" * 99997],
    "100 headers of 1,000 bytes": [b"X-%d: %b" % (number, b"x" * 1000) for number in range(100)],
    "7,800 spaces": [b"X: x" + b" " * 7800 + b"x"],
    "keep-alive": [b"Connection: keep-alive"],
    "close": [b"Connection: close"],
    "CLOSE": [b"CONNECTION: CLOSE"],
    "close with spaces": [b"Connection:  \t close \t "],
    "close and keep-alive": [b"Connection: close, keep-alive"],
    "keep-alive and close": [b"Connection: keep-alive, close"],
    "keep-alive, then close": [b"Connection: keep-alive", b"Connection: close"],
    "another option": [b"Connection: te"],
    "an empty Connection": [b"Connection:"],
    "closed": [b"Connection: closed"],
    "Proxy-Connection": [b"Proxy-Connection: close"],
    "Proxy-Connection: keep-alive": [b"Proxy-Connection: keep-alive"],
    "Keep-Alive": [b"Keep-Alive: timeout=5"],
    "Upgrade alone": [b"Upgrade: websocket"],
    "Connection: upgrade alone": [b"Connection: upgrade"],
    "websocket": [
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ],
    "an old websocket": [b"Sec-WebSocket-Key1: a"],
    "h2c": [
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQAAP__",
    ],
    "h2c and keep-alive": [b"Connection: keep-alive, Upgrade", b"Upgrade: h2c"],
    "100-continue": [b"Expect: 100-continue"],
    "100-Continue": [b"Expect: 100-Continue"],
    "another expectation": [b"Expect: wonders"],
    "an empty expectation": [b"Expect:"],
    "an expectation that is no text": [b"Expect: \x80"],
    "TE": [b"TE: trailers"],
    "Trailer": [b"Trailer: X"],
    "no body": [b"Content-Length: 0"],
    "zeros": [b"Content-Length: 000"],
    "a negative length": [b"Content-Length: -1"],
    "a length with a sign": [b"Content-Length: +0"],
    "a hexadecimal length": [b"Content-Length: 0x0"],
    "an empty length": [b"Content-Length:"],
    "two lengths": [b"Content-Length: 0", b"Content-Length: 0"],
    "two lengths in one": [b"Content-Length: 0, 0"],
    "a length of 20 digits": [b"Content-Length: 99999999999999999999"],
    "identity": [b"Transfer-Encoding: identity"],
    "an empty Transfer-Encoding": [b"Transfer-Encoding:"],
    "an unknown Transfer-Encoding": [b"Transfer-Encoding: xchunked"],
    "gzip": [b"Content-Encoding: gzip"],
    "If-None-Match": [b'If-None-Match: "a"'],
    "Range": [b"Range: bytes=0-3"],
    "X-Forwarded-For": [b"X-Forwarded-For: 192.0.2.7"],
    "X-Forwarded-For twice": [b"X-Forwarded-For: 192.0.2.7", b"x-forwarded-for: 192.0.2.8"],
    "Forwarded twice": [b"Forwarded: for=192.0.2.7;by=a", b'Forwarded:for="[2001:db8::1]"'],
    "Via twice": [b"Via: 1.1 a", b"Accept: b", b"Via: 1.1 b"],
    "what 20 proxies add": [b"X-Forwarded-For: 192.0.2.%d" % number for number in range(20)],
    "what 200 proxies add": [b"X-Forwarded-For: 192.0.2.%d" % number for number in range(200)],
    "a trace": [b"traceparent: 00-%b-%b-01" % (b"a" * 32, b"b" * 16), b"tracestate: c=d"],
    "an id": [b"X-Request-Id: 0123456789abcdef"],
    "an id with a space before the colon": [b"X-Request-Id : a"],
    "an id, folded": [b"X-Request-Id: a", b" b"],
    "an id with NUL": [b"X-Request-Id: a\x00b"],
    "an id that is not ASCII": [b"X-Request-Id: S\xc3\xa4ule"],
    "an id with a bare carriage return": [b"X-Request-Id: a\rb"],
    "an id with two carriage returns": [b"X-Request-Id: a\r"],
    "an id with a bare line feed": [b"X-Request-Id: a\nY: b"],
    "an id behind a bare line feed": [b"Y: b\nX-Request-Id: a"],
    "an id of 9,000 bytes": [b"X-Request-Id: " + b"x" * 8986],
    "an id, folded into another header": [b"X: a", b" X-Request-Id: b"],
    "X-HTTP-Method-Override": [b"X-HTTP-Method-Override: POST"],
    "a cookie": [b"Cookie: a=b; c=d"],
}

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

_CHUNKED = b"GET %b HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n" % (AUTH, HOST)

OTHERS = {
    **{
        f"{method.decode() or 'no method'}": b"%b %b HTTP/1.1\r\n%b\r\n" % (method, AUTH, HOST)
        for method in (
            *(b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"PROPFIND"),
            *(b"CONNECT", b"PRI", b"M-SEARCH", b"SOURCE", b"DESCRIBE", b"FOO", b"A" * 17),
            *(b"get", b"Get", b"G\x00T", b"GET\t", b" GET", b"", b"GET GET"),
        )
    },
    **{
        f"version {version.decode()}": b"GET %b %b\r\n%b\r\n" % (AUTH, version, HOST)
        for version in (
            *(b"HTTP/1.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.10", b"HTTP/2.0", b"HTTP/3"),
            *(b"HTTP/1", b"HTTP/11", b"http/1.1", b"HTTPS/1.1", b"HTTP/1.1 ", b" HTTP/1.1", b""),
        )
    },
    "HTTP/1.0 without Host": b"GET %b HTTP/1.0\r\n\r\n" % AUTH,
    "HTTP/1.0, kept alive": get(AUTH, b"Connection: keep-alive", version=b"1.0"),
    "HTTP/1.0, closed": get(AUTH, b"Connection: close", version=b"1.0"),
    "HTTP/1.0 with a chunked body": get(AUTH, b"Transfer-Encoding: chunked", version=b"1.0")
    + b"0\r\n\r\n",
    "HTTP/0.9": b"GET %b\r\n" % AUTH,
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a handshake of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no Host": b"GET %b HTTP/1.1\r\n\r\n" % AUTH,
    **{
        f"Host: {host.decode('latin-1')}": b"GET %b HTTP/1.1\r\nHost:%b\r\n\r\n" % (AUTH, host)
        for host in (
            *(b"", b" ", b" a:1", b" a:", b" :1", b" a:b", b" [::1]:9410", b" [::1", b" a/b"),
            *(b" a b", b" u@a", b" a,b", b" a_b", b" *", b" a?b", b" \xc3\xa4", b" %41", b" a."),
        )
    },
    "bare line feeds": get(AUTH).replace(b"\r\n", b"\n"),
    "a bare line feed at the end": get(AUTH)[:-2] + b"\n",
    "bare carriage returns": get(AUTH).replace(b"\r\n", b"\r"),
    "two carriage returns": get(AUTH).replace(b"\r\n", b"\r\r\n"),
    "a line feed behind the request line": get(AUTH).replace(b"\r\n", b"\n", 1),
    "an empty line before it": b"\r\n" + get(AUTH),
    "many empty lines before it": b"\r\n" * 50 + get(AUTH),
    "a line feed before it": b"\n" + get(AUTH),
    "a space before it": b" " + get(AUTH),
    "a space before the first header": get(AUTH).replace(b"Host", b" Host"),
    "two spaces": get(AUTH).replace(b" ", b"  ", 1),
    "a tab for a space": get(AUTH).replace(b" ", b"\t", 1),
    "no headers": b"GET %b HTTP/1.1\r\n\r\n" % AUTH,
    "a GET with a body": get(AUTH, b"Content-Length: 5") + b"hello",
    "a GET with a chunked body": _CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "a HEAD with a body": get(AUTH, b"Content-Length: 5").replace(b"GET", b"HEAD") + b"hello",
    "Content-Length and Transfer-Encoding": _CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding and Content-Length": get(
        AUTH, b"Content-Length: 5", b"Transfer-Encoding: chunked"
    )
    + b"0\r\n\r\n",
    "chunked twice": _CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then identity": _CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a chunk's extension": _CHUNKED + b"\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
    "a chunk without its length": _CHUNKED + b"\r\nx\r\nhello\r\n0\r\n\r\n",
    "a chunk's length with a sign": _CHUNKED + b"\r\n+5\r\nhello\r\n0\r\n\r\n",
    "a chunk that is too long": _CHUNKED + b"\r\n4\r\nhello\r\n0\r\n\r\n",
    "a chunk of 20 digits": _CHUNKED + b"\r\nffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "trailers": _CHUNKED + b"\r\n0\r\nX: a\r\n\r\n",
    "bare line feeds between chunks": _CHUNKED + b"\r\n5\nhello\n0\n\n",
    "a registration": post(b"/api/v0/cs/new", b'{"securityProfile":2}'),
    "a registration that is none": post(b"/api/v0/cs/new", b"[]"),
    "a registration without a body": post(b"/api/v0/cs/new", b""),
    "a registration, chunked": post(b"/api/v0/cs/new", b"").replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked"
    )
    + b'15\r\n{"securityProfile":2}\r\n0\r\n\r\n',
    "a registration after 100-continue": post(
        b"/api/v0/cs/new", b'{"securityProfile":2}', b"Expect: 100-continue"
    ),
    "a registration that is too long": post(b"/api/v0/cs/new", b" " * (MAX_BODY + 1)),
    "a registration that is much too long": post(b"/api/v0/cs/new", b" " * 300_000),
    "a registration that is no JSON": post(b"/api/v0/cs/new", b"{}").replace(
        b"application/json", b"text/plain"
    ),
    "a registration that is compressed": post(b"/api/v0/cs/new", b"{}", b"Content-Encoding: gzip"),
    "a registration that closes": post(
        b"/api/v0/cs/new", b'{"securityProfile":2}', b"Connection: close"
    ),
    "a body for nothing": post(b"/nowhere", b"hello"),
    "a long body for nothing": post(b"/nowhere", b"x" * 300_000),
    "an unknown station, by Go": get(b"/api/v0/cs/nobody/auth", b"User-Agent: Go-http-client/1.1"),
    "an unknown token, by Go": get(b"/api/v0/token/NOBODY", b"User-Agent: Go-http-client/1.1"),
    "no certificate, by Go": get(b"/api/v0/certificate/zz", b"user-agent:Go-http-client/2.0"),
    "a deletion": get(b"/api/v0/certificate/" + HASH.encode()).replace(b"GET", b"DELETE"),
}

CORPUS = {
    **{f"target: {name}": get(target) for name, target in TARGETS.items()},
    **{f"header: {name}": get(AUTH, *lines) for name, lines in HEADERS.items()},
    **OTHERS,
}

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

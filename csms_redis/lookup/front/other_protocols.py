"""Which protocol other than HTTP/1.1 a client speaks, so that the log can say what to set.

A balancer that speaks HTTP/2, TLS or the PROXY protocol to the service gets nothing but refusals,
and shows their cause to nobody. Only bytes that were refused already are looked at here.
"""

from typing import Final, NamedTuple


class OtherProtocol(NamedTuple):
    """What a client speaks, and what its operator can do about it."""

    name: str
    advice: str


_HTTP_2: Final = OtherProtocol(
    "HTTP/2", "The service speaks HTTP/1.1: let the client or the balancer speak HTTP/1.1 to it."
)
_TLS: Final = OtherProtocol(
    "TLS",
    "This port has no TLS: let the client or the balancer speak HTTP/1.1 to it without TLS (http://),"
    " or set server.tls.certificate_file.",
)
_PROXY: Final = OtherProtocol(
    "PROXY protocol",
    "The service does not read the PROXY protocol: let the balancer speak HTTP/1.1 to it without"
    " that (HAProxy: no send-proxy), and tell the client's address by X-Forwarded-For.",
)
_NO_TLS: Final = OtherProtocol(
    "HTTP without TLS",
    "This port has TLS: let the client or the balancer speak HTTP/1.1 over TLS to it (https://).",
)
_NEITHER: Final = OtherProtocol(
    "no TLS",
    "This port has TLS: let the client or the balancer speak HTTP/1.1 over TLS to it (https://),"
    " without the PROXY protocol before it.",
)

_BEGINNINGS: Final = {
    b"PRI * HTTP/2.0\r\n": _HTTP_2,  # RFC 9113, 3.4
    b"\x16\x03": _TLS,  # a record with a handshake: RFC 8446, 5.1
    b"PROXY ": _PROXY,  # version 1, and below 2: HAProxy's doc/proxy-protocol.txt, 2.1 and 2.2
    b"\r\n\r\n\0\r\nQUIT\n": _PROXY,
}
_TLS_FAILURES: Final = {
    "HTTP_REQUEST": _NO_TLS,  # DELETE, PATCH and OPTIONS are known to OpenSSL 3.5 and newer only
    "HTTPS_PROXY_REQUEST": _NO_TLS,  # CONNECT
    "WRONG_VERSION_NUMBER": _NEITHER,
}


def of_request(begun: bytes) -> OtherProtocol | None:
    """Tell what bytes that are no HTTP/1.1 request are; None where that is not known.

    Args:
        begun: the first bytes, perhaps cut off where they were refused.
    """
    for beginning, protocol in _BEGINNINGS.items():
        if begun and begun[: len(beginning)] == beginning[: len(begun)]:
            return protocol
    return None


def of_handshake(reason: str) -> OtherProtocol | None:
    """Tell what was sent in the place of a TLS handshake; None where a handshake failed by itself.

    Args:
        reason: OpenSSL's, as `ssl.SSLError.reason`.
    """
    return _TLS_FAILURES.get(reason)

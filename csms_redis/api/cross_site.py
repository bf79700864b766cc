"""Writes that a page of another site makes a browser send are refused.

A browser adds what it knows of HTTP Basic to each request for this service, whichever page asks for
it. What it adds of its own to a write is `Origin` (RFC 6454, 7) and, over TLS or to this machine,
`Sec-Fetch-Site` (W3C Fetch Metadata). With either, the write needs a header that a page of another
site cannot set, because the browser asks first (Fetch, CORS preflight), and no answer here allows
it. Programs send neither of the two, and need no such header.

`Origin` is not compared with `Host`, as Go's `http.CrossOriginProtection` does: a proxy may change
`Host`.
"""

from aiohttp import web

from csms_redis.contract.errors import CrossSite

REQUESTED_BY = "X-Requested-By"
"""The header; any value will do."""

_BY_BROWSERS = ("Origin", "Sec-Fetch-Site")
_SAFE = frozenset(["GET", "HEAD", "OPTIONS"])  # RFC 9110, 9.2.1


def refuse_cross_site(request: web.Request) -> None:
    """Refuse a write that another site's page may have made a browser send.

    Raises:
        CrossSite: the write comes from a browser, and not from a page that may send it.
    """
    if request.method in _SAFE or request.headers.get(REQUESTED_BY):
        return
    if any(name in request.headers for name in _BY_BROWSERS):
        raise CrossSite(
            f"A browser's write needs the header {REQUESTED_BY}, with any value, so that no page "
            "of another site can send it. The pages /console and /docs set it."
        )

"""The reply to a listing: one page of records."""

from urllib.parse import urlencode

from aiohttp import web

from csms_redis.api.replies import JSON
from csms_redis.contract.queries import Query
from csms_redis.registry.listing import Page


def page_reply(request: web.Request, query: Query, page: Page) -> web.Response:
    """Make the reply, with a `Link` to the next page if there is one (RFC 8288)."""
    headers = {}
    if page.next is not None:
        # without a host: anyone can put any host into a request
        parameters = {"limit": query.limit, **query.filters, "cursor": page.next}
        if "valid" in parameters:
            parameters["valid"] = str(parameters["valid"]).lower()
        target = f"{request.rel_url.raw_path}?{urlencode(parameters)}"
        headers["Link"] = f'<{target}>; rel="next"'
    body = b"[%b]" % b",".join(page.records)
    return web.Response(body=body, content_type=JSON, headers=headers)

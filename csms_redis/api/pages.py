"""Listings: what a query string asks for, and the page that answers it."""

from typing import TypeVar
from urllib.parse import urlencode

from aiohttp import web

from csms_redis.api.replies import JSON
from csms_redis.contract.errors import BadRequest
from csms_redis.contract.identifiers import decode_segment
from csms_redis.contract.queries import Query
from csms_redis.registry.listing import Page

Model = TypeVar("Model", bound=Query)


def read_query(request: web.Request, model: type[Model]) -> Model:
    """Read a query string.

    Raises:
        BadRequest: it is not as the model has it.
    """
    raw = request.rel_url.raw_query_string
    pairs = []
    for pair in raw.split("&") if raw else []:
        name, _, value = pair.partition("=")
        # yarl would take %FF for the text of these three characters
        decoded = [decode_segment(part.replace("+", "%20")) for part in (name, value)]
        if None in decoded:
            raise BadRequest("The query must be names and values in UTF-8, escaped by %.")
        pairs.append((decoded[0] or "", decoded[1] or ""))
    return model.read(pairs)


def page_reply(request: web.Request, query: Query, page: Page) -> web.Response:
    """A page, with a `Link` to the next one where there is one (RFC 8288)."""
    headers = {}
    if page.next is not None:
        # without a host: the request's own may be anyone's
        parameters = {"limit": query.limit, **query.filters, "cursor": page.next}
        if "valid" in parameters:
            parameters["valid"] = str(parameters["valid"]).lower()
        target = f"{request.rel_url.raw_path}?{urlencode(parameters)}"
        headers["Link"] = f'<{target}>; rel="next"'
    body = b"[%b]" % b",".join(page.records)
    return web.Response(body=body, content_type=JSON, headers=headers)

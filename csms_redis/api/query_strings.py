"""Reads the query string of a request, and refuses one that an operation does not have.

No parameter is ignored. A gateway that does not escape the question mark in an id asks for another
record than it means, and would take the answer for that of its own station.
"""

from typing import TypeVar

from aiohttp import web

from csms_redis.api.middleware import Handler
from csms_redis.contract.errors import BadRequest
from csms_redis.contract.identifiers import decode_segment
from csms_redis.contract.queries import QueryString, unknown_parameter

Model = TypeVar("Model", bound=QueryString)


def read_query(request: web.Request, model: type[Model]) -> Model:
    """Read a query string.

    Raises:
        BadRequest: a parameter is unknown, is there twice, or has a wrong value.
    """
    return model.read(_parameters(request))


def without_query(handler: Handler) -> Handler:
    """Wrap a handler, so that a request with a query parameter is answered 400 before it."""

    async def handle(request: web.Request) -> web.StreamResponse:
        for name, _ in _parameters(request):
            raise unknown_parameter(name, ())
        return await handler(request)

    return handle


def _parameters(request: web.Request) -> list[tuple[str, str]]:
    if "#" in request.raw_path:
        # RFC 9112, 3.2: no target has a fragment, and what was meant is another path
        raise BadRequest("The request's target has a #; in an id it is written %23.")
    raw = request.rel_url.raw_query_string
    pairs = []
    for pair in raw.split("&") if raw else []:
        name, _, value = pair.partition("=")
        # yarl would take %FF for the text of these three characters
        decoded = [decode_segment(part.replace("+", "%20")) for part in (name, value)]
        if None in decoded:
            raise BadRequest("The query must be names and values in UTF-8, escaped by %.")
        pairs.append((decoded[0] or "", decoded[1] or ""))
    return pairs

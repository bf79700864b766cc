"""Makes the replies that are not the answer to a lookup: errors, and replies without a body."""

from http import HTTPStatus

import orjson
from aiohttp import web

from csms_redis.contract.errors import Problem

JSON = "application/json"


def status_reply(
    status: HTTPStatus, error: str, headers: dict[str, str] | None = None
) -> web.Response:
    """Make a `Status` reply, whose `error` says what is wrong and what to do."""
    body = orjson.dumps({"status": status.phrase, "error": error})
    return web.Response(status=status, body=body, content_type=JSON, headers=headers)


def problem_reply(problem: Problem) -> web.Response:
    """Make the reply to a request that failed in a known way."""
    reply = status_reply(problem.status, problem.error, problem.headers)
    if problem.status == HTTPStatus.REQUEST_TIMEOUT:
        reply.force_close()  # nobody waits for the rest of that request
    return reply


def without_body(reply: web.StreamResponse) -> None:
    """Take the body off a reply, and the headers that describe the body."""
    if isinstance(reply, web.Response):
        reply.body = None
        reply.headers.pop("Content-Type", None)
        reply.headers["Content-Length"] = "0"


def http_error_reply(error: web.HTTPException) -> web.Response:
    """Make the `Status` in the place of an error reply of aiohttp, which is plain text."""
    status = HTTPStatus(error.status)
    headers: dict[str, str] = {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        headers["Allow"] = allowed
        text = f"This path takes {allowed} only."
    elif isinstance(error, web.HTTPRequestEntityTooLarge):
        text = "The request body is too large; server.max_body sets the limit."
    elif isinstance(error, web.HTTPNotFound):
        text = "There is no such path; /docs lists the operations."
    elif isinstance(error, web.HTTPExpectationFailed):
        text = "The only expectation that can be met is 100-continue."
    else:
        text = f"{status.description or status.phrase}."
    return status_reply(status, text, headers)

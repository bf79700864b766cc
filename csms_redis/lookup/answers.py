"""The answers of the lookups: a status, and the tail that a cache can keep.

A tail is everything that does not change from second to second nor from client to client: the
headers that describe the body, and the body. What stands before it is in `front.response_heads`.
"""

from http import HTTPStatus
from typing import Final

import orjson

from csms_redis.contract.errors import Problem

# Plain numbers on the hot path: an enumeration's members hash and compare in Python.
OK: Final = 200
NOT_FOUND: Final = 404
REQUEST_TIMEOUT: Final = 408
UNAVAILABLE: Final = 503

NO_BODY: Final = b"Content-Length: 0\r\n\r\n"
"""The tail of an answer that has neither a body nor headers of its own."""


def _headers(length: int) -> bytes:
    return b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % length


# a third of the time that it takes to write the number anew, with each record that is read
_HEADERS: Final = [_headers(length) for length in range(512)]


def tail(body: bytes) -> bytes:
    """The tail of an answer whose body is JSON."""
    length = len(body)
    return (_HEADERS[length] if length < len(_HEADERS) else _headers(length)) + body


def status_tail(status: HTTPStatus, error: str, headers: str = "") -> bytes:
    """The tail of an answer whose body is the contract's `Status`.

    Args:
        status: of the answer.
        error: what is wrong, and what the caller can do.
        headers: more header lines, each with its line end.
    """
    body = orjson.dumps({"status": status.phrase, "error": error})
    return headers.encode() + tail(body)


def problem_tail(problem: Problem) -> bytes:
    """The tail of the answer to a request that failed in a known way."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in problem.headers.items())
    return status_tail(problem.status, problem.error, headers)


def without_body(answer_tail: bytes) -> bytes:
    """The same tail without its body, and without the headers that describe the body."""
    headers, _, _ = answer_tail.partition(b"Content-Type: ")
    return headers + NO_BODY


def body_of(answer_tail: bytes) -> bytes:
    """The body in a tail."""
    return answer_tail.partition(b"\r\n\r\n")[2]

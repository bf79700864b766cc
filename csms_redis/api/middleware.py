"""What surrounds every request: its id, who sent it, its line in the log, errors as `Status`."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from secrets import token_hex
from typing import Any, TypeAlias

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from csms_redis.access.addresses import Forwarding, plain
from csms_redis.access.control import AccessControl, Refused
from csms_redis.access.roles import is_open, role_for
from csms_redis.api.cross_site import refuse_cross_site
from csms_redis.api.doubts import DOUBTS
from csms_redis.api.path_ids import path_id
from csms_redis.api.replies import http_error_reply, problem_reply, status_reply
from csms_redis.contract.doubts import Doubtful
from csms_redis.contract.errors import CrossSite, OutcomeUnknown, Problem, Unavailable
from csms_redis.contract.operations import BASE_PATH
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN
from csms_redis.settings import Role
from csms_redis.telemetry import log
from csms_redis.telemetry.audit import AuditTrail
from csms_redis.telemetry.metrics import WriteCounts

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

RECORD = web.RequestKey("record", dict[str, str])
"""The id of the record that a request is about, for the request's line in the log."""

COUNTS = web.RequestKey("counts", dict[str, int])
"""How many records a request was about, by what became of them, for that line."""

CLIENT = web.RequestKey("client", str)
"""Who sent a request: a client's name, or the address that it comes from."""

WRITES = web.AppKey("writes", WriteCounts)
"""Counts the requests that are to change something."""

AUDIT = web.AppKey("audit", AuditTrail)
"""The log lines of the last writes."""

PROBLEM = web.RequestKey("problem", Problem)
"""Why a request failed; after an answer that was begun, why it was not ended as it should."""

_ORIGIN = web.RequestKey("origin", str)
_RECORDS = {
    "csId": ("csId", STATION),
    "tokenUid": ("uid", TOKEN),
    "certificateHash": ("certificateHash", CERTIFICATE),
}
_REQUEST_ID = "X-Request-Id"
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
_CERTIFICATES = f"{BASE_PATH}/certificate/"
_MOST_PATH = 200  # characters of a path that the log has
_log = structlog.get_logger()
_audit = log.always()


@web.middleware
async def errors_and_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with a `Status`; log each write and each error, but no lookup."""
    given = request.headers.get(_REQUEST_ID, "")
    request_id = given if _SANE_ID.fullmatch(given) else token_hex(16)
    # not unbound: aiohttp runs each request in a task, and so in a context, of its own
    structlog.contextvars.bind_contextvars(request_id=request_id)
    started = time.perf_counter()
    wrote = request.method not in {"GET", "HEAD"}
    try:
        response, reason = await _answer(request, handler, request_id)
    except asyncio.CancelledError:  # the service ends, and nobody gets an answer
        if wrote:
            refused = request.get(PROBLEM)
            if refused is None:
                _log_request(
                    request, started, logging.ERROR, outcome="unknown", reason="interrupted"
                )
            else:
                _log_request(
                    request, started, logging.WARNING, outcome="refused", reason=refused.reason
                )
        raise
    failed = response.status >= HTTPStatus.BAD_REQUEST and not _is_quiet(request)
    if wrote or failed or response.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        response.headers[_REQUEST_ID] = request_id
        outcome = _outcome(request, response.status) if wrote else None
        # an answer that was begun with 200 may have ended as it should not
        level = max(_level(response.status), logging.WARNING if reason else logging.INFO)
        _log_request(
            request, started, level, status=response.status, outcome=outcome, reason=reason
        )
    return response


def only_admitted(access_control: AccessControl) -> Middleware:
    """Make a middleware that serves only admitted clients; the log names the client."""

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = request.match_info.route
        # A path that does not exist needs no role; but only a client may learn that it does not.
        role = None
        if route.resource is not None:
            if is_open(route.resource.canonical):
                return await handler(request)
            role = role_for(route.resource.canonical, route.name)
        client = await demand(request, access_control, role)
        request[CLIENT] = client or request[_ORIGIN]
        if client is not None:
            structlog.contextvars.bind_contextvars(client=client)
        try:
            refuse_cross_site(request)
        except CrossSite:
            request[RECORD] = _record(request)
            raise
        return await handler(request)

    return admit


async def demand(
    request: web.Request, access_control: AccessControl, role: Role | None
) -> str | None:
    """Go on only with a request whose client has a role.

    Args:
        request: the request.
        access_control: knows the clients.
        role: what it needs; None where any client will do.

    Returns:
        The client's name; None while everyone may call.

    Raises:
        Problem: it is refused, after the delay that that takes.
    """
    forwarding = Forwarding(
        ",".join(request.headers.getall("X-Forwarded-For", [])),
        ",".join(request.headers.getall("Forwarded", [])),
    )
    request[_ORIGIN] = access_control.origin(request.remote or "", forwarding)
    try:
        return access_control.admit(
            role,
            _header(request, "Authorization"),
            request.transport,
            forwarding,
            _header(request, "User-Agent") or b"",
        )
    except Refused as refused:
        request[RECORD] = _record(request)
        request[PROBLEM] = refused.problem
        if refused.client is not None:
            structlog.contextvars.bind_contextvars(client=refused.client)
        await asyncio.sleep(refused.delay)
        raise refused.problem from None


def _log_request(  # noqa: PLR0913 what a line has
    request: web.Request,
    started: float,
    level: int,
    *,
    status: int | None = None,
    outcome: str | None,
    reason: str | None,
) -> None:
    """Log a request. A write has an outcome: it is counted, and no level leaves its line out."""
    seconds = time.perf_counter() - started
    name = request.match_info.route.name
    problem = request.get(PROBLEM)
    line: dict[str, Any] = {
        "method": request.method,
        "operation": name,
        **(request.get(RECORD) or {"path": _path(request)}),
        **request.get(COUNTS, {}),
        **({} if status is None else {"status": status}),
        **({} if outcome is None else {"outcome": outcome}),
        **({"reason": reason} if reason else {}),
        **({"doubt": problem.doubt.value} if isinstance(problem, Doubtful) else {}),
        "remote": request.get(_ORIGIN) or plain(request.remote or ""),
        "ms": round(seconds * 1000, 2),
    }
    if outcome is None:
        _log.log(level, "request", **line)
        return
    request.app[WRITES].add(name or "none", outcome, seconds)
    request.app[AUDIT].add(structlog.contextvars.get_contextvars() | line)
    _audit.log(level, "write", **line)


def _path(request: web.Request) -> str:
    """The path of a request that is about no record; never its query, which may have secrets."""
    path = request.rel_url.raw_path
    if path.startswith(_CERTIFICATES):  # what is no hash may be a key that someone has pasted
        return f"{_CERTIFICATES}…"
    return path[:_MOST_PATH]


def _record(request: web.Request) -> dict[str, str]:
    """The record that the path names, for a request that was refused before any handler."""
    for parameter, (name, resource) in _RECORDS.items():
        if parameter in request.match_info and (found := path_id(request, resource)) is not None:
            return {name: found}
    return {}


def _header(request: web.Request, name: str) -> bytes | None:
    """A header's value; several values are joined, in a form that no credentials have."""
    values = request.headers.getall(name, [])
    return ", ".join(values).encode("utf-8", "surrogateescape") if values else None


async def _answer(
    request: web.Request, handler: Handler, request_id: str
) -> tuple[web.StreamResponse, str | None]:
    try:
        response = await handler(request)
    except Problem as problem:
        request[PROBLEM] = problem
        if isinstance(problem, Doubtful):
            request.app[DOUBTS][problem.doubt] += 1
        return problem_reply(problem), problem.reason
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return http_error_reply(error), error.reason
    except Exception:  # noqa: BLE001 whatever it is, the caller gets an answer and the log the rest
        _log.exception("unexpected error")
        error_text = f"Unexpected error; the log tells more under request id {request_id}."
        return status_reply(HTTPStatus.INTERNAL_SERVER_ERROR, error_text), "unexpected error"
    broken_off = request.get(PROBLEM)
    return response, None if broken_off is None else broken_off.reason


def _outcome(request: web.Request, status: int) -> str:
    """How a write ended: one of `telemetry.metrics.OUTCOMES`."""
    problem = request.get(PROBLEM)
    if problem is None and status < HTTPStatus.BAD_REQUEST:
        return "done"
    if status < HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(problem, Unavailable):
        return "refused"
    if isinstance(problem, OutcomeUnknown):
        return "unknown"
    return "unavailable" if isinstance(problem, Unavailable) else "error"


def _is_quiet(request: web.Request) -> bool:
    """Whether failures are too frequent and too ordinary to log: lookups and health probes."""
    name = request.match_info.route.name
    return name is not None and name.startswith(("lookup", "health"))


def _level(status: int) -> int:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.ERROR
    return logging.WARNING if status >= HTTPStatus.BAD_REQUEST else logging.INFO

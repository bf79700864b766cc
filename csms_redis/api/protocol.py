"""aiohttp's HTTP/1 protocol, whose own error replies are turned into `Status` replies."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import ERROR, RequestHandler

from csms_redis.access.addresses import plain
from csms_redis.api.replies import http_error_reply, status_reply, without_body
from csms_redis.lookup.front import other_protocols
from csms_redis.lookup.front.bodiless import BY_DEFAULT, MOST, Bodiless
from csms_redis.lookup.front.response_heads import CACHING

LINGERING = 1.0
"""Seconds for which a body that was answered before its end is still read, so that no reset
overtakes the answer; then its connection closes."""

_NEVER = 1e8  # seconds: the front protocol closes idle connections, not aiohttp
_log = structlog.get_logger()


class NoAccessLog(AbstractAccessLogger):
    """No line per request: lookups come by the thousand, writes log themselves."""

    @property
    def enabled(self) -> bool:
        """Switch the access log off, which also spares aiohttp reading the clock."""
        return False

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write no line."""


class StatusRequestHandler(RequestHandler):
    """Serves one connection for as long as aiohttp has it.

    It answers what never reaches the application: bytes that are not HTTP, and expectations that
    cannot be met. It does not decide when the connection goes back to the front protocol; the
    hand-over does.

    Attributes:
        begun: the bytes that have arrived since the last answer, or the first of them.
        closes: whether the connection is to end with its next answer, as in a drain.
    """

    __slots__ = ("_answered", "_bodiless", "begun", "closes")

    def __init__(
        self,
        server: web.Server,
        answered: Callable[[bool], None],
        bodiless: Bodiless = BY_DEFAULT,
    ) -> None:
        """Serve the application of `server`.

        Args:
            server: aiohttp's, of the running application.
            answered: called when an answer has been written, with whether the connection stays.
            bodiless: which clients are refused without a body.
        """
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_NEVER,
            lingering_time=LINGERING,
            access_log_class=NoAccessLog,
            auto_decompress=False,  # compressed bodies are refused
        )
        self._answered = answered
        self._bodiless = bodiless
        self.begun = b""
        self.closes = False

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._current_request is not None or bool(self._messages)

    def data_received(self, data: bytes) -> None:
        """Take bytes as the base class does, and keep the first, which name the user agent."""
        if len(self.begun) < MOST:
            self.begun += data[:MOST]
        super().data_received(data)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer and log without a word of the input, which `message` and `exc` quote."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the reply has left already")
        if isinstance(exc, UnicodeEncodeError) and "Expect" in request.headers:
            # aiohttp wanted to quote the expectation, and cannot write what is not UTF-8
            return http_error_reply(web.HTTPExpectationFailed())
        reason, remote = type(exc).__name__ if exc else None, plain(request.remote or "")
        if status == HTTPStatus.BAD_REQUEST:
            protocol = other_protocols.of_request(self.begun)
            told = {} if protocol is None else {"speaks": protocol.name, "advice": protocol.advice}
            _log.warning("bad request", status=status, reason=reason, remote=remote, **told)
            text = (
                "A line of the request's head is too long."
                if isinstance(exc, LineTooLong)
                else "The request is not valid HTTP/1.1 (RFC 9112)."
            )
        else:
            _log.error("unexpected error", status=status, reason=reason, remote=remote)
            text = "Unexpected error; the log tells more."
        response = status_reply(HTTPStatus(status), text)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write a reply; an error that aiohttp raised outside the middleware becomes a `Status`."""
        if isinstance(resp, web.HTTPException) and resp.status >= HTTPStatus.BAD_REQUEST:
            resp = http_error_reply(resp)
        if resp.status != HTTPStatus.OK and self._is_bodiless(request, resp.status):
            without_body(resp)
        self.begun = b""
        resp.headers["Server"] = "csms-redis"
        resp.headers["Cache-Control"] = CACHING
        if self.closes and not self._messages:
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        self._answered(bool(resp.keep_alive))
        return finished

    def _is_bodiless(self, request: web.BaseRequest, status: int) -> bool:
        if request._message is ERROR:  # noqa: SLF001 nothing else tells that there is no request
            return self._bodiless.applies_to_begun(self.begun)
        agent = request.headers.get("User-Agent", "")
        target = request.rel_url.raw_path_qs
        return self._bodiless.applies_to_refusal(
            request.method, target.encode(), agent.encode(errors="replace"), status
        )

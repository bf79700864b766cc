"""Requests to a service, whose answers become results and errors as Redis' own would be."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from secrets import token_hex
from typing import NamedTuple, NoReturn

import orjson
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    TCPConnector,
    TraceConfig,
)
from yarl import URL

from csms_redis import __version__
from csms_redis.contract.errors import (
    BadRequest,
    Conflict,
    Gone,
    NotFound,
    OutcomeUnknown,
    Problem,
    Unavailable,
)
from csms_redis.contract.operations import BASE_PATH
from csms_redis.remote.address import BadAddress, ServiceAddress
from csms_redis.remote.failure import UnusableService

_CONNECT = 10.0  # seconds
_SILENT = 90.0  # seconds without a byte, after which an answer is given up
_MOST_ERROR = 2**16  # bytes of an answer that is read for its error
_MOST_SHOWN = 1000  # characters of it
_NO_PATH = "There is no such path"  # how `Status` of an unknown path begins
_PROBLEMS: Mapping[int, type[Problem]] = {
    HTTPStatus.BAD_REQUEST: BadRequest,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Gone,
    HTTPStatus.SERVICE_UNAVAILABLE: Unavailable,
}
_GATEWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)
_WHO = "say who you are with --user and --secret-file, or CSMS_SERVER_USER and CSMS_SERVER_SECRET"


class Answer(NamedTuple):
    """An answer that a request was meant to get.

    Attributes:
        body: of it.
        headers: by name, in any case.
    """

    body: bytes
    headers: Mapping[str, str]


class Session:
    """Sends requests to one service. It knows HTTP, and nothing of records."""

    def __init__(
        self, address: ServiceAddress, http: ClientSession, connected: asyncio.Event
    ) -> None:
        """Send to an address; `open_session` makes one.

        Args:
            address: where the service is.
            http: sends the requests.
            connected: is set once there was a connection.
        """
        self.url = address.url
        self._http = http
        self._connected = connected
        self._reached = False  # whether the service has ever answered, or taken a request

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        """Read what is at a path below the API's base path.

        Raises:
            Problem: as the service says, or `Unavailable` where it does not answer.
            UnusableService: it was never reached, or refuses this client.
        """
        return await self.send("GET", path, query)

    async def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        """Send a request; a write whose answer does not come raises `OutcomeUnknown`."""
        async with self.stream(method, path, query, body, content_type) as response:
            return Answer(await response.read(), response.headers)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> AsyncIterator[ClientResponse]:
        """Send a request, whose answer is read in the block."""
        target = URL(f"{self.url}{BASE_PATH}{path}", encoded=True)
        if query:
            target = target.with_query(dict(query))
        headers = {} if body is None else {"Content-Type": content_type}
        with self._failures(writes=method != "GET"):
            async with self._http.request(
                method, target, data=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                    said = await response.content.read(_MOST_ERROR)
                    self._refuse(response, said, writes=method != "GET")
                self._reached = True
                yield response

    @contextmanager
    def _failures(self, *, writes: bool) -> Iterator[None]:
        """Turn what goes wrong on the way into an error for people."""
        try:
            yield
        except ClientConnectorError as error:
            reason = f"{self.url}: cannot be reached: {_reason(error)}"
            # a request may be under way that it has taken, before it went away
            if self._reached or self._connected.is_set():
                raise Unavailable(f"{reason}.") from None
            raise UnusableService(reason) from None
        except (ClientError, TimeoutError, OSError) as error:
            what = "did not answer in time" if isinstance(error, TimeoutError) else "broke off"
            if writes:
                self._reached = True  # if only for a moment: the same is worth another try
                raise OutcomeUnknown(
                    f"{self.url}: {what}. The change may have been made: look, or repeat it."
                ) from None
            if self._reached:
                raise Unavailable(f"{self.url}: {what}.") from None
            hint = "" if isinstance(error, TimeoutError) else _hint(self.url)
            raise UnusableService(f"{self.url}: {what}{hint}") from None

    def _refuse(self, response: ClientResponse, said: bytes, *, writes: bool) -> NoReturn:
        """Raise what an answer other than success means."""
        error = _error_of(said)
        status = response.status
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}:
            hint = f" ({_WHO})" if status == HTTPStatus.UNAUTHORIZED else ""
            raise UnusableService(f"{self.url}: {error or HTTPStatus(status).phrase}{hint}")
        problem = _PROBLEMS.get(status)
        if problem is not None and error and not error.startswith(_NO_PATH):
            self._reached = True
            raise problem(error)
        if status in {*_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE}:  # of a balancer before it
            text = f"{self.url}: the service is away ({status})."
            raise OutcomeUnknown(text) if writes else Unavailable(text)
        if status < HTTPStatus.BAD_REQUEST:
            where = "to another address" if "Location" in response.headers else "elsewhere"
            raise UnusableService(f"{self.url}: leads {where}; name the service's own address")
        if status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            raise UnusableService(
                f"{self.url}: has no such operation: it is no csms-redis, or an older one"
            )
        raise UnusableService(f"{self.url}: {error or f'answered {status}'}")


@asynccontextmanager
async def open_session(address: ServiceAddress) -> AsyncIterator[Session]:
    """Connect to a service until the block ends.

    Raises:
        UnusableService: the address, or a file that goes with it, cannot be used.
    """
    headers = {
        "User-Agent": f"csms-redis/{__version__}",
        "Accept-Encoding": "identity",
        "X-Request-Id": token_hex(16),  # the service's log shows what belongs to one command
    }
    if (authorization := address.authorization) is not None:
        headers["Authorization"] = authorization
    try:
        connector = TCPConnector(ssl=address.tls())
    except BadAddress as bad:
        raise UnusableService(str(bad)) from None
    timeout = ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_SILENT)
    connected = asyncio.Event()

    async def connection_made(*_: object) -> None:
        connected.set()

    tracing = TraceConfig()
    tracing.on_connection_create_end.append(connection_made)
    async with ClientSession(
        connector=connector, headers=headers, timeout=timeout, trace_configs=[tracing]
    ) as http:
        # else a DELETE or PUT without an answer is sent twice, and the second finds nothing
        http._retry_connection = False  # noqa: SLF001 there is no other way
        yield Session(address, http, connected)


def _error_of(said: bytes) -> str:
    """The error of a `Status`, on one line; empty where there is none."""
    try:
        body = orjson.loads(said)
    except orjson.JSONDecodeError:
        return ""
    error = body.get("error") if isinstance(body, dict) else None
    return " ".join(error.split())[:_MOST_SHOWN] if isinstance(error, str) else ""


def _reason(error: ClientConnectorError) -> str:
    if isinstance(error, ClientConnectorDNSError):
        return "there is no such host"
    if isinstance(error, ClientConnectorCertificateError):
        failed = error.certificate_error
        why = getattr(failed, "verify_message", None) or "it is not valid"
        return f"its certificate is not trusted: {why}; --ca-file names the authority"
    if isinstance(error, ClientConnectorSSLError):
        why = getattr(error.os_error, "reason", None) or "no TLS there"
        hint = ": is it http:// there?" if why == "WRONG_VERSION_NUMBER" else ""
        return f"TLS failed ({why}){hint}"
    cause = error.os_error
    if isinstance(cause, ssl.SSLError):
        return "TLS failed"
    return os.strerror(cause.errno).lower() if cause.errno else "no connection"


def _hint(url: str) -> str:
    other = "https" if url.startswith("http:") else "http"
    return f": is it a csms-redis, and is it {other}:// there?"

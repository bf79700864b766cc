"""Every way a request can fail, as the reply its caller sees (contract: schema `Status`)."""

from http import HTTPStatus

_CHALLENGE = 'Basic realm="csms-redis", charset="UTF-8", Bearer realm="csms-redis"'
"""RFC 9110, 11.6.1: both schemes in one field; RFC 7617, 2.1: names and secrets are UTF-8."""


class Problem(Exception):
    """A request that cannot be answered as asked; becomes a `Status` reply."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, error: str, *, reason: str | None = None) -> None:
        """Keep the texts for the caller and for the log.

        Args:
            error: what is wrong and what to do, for the caller; never a secret.
            reason: the same for the log, where `error` repeats something of the request.
        """
        super().__init__(error)
        self.error = error
        self.reason = error if reason is None else reason

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the reply carries besides its own."""
        return {}


class BadRequest(Problem):
    """The caller's input breaks the contract."""

    status = HTTPStatus.BAD_REQUEST


class Unauthorized(Problem):
    """Nobody is known by these credentials (RFC 9110, 15.5.2)."""

    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, error: str, *, wrong: bool = False) -> None:
        """Note whether credentials were `wrong`; otherwise the request had no credentials."""
        super().__init__(error)
        self.wrong = wrong

    @property
    def headers(self) -> dict[str, str]:
        """The challenges; a Bearer's tells of a wrong one (RFC 6750, 3.1)."""
        return {"WWW-Authenticate": _CHALLENGE + (', error="invalid_token"' if self.wrong else "")}


class Forbidden(Problem):
    """The caller is known and has not the role (RFC 9110, 15.5.4)."""

    status = HTTPStatus.FORBIDDEN

    @property
    def headers(self) -> dict[str, str]:
        """The challenges, and why others are needed (RFC 6750, 3.1)."""
        return {"WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope"'}


class CrossSite(Problem):
    """A browser sends it, and a page of another site may have asked for it."""

    status = HTTPStatus.FORBIDDEN


class NotFound(Problem):
    """There is no such record."""

    status = HTTPStatus.NOT_FOUND


class Conflict(Problem):
    """Where the record would be stored is something else (RFC 9110, 15.5.10)."""

    status = HTTPStatus.CONFLICT


class Gone(Problem):
    """A cursor cannot be continued: what it refers to has changed."""

    status = HTTPStatus.GONE


class RequestTimeout(Problem):
    """The request did not arrive in time."""

    status = HTTPStatus.REQUEST_TIMEOUT


class UnsupportedMediaType(Problem):
    """The body is not JSON."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class TooManyRequests(Problem):
    """Too many wrong credentials came from this address (RFC 6585, 4)."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, retry_after: int) -> None:
        """Ask the caller to wait `retry_after` seconds before the next attempt."""
        super().__init__("Too many attempts with wrong credentials; right ones are always taken.")
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After`, in seconds (RFC 9110, 10.2.3)."""
        return {"Retry-After": str(self.retry_after)}


class Unavailable(Problem):
    """Redis is away; nothing was changed."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after = 1  # seconds

    def __init__(self, error: str, *, lasting: bool = False) -> None:
        """Say whether it is `lasting`: until an operator does something, to repeat it is no use."""
        super().__init__(error)
        self.lasting = lasting

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After`, in seconds (RFC 9110, 10.2.3)."""
        return {"Retry-After": str(self.retry_after)}


class OutcomeUnknown(Unavailable):
    """A write was sent and its fate is not known; it may have been applied."""

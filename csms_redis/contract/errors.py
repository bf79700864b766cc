"""Every way a request can fail, as the reply its caller sees (contract: schema `Status`)."""

from http import HTTPStatus


class Problem(Exception):
    """A request that cannot be answered as asked; becomes a `Status` reply."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, error: str) -> None:
        """Keep `error`: what is wrong and what to do, for the caller; never a secret."""
        super().__init__(error)
        self.error = error

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the reply carries besides its own."""
        return {}


class BadRequest(Problem):
    """The caller's input breaks the contract."""

    status = HTTPStatus.BAD_REQUEST


class NotFound(Problem):
    """There is no such record."""

    status = HTTPStatus.NOT_FOUND


class RequestTimeout(Problem):
    """The request did not arrive in time."""

    status = HTTPStatus.REQUEST_TIMEOUT


class UnsupportedMediaType(Problem):
    """The body is not JSON."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class Unavailable(Problem):
    """Redis is away; nothing was changed."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after = 1  # seconds

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After`, in seconds (RFC 9110, 10.2.3)."""
        return {"Retry-After": str(self.retry_after)}


class OutcomeUnknown(Unavailable):
    """A write was sent and its fate is not known; it may have been applied."""

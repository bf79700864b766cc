"""Reading a request's JSON body within bounds of size and time."""

import asyncio
from typing import TypeVar

from aiohttp import web

from csms_redis.api.replies import JSON
from csms_redis.contract.errors import BadRequest, RequestTimeout, UnsupportedMediaType
from csms_redis.contract.models import ContractModel

Model = TypeVar("Model", bound=ContractModel)


class BodyReader:
    """Reads a request's body, and checks it; a body that is wrong is raised as a `Problem`."""

    def __init__(self, *, strict: bool, timeout: float) -> None:
        """Prepare.

        Args:
            strict: whether doubtful bodies are refused (`[api] strict`).
            timeout: seconds within which a whole body must have arrived.
        """
        self._strict = strict
        self._timeout = timeout

    async def read(self, request: web.Request, model: type[Model]) -> Model:
        """Read a body, and check it.

        Raises:
            UnsupportedMediaType: the body is declared as something else than JSON, or compressed.
            RequestTimeout: the body did not arrive in time.
            BadRequest: the body is not what the contract says, or the client has left.
            aiohttp.web.HTTPRequestEntityTooLarge: it is longer than `server.max_body`.
        """
        if request.headers.get("Content-Type") != JSON:
            _refuse_other_media(request)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("The body must not be compressed: no Content-Encoding.")
        try:
            if request.content.is_eof():
                body = await request.read()
            else:
                async with asyncio.timeout(self._timeout):
                    body = await request.read()
        except TimeoutError:
            raise RequestTimeout(
                "The request body did not arrive in time; send it again."
            ) from None
        except (web.RequestPayloadError, ConnectionError):
            raise BadRequest("The request body ended early, or its framing is wrong.") from None
        return model.read(body, strict=self._strict)


def _refuse_other_media(request: web.Request) -> None:
    """Refuse a body that is not JSON in UTF-8; one without Content-Type is taken for JSON."""
    if "Content-Type" in request.headers and request.content_type != JSON:
        raise UnsupportedMediaType("The body must be JSON: send Content-Type: application/json.")
    charset = (request.charset or "utf-8").lower().replace("_", "-")
    if charset not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaType("JSON is UTF-8: leave the charset out of Content-Type.")

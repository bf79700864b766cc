"""Routes that always answer the same bytes: the files of the pages."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web


def constant(
    body: bytes, content_type: str, headers: Mapping[str, str]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make a handler that answers `body`."""

    async def serve(request: web.Request) -> web.Response:
        del request
        return web.Response(body=body, content_type=content_type, headers=headers)

    return serve

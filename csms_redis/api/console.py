"""`/console`: the operator's page, served from the package; `/` leads a browser to it."""

from importlib.resources import files

import orjson
from aiohttp import web

from csms_redis.api.files import constant

_TYPES = {
    "css": "text/css",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "svg": "image/svg+xml",
}
# Everything comes from here and goes nowhere else, and nothing stands in the page itself.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def add_console(router: web.UrlDispatcher) -> None:
    """Add the routes of the page and of its files."""
    folder = files("csms_redis.api") / "console"
    page = (folder / "page.html").read_bytes()
    for path in ("/", "/console/"):
        router.add_route("*", path, _lead_to_console)
    router.add_get("/console", constant(page, "text/html", _HEADERS), name="console")
    lock = orjson.loads((folder / "vendor" / "lock.json").read_bytes())
    names = [file.name for file in folder.iterdir()]
    names += [f"vendor/{each}/{name}" for each, of in lock.items() for name in of["files"]]
    for name in names:
        if content_type := _TYPES.get(name.rpartition(".")[2]):
            serve = constant((folder / name).read_bytes(), content_type, _HEADERS)
            router.add_get(f"/console/{name}", serve)


async def _lead_to_console(request: web.Request) -> web.Response:
    is_read = request.method in {"GET", "HEAD"}
    if not is_read or "text/html" not in request.headers.get("Accept", ""):
        raise web.HTTPNotFound
    return web.Response(status=302, headers={"Location": "/console", "Vary": "Accept"})

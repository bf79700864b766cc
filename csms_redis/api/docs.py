"""`/docs`: Swagger UI, served from the package, and the OpenAPI document it shows."""

from collections.abc import Awaitable, Callable
from importlib.resources import files

import orjson
from aiohttp import web

from csms_redis import __version__
from csms_redis.api.replies import JSON
from csms_redis.contract.openapi import document

OPENAPI_PATH = "/api/openapi.json"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>csms-redis: API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = f"""SwaggerUIBundle({{
  url: "{OPENAPI_PATH}",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null,
}});
"""
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
# Nothing may be loaded from or sent to another origin; Swagger UI writes inline styles and icons.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def add_docs(router: web.UrlDispatcher) -> None:
    """Add the routes of the OpenAPI document and of the page that shows the document."""
    openapi = orjson.dumps(document(__version__))
    router.add_get(OPENAPI_PATH, _constant(openapi, JSON))
    router.add_get("/docs", _constant(_PAGE.encode(), "text/html"))
    router.add_get("/docs/start.js", _constant(_START.encode(), "text/javascript"))
    folder = files("csms_redis.api") / "swagger_ui"
    for name, content_type in _ASSETS.items():
        router.add_get(f"/docs/{name}", _constant((folder / name).read_bytes(), content_type))


def _constant(body: bytes, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def serve(request: web.Request) -> web.Response:
        del request
        return web.Response(body=body, content_type=content_type, headers=_HEADERS)

    return serve

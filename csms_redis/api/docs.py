"""`/docs`: Swagger UI, served from the package, and the OpenAPI document it shows."""

from importlib.resources import files

import orjson
from aiohttp import web

from csms_redis import __version__
from csms_redis.api.cross_site import REQUESTED_BY
from csms_redis.api.files import constant
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
  requestInterceptor(request) {{
    request.headers["{REQUESTED_BY}"] = "csms-redis docs";
    return request;
  }},
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
    router.add_get(OPENAPI_PATH, constant(openapi, JSON, _HEADERS))
    router.add_get("/docs", constant(_PAGE.encode(), "text/html", _HEADERS))
    router.add_get("/docs/start.js", constant(_START.encode(), "text/javascript", _HEADERS))
    folder = files("csms_redis.api") / "swagger_ui"
    for name, content_type in _ASSETS.items():
        serve = constant((folder / name).read_bytes(), content_type, _HEADERS)
        router.add_get(f"/docs/{name}", serve)

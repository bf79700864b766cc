"""The obvious way: aiohttp handlers that use Redis through redis-py, and check nothing."""

import json
import sys
from collections.abc import AsyncIterator

from aiohttp import web
from redis.asyncio import Redis

_REDIS = web.AppKey("redis", Redis)


async def auth(request: web.Request) -> web.Response:
    """Answer a station's credentials."""
    record = await request.app[_REDIS].hgetall(f"cs:{request.match_info['csId']}")
    if not record:
        return web.json_response({"status": "Not Found", "error": "no such station"}, status=404)
    return web.json_response(
        {
            name: json.loads(record[name])
            for name in ("securityProfile", "base64SHA256Password")
            if name in record
        }
    )


async def register(request: web.Request) -> web.Response:
    """Store a station's credentials."""
    auth = await request.json()
    record = {name: json.dumps(value) for name, value in auth.items()}
    await request.app[_REDIS].hset(f"cs:{request.match_info['csId']}", mapping=record)
    return web.Response(status=201)


def make_app(redis_url: str) -> web.Application:
    """Build the application over one pool of Redis connections."""

    async def redis(app: web.Application) -> AsyncIterator[None]:
        async with Redis.from_url(redis_url, decode_responses=True) as app[_REDIS]:
            yield

    app = web.Application()
    app.cleanup_ctx.append(redis)
    app.router.add_get("/api/v0/cs/{csId}/auth", auth)
    app.router.add_post("/api/v0/cs/{csId}", register)
    return app


if __name__ == "__main__":
    web.run_app(
        make_app(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None
    )

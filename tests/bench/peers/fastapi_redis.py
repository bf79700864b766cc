"""The obvious way in FastAPI: a handler that asks Redis through redis-py; uvicorn runs it."""

import json
import os
from typing import Any

from fastapi import FastAPI, HTTPException  # type: ignore[import-not-found, unused-ignore]
from redis.asyncio import Redis

redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
app = FastAPI()


async def auth(cs_id: str) -> dict[str, Any]:
    """Answer a station's credentials."""
    record = await redis.hgetall(f"cs:{cs_id}")
    if not record:
        raise HTTPException(status_code=404, detail="no such station")
    return {
        name: json.loads(record[name])
        for name in ("securityProfile", "base64SHA256Password")
        if name in record
    }


app.get("/api/v0/cs/{cs_id}/auth")(auth)

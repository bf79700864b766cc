"""Whether Redis can be reached, asked again and again."""

import asyncio
import random

import structlog

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.client import RedisClient

_INTERVAL = 1.0  # seconds
_log = structlog.get_logger()


class RedisMonitor:
    """Pings Redis each second and says in the log when it comes and goes."""

    def __init__(self, redis: RedisClient, address: str) -> None:
        """Watch `redis`, called `address` in the log."""
        self._redis = redis
        self._address = address
        self.problem: str | None = "has not been reached yet"

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(_INTERVAL * random.uniform(0.8, 1.2))  # noqa: S311 jitter

    async def check(self) -> None:
        """Ask once."""
        before = self.problem
        try:
            await self._redis.read("PING")
        except Unavailable:
            self.problem = "cannot be reached"
        else:
            self.problem = None
        if self.problem != before:
            log = _log.warning if self.problem else _log.info
            log(f"Redis {self.problem or 'reached'}", redis=self._address)

"""A service before a Valkey, and a proxy between them that has faults; lookups without a pause."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any, NamedTuple

from redis import Redis

from tests.conftest import Service, Valkey
from tests.support.http_client import HttpClient, connections
from tests.support.redis_proxy import RedisProxy

CACHED = 50
COLD = 1000
OUTAGE = 4.0  # seconds: the lease is over after three
CACHED_WANTED, COLD_WANTED, RECOVERY_WANTED = 0.02, 0.3, 2.0  # seconds
SLACK = 10
RECORD: dict[Any, Any] = {"securityProfile": "1", "registrationStatus": '"Pending"'}


class Seen(NamedTuple):
    """A lookup and its answer."""

    at: float  # when it was asked
    seconds: float
    status: int
    says_when: bool


@dataclass
class Site:
    """A service, its Valkey and what is between them."""

    valkey: Valkey
    admin: Redis
    proxy: RedisProxy
    service: Service
    cached: list[Seen] = field(default_factory=list)
    cold: list[Seen] = field(default_factory=list)

    def store(self) -> None:
        """Write every station, past the service."""
        with self.admin.pipeline(transaction=False) as pipeline:
            for name in [f"cached-{n}" for n in range(CACHED)] + [f"cold-{n}" for n in range(COLD)]:
                pipeline.hset(f"cs:{name}", mapping=RECORD)
            pipeline.execute()

    def replace(self, name: str) -> None:
        """Write one station anew, past the service."""
        with self.admin.pipeline() as pipeline:
            pipeline.delete(f"cs:{name}")
            pipeline.hset(f"cs:{name}", mapping=RECORD)
            pipeline.execute()

    def is_proved(self) -> bool:
        """Whether the service says that Redis is there."""
        return self.service.request("GET", "/health/ready").status == 200


async def ask(client: HttpClient, cs_id: str) -> Seen:
    at = monotonic()
    answer = await client.get(f"/cs/{cs_id}/auth")
    return Seen(at, monotonic() - at, answer.status, answer.says_when)


@asynccontextmanager
async def watched(site: Site) -> AsyncIterator[None]:
    """Cache some stations and go on asking for them, and for others, one new one each time."""

    async def ask_cached() -> None:
        for number in count():
            site.cached.append(await ask(warm, f"cached-{number % CACHED}"))
            await asyncio.sleep(0.004)

    async def ask_cold() -> None:
        for number in range(COLD):
            site.cold.append(await ask(other, f"cold-{number}"))
            await asyncio.sleep(0.04)

    async with connections(site.service, 2) as (warm, other):
        for number in range(CACHED):
            assert (await ask(warm, f"cached-{number}")).status == 200
        tasks = [asyncio.create_task(ask_cached()), asyncio.create_task(ask_cold())]
        try:
            await asyncio.sleep(0.2)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

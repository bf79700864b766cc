"""Lookups that are kept connected to one server by a supervisor, as in the service."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import cast

import pytest
from redis import Redis

from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.shared import Shared
from csms_redis.lookup.reading.supervisor import Supervisor
from csms_redis.redis.address import Address
from csms_redis.redis.standalone import Standalone
from csms_redis.registry.layout import Layout
from tests.conftest import PATIENCE
from tests.support.wire import (
    lease_of,
)

INTERVAL = 0.05
PROBE_TIMEOUT = 0.2
PASSWORD = "Str0ng:p@ss/w#rd?"


@asynccontextmanager
async def supervised(
    lookups: Lookups,
    path: str | Path,
    *,
    user: str | None = None,
    password: str | None = None,
    prefix: bytes = b"",
    layout: "FakeLayout | None" = None,
) -> AsyncIterator[Supervisor]:
    """Keep `lookups` connected while the block runs; nothing of it stays behind."""
    before = asyncio.all_tasks()
    address = Address(path=str(path), username=user, password=password)
    topology = lookups.topology
    assert isinstance(topology, Standalone)
    topology.__init__(address)  # type: ignore[misc] # all parts of `lookups` have this one
    supervisor = Supervisor(
        Shared(lookups=lookups, prefix=prefix, timeout=1, layout=cast("Layout | None", layout))
    )
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert asyncio.all_tasks() - before == set()


class FakeLayout:
    """Admits, and keeps what it is told."""

    key = b"p:layout"

    def __init__(self) -> None:
        self.changes = 0
        self.unwatched_since: list[Address] = []

    async def admit(self, master: Address) -> None:
        del master

    def changed(self) -> None:
        self.changes += 1

    def is_at(self, master: Address) -> bool:
        del master
        return False

    def unwatched(self, master: Address) -> None:
        self.unwatched_since.append(master)


def may_only(admin: Redis, *commands: str) -> None:
    """Make the user `gate`, who may do this and no more."""
    made = admin.acl_setuser(
        "gate", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], commands=list(commands)
    )
    assert made


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, what
        await asyncio.sleep(0.005)


async def leased(lookups: Lookups) -> None:
    await until(lambda: lease_of(lookups) > monotonic(), "the connection is proved")


async def away(supervisor: Supervisor, problem: str | None) -> None:
    await until(
        lambda: supervisor.problem == problem, f"{problem!r}, but it is {supervisor.problem!r}"
    )

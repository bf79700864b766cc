"""Which Redis servers take writes, and which of them a key belongs to.

One module for each way in which Redis is run keeps that known: `standalone`, `sentinel`, `cluster`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from time import monotonic
from typing import ClassVar, TypeAlias

import structlog

from csms_redis.redis.address import Address

Changed: TypeAlias = Callable[[Collection[int] | None], None]
"""Told of each change of the masters or of what belongs to them, after it: the slots that have
another master now, None for all."""

POLL = 1.0
"""Seconds between looks at the topology, while nothing gives reason to doubt it."""


_log = structlog.get_logger()


class Topology(ABC):
    """The masters of a Redis deployment, kept known.

    A topology knows who is a master and which keys the master has. It sends no command of the
    service and keeps no record.
    """

    clustered: ClassVar[bool] = False
    """Whether each master has slots of its own, and tells which (`CLUSTER NODES`)."""

    def __init__(self) -> None:
        """Know no master yet; `look` or `run` finds them."""
        self.masters: tuple[Address, ...] = ()
        self.problem: str | None = "has not been reached yet"
        """For the operator, why the masters are not known or not confirmed; None when they are."""
        self.orphaned = 0.0
        """Which part of all keys has no master now by others' word, between 0 and 1."""
        self.changed: list[Changed] = []
        self._doubted = asyncio.Event()

    @abstractmethod
    def owner(self, key: bytes) -> Address | None:
        """The master that a key belongs to, as far as is known."""

    @abstractmethod
    def confirmed(self, master: Address) -> float:
        """When someone else last said that this is a master (monotonic seconds)."""

    @abstractmethod
    async def look(self) -> None:
        """Find the masters out, within a second or two.

        `problem` tells what cannot be found out; nothing is raised.
        """

    async def run(self) -> None:
        """Keep the masters known until cancelled; log when they change or cannot be confirmed."""
        masters: tuple[Address, ...] = ()
        problem: str | None = None
        while True:
            await self.look()
            if self.masters != masters:
                masters = self.masters
                _log.info("Redis's masters", redis=str(self), masters=", ".join(map(str, masters)))
            if self.problem != problem:
                problem = self.problem
                if problem:
                    _log.warning("Redis's masters are in doubt", redis=str(self), reason=problem)
                else:
                    _log.info("Redis's masters are certain", redis=str(self))
            await self._until_doubted(POLL)

    def share(self, masters: Collection[Address]) -> float:
        """Which part of all keys belongs to some of the masters, between 0 and 1."""
        return float(bool(self.masters) and set(self.masters) <= set(masters))

    def masters_of(self, slots: Collection[int]) -> Collection[Address]:
        """The masters of some slots; all masters where there are no slots."""
        del slots
        return self.masters

    def slots_of(self, master: Address) -> set[int]:
        """The slots of a master; none where there are no slots."""
        del master
        return set()

    def doubt(self) -> None:
        """Something failed that should not: look again soon."""
        self._doubted.set()

    def moved(self, key: bytes, to: Address) -> None:
        """A server that was asked for a key says that it now belongs to the one at `to`."""
        del key, to
        self.doubt()

    async def owner_after(self, key: bytes, former: Address, *, within: float) -> Address | None:
        """Wait until a key has another master, because the former one says that it is a replica.

        Args:
            key: of the record.
            former: the master that says so.
            within: seconds to wait.

        Returns:
            The other master; None where no other master is known in time.
        """
        deadline = monotonic() + within
        while (owner := self.owner(key)) in {None, former} and monotonic() < deadline:
            self.doubt()
            await asyncio.sleep(_SHORTEST / 2)
        return None if owner == former else owner

    def canonical(self, address: Address) -> Address:
        """A server's address as `masters` has it, for one by which a redirection may call it."""
        return address

    def sample_key(self, master: Address, start: bytes) -> bytes | None:
        """A key that belongs to a master, existing or not; None where no such key can be.

        Args:
            master: one of `masters`.
            start: what the key must start with.
        """
        del master
        return start

    @property
    def own_connections(self) -> int:
        """How many connections the topology itself may have open at once."""
        return 0

    async def close(self) -> None:  # noqa: B027 most have none
        """Close the topology's own connections."""

    def _notify(self, slots: Collection[int] | None) -> None:
        for changed in self.changed:
            changed(slots)

    async def _until_doubted(self, seconds: float) -> None:
        """Wait; shorter when there is reason to look again, but never so short that it is busy."""
        try:
            async with asyncio.timeout(seconds):
                await self._doubted.wait()
                await asyncio.sleep(_SHORTEST)
        except TimeoutError:
            pass
        self._doubted.clear()


_SHORTEST = 0.05  # seconds between two looks

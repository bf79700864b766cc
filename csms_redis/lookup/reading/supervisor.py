"""Keeps one read connection to each master of the topology."""

import asyncio
from collections.abc import Collection
from time import monotonic

import structlog

from csms_redis.lookup.reading.link import Link
from csms_redis.lookup.reading.shared import Shared
from csms_redis.lookup.reading.sources import Source
from csms_redis.redis.address import Address

PATIENCE = 10.0
"""Seconds after the start in which a process waits for all of Redis, before a part is enough."""

_log = structlog.get_logger()


class Supervisor:
    """Connects `Lookups` to every master there is, while they come and go.

    It makes a `Link` for each and ends it; what goes over a connection is the link's concern, and
    which masters there are the topology's.
    """

    def __init__(self, shared: Shared) -> None:
        """Connect the lookups to the masters of their topology.

        Args:
            shared: what each link is given.
        """
        self._shared = shared
        self._topology = shared.lookups.topology
        self._events = shared.lookups.events
        self._links: dict[Address, tuple[Link, asyncio.Task[None]]] = {}
        self._began = monotonic()
        self._has_started = False
        self._moved = asyncio.Event()
        self._disowned = asyncio.Event()
        self.preload = shared.lookups.preload(self.has_started)
        """What keeps all records read; None where that is switched off."""
        self._topology.changed.append(self._topology_changed)

    @property
    def problem(self) -> str | None:
        """What is wrong, for the operator; None when every master is read from."""
        problems = {
            master: link.problem for master, (link, _) in self._links.items() if link.problem
        }
        if not problems:
            return self._topology.problem
        master, problem = next(iter(problems.items()))
        if len(self._links) == 1:
            return problem
        return f"{len(problems)} of {len(self._links)} masters: {master} {problem}"

    @property
    def unread(self) -> float:
        """Which part of all records cannot be read now, between 0 and 1."""
        return 1 - self._topology.share(
            {master for master, (link, _) in self._links.items() if link.problem is None}
        )

    def has_started(self) -> bool:
        """Whether this process has been of use since its start, as far as this was asked.

        At first it waits for every master, for it would turn stations away that other processes
        know. It waits no more for what has no master by others' word, and after `PATIENCE` for
        nothing but one master: what is away then may be away for all, and one that is never ready
        would turn a partial outage into a whole one.
        """
        if self._has_started:
            return True
        problem = self.problem
        if problem is None:
            self._has_started = True
        elif (unread := self.unread) < 1 and (
            0 < unread <= self._topology.orphaned or monotonic() >= self._began + PATIENCE
        ):
            self._has_started = True
            _log.warning("ready with a part of Redis", unread=round(unread, 3), reason=problem)
        return self._has_started

    @property
    def links(self) -> dict[str, Link]:
        """Each master's, by the master's address without user and password."""
        return {str(master): link for master, (link, _) in self._links.items()}

    @property
    def certain(self) -> bool:
        """Whether it is known which masters there are."""
        return self._topology.problem is None

    async def run(self) -> None:
        """Follow the topology until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._topology.run())
            tasks.create_task(self._drop_disowned())
            tasks.create_task(self._reread(tasks))
            while True:
                self._moved.clear()
                await self._follow(tasks)
                await self._moved.wait()

    async def _drop_disowned(self) -> None:
        # takes seconds where much is kept, in which masters may come and go
        while True:
            await self._disowned.wait()
            self._disowned.clear()
            await self._events.drop_disowned()

    async def _reread(self, tasks: asyncio.TaskGroup) -> None:
        known: set[Source] = set()
        while True:
            await self._events.reconnected.wait()
            self._events.reconnected.clear()
            if self.preload is None:
                await self._events.reread_stale()
                continue
            sources = set(self._shared.lookups.sources.all)
            for source in sources - known:
                tasks.create_task(self.preload.run(source))
            known = sources

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        """Link what has become a master; leave what is none any more."""
        masters = self._topology.masters
        left = [self._links.pop(gone)[1] for gone in self._links.keys() - set(masters)]
        for task in left:
            task.cancel()
        # what was read through them is stale from here on, and no more to be dropped
        await asyncio.gather(*left, return_exceptions=True)
        for master in masters:
            if master not in self._links:
                link = Link(self._shared, master)
                self._links[master] = link, tasks.create_task(link.run())
        self._events.masters_changed()

    def _topology_changed(self, slots: Collection[int] | None) -> None:
        self._events.slots_changed(slots)
        if slots is not None:
            self._disowned.set()
        for link, _ in self._links.values():
            link.slots_changed()
        self._moved.set()

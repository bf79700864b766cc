"""When the records of a master are read: with each connection to it, and where they are not whole.

A process that has just started is not ready before it has read them (`Preload.is_awaited`). Later
scans wait until it is calm, longer each time while they come to nothing, and not all replicas at
once.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from math import inf
from time import monotonic
from typing import Final, Protocol

import structlog

from csms_redis.lookup.counts import LETTER_OF, LookupCounts
from csms_redis.lookup.known.whole import Whole
from csms_redis.lookup.reading.following import Following
from csms_redis.lookup.reading.read_connection import ConnectionBroken
from csms_redis.lookup.reading.record_scan import IN_HASTE, IN_PASSING, Left, Pace, RecordScan
from csms_redis.lookup.reading.sources import Source, Sources
from csms_redis.redis.address import Address
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.resource import Resource
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN

KINDS: Final = (STATION, CERTIFICATE, TOKEN)
"""In the order in which they are read, and so have a claim to the near cache's room."""


class MakeScan(Protocol):
    """Makes the scan of one kind of record, through a source and at a pace."""

    def __call__(
        self, source: Source, resource: Resource, *, pace: Callable[[], Pace]
    ) -> RecordScan:
        """Make it."""


_NOT_ALL = "not all records are known"
_UNTRACKED = "Redis does not tell of changes"
_HANGS_UP = "Redis hangs up on SCAN"
_TICK = 1.0  # seconds between looks at whether something is to be read again
_CALM = 1000  # changes of a second below which a scan is worth while
_CALM_WITHIN = 30.0  # seconds after which it is begun all the same
_LONGEST = 60.0  # seconds between two scans, at the most
_LASTING = 60.0  # seconds after which a kind that was whole counts as calm
_TELL = 5.0  # seconds between two lines about a scan under way
_TRY_OPEN, _SOME_OPEN = 10, 100  # ticks between two tries to read what is open, and how many
_MOST_HANG_UPS = 2
_log = structlog.get_logger()


class Preload:
    """Keeps the records of every source read, and tells how far that is."""

    def __init__(  # noqa: PLR0913 each is a word about what is read, or when
        self,
        *,
        wait: float,
        sources: Sources,
        counts: LookupCounts,
        following: Following,
        make_scan: MakeScan,
        reread_stale: Callable[[], Awaitable[None]],
        has_started: Callable[[], bool],
    ) -> None:
        """Read nothing yet; `run` does.

        Args:
            wait: seconds that readiness waits for it.
            sources: that there are.
            counts: of changes.
            following: reads again what is open.
            make_scan: makes a scan.
            reread_stale: reads again what is still stale after a scan.
            has_started: whether the process would be ready without this.
        """
        self.counts = counts
        self.following = following
        self.make_scan = make_scan
        self.reread_stale = reread_stale
        self.ready_in_part = False
        """Whether the process became ready before all records were read."""
        self._wait = wait
        self._sources = sources
        self._has_started = has_started
        self._since = inf  # it would have been ready without this (monotonic seconds)
        self._is_awaited = True
        self._hang_ups: dict[Address, int] = {}  # one after the other, on the first SCAN
        self._said: dict[tuple[Address, Resource], str] = {}  # why it was left last

    async def run(self, source: Source) -> None:
        """Keep the records of a source read until its connection ends."""
        if source.lease_until == 0:
            for whole in source.wholes.values():
                whole.leave_off(_UNTRACKED)
            return
        rounds = _Rounds(self, source)
        try:
            hang_ups = self._hang_ups.get(source.master, 0)
            if hang_ups >= _MOST_HANG_UPS:
                for resource in KINDS:
                    self.leave(source, resource, _HANGS_UP)
                await self.reread_stale()
                await rounds.pause(_LONGEST * 2 ** min(hang_ups - _MOST_HANG_UPS, 6))
            await rounds.run()
        except ConnectionBroken:
            if rounds.hung_up:
                self._hang_ups[source.master] = self._hang_ups.get(source.master, 0) + 1
        if rounds.answered:
            self._hang_ups.pop(source.master, None)

    @property
    def is_awaited(self) -> bool:
        """Whether the process is not to be ready before more is read; once False, it stays so."""
        if self._is_awaited and self._has_started():
            now = monotonic()
            self._since = min(self._since, now)
            if all(whole.complete_once for _, _, whole in self._kinds()):
                self._is_awaited = False
            elif now - self._since >= self._wait:
                self._is_awaited = False
                self.ready_in_part = True
                _log.warning("ready before all records are read", seconds=round(self._wait, 1))
        return self._is_awaited

    def pace(self) -> Pace:
        """How fast to read at present."""
        return IN_HASTE if self.is_awaited else IN_PASSING

    @property
    def problem(self) -> str | None:
        """Say what is not whole, for the operator; None if all kinds are."""
        missing = self._sources.missing
        if not self._sources.all and not missing:
            return f"{_NOT_ALL}: Redis' master is not known"
        problems = [f"{master} cannot be read" for master in missing]
        problems += [
            f"the {resource.called}s of {source.master}: {whole.problem}"
            for source, resource, whole in self._kinds()
            if whole.problem is not None
        ]
        return f"{_NOT_ALL}: {'; '.join(problems)}" if problems else None

    @property
    def details(self) -> dict[str, dict[str, dict[str, object]]]:
        """How much is known of each kind of record at each master, by address and by name."""
        found: dict[str, dict[str, dict[str, object]]] = {}
        for master, kind, whole in self.kinds:
            found.setdefault(master, {})[kind] = {
                "whole": whole.is_whole,
                "open": len(whole.open),
                "records": whole.records,
            }
        return found

    @property
    def kinds(self) -> list[tuple[str, str, Whole]]:
        """What is known of each kind at each master: the master's address, and the kind's name."""
        return [(str(source.master), kind.name, whole) for source, kind, whole in self._kinds()]

    def _kinds(self) -> Iterator[tuple[Source, Resource, Whole]]:
        for source in self._sources.all:
            for resource in KINDS:
                yield source, resource, source.wholes[LETTER_OF[resource]]

    def leave(self, source: Source, resource: Resource, problem: str) -> None:
        """Make a kind not whole for now, and say so unless that was said."""
        source.wholes[LETTER_OF[resource]].leave_off(problem)
        if self._said.get((source.master, resource)) != problem:
            self._said[source.master, resource] = problem
            _log.warning(
                _NOT_ALL,
                redis=str(source.master),
                kind=resource.name,
                reason=problem,
                effect="an id that is not known asks Redis",
            )

    def read(self, source: Source, resource: Resource, seconds: float) -> None:
        """Say that all records of a kind were read."""
        self._said.pop((source.master, resource), None)
        whole = source.wholes[LETTER_OF[resource]]
        _log.info(
            "all records are known",
            redis=str(source.master),
            kind=resource.name,
            records=whole.records,
            seconds=round(seconds, 1),
        )


class _Rounds:
    """The scans of one source."""

    def __init__(self, preload: Preload, source: Source) -> None:
        self.answered = False  # whether SCAN ever was
        self.hung_up = False  # whether the connection ended on the first SCAN
        self._preload = preload
        self._source = source
        self._wholes = {each: source.wholes[LETTER_OF[each]] for each in KINDS}
        self._failures = 0  # scans that came to nothing, one after the other
        self._due: dict[Resource, float] = {}  # when the next scan is (monotonic seconds)
        self._whole_since: dict[Resource, float] = {}  # monotonic seconds

    async def run(self) -> None:
        """Scan what is not whole, until the connection ends.

        Raises:
            ConnectionBroken: it has ended.
        """
        while monotonic() >= self._source.lease_until:
            await self.pause(_TICK / 20)
        for resource in KINDS:
            await self._scan(resource)
        # what no scan has named is there no more, but that is to be read
        await self._preload.reread_stale()
        while True:
            for resource in await self._until_due():
                await self._scan(resource)

    async def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            ConnectionBroken: the connection has ended.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._source.connection.ended.wait()
        except TimeoutError:
            return
        raise ConnectionBroken("the connection to Redis ended")

    async def _scan(self, resource: Resource) -> None:
        whole = self._wholes[resource]
        began = told = monotonic()

        def pace() -> Pace:
            nonlocal told
            if monotonic() - told >= _TELL:
                told = monotonic()
                _log.info(
                    "reading all records",
                    redis=str(self._source.master),
                    kind=resource.name,
                    records=whole.records,
                    seconds=round(told - began, 1),
                )
            return self._preload.pace()

        scan = self._preload.make_scan(self._source, resource, pace=pace)
        try:
            await scan.run()
        except Left as left:
            self._preload.leave(self._source, resource, str(left))
        except ConnectionBroken:
            self.hung_up = scan.asked and not (self.answered or scan.answered)
            raise
        finally:
            self.answered = self.answered or scan.answered
        if whole.is_whole:
            self._whole_since[resource] = monotonic()
            self._preload.read(self._source, resource, monotonic() - began)
        else:
            self._put_off(resource)

    def _put_off(self, resource: Resource) -> None:
        self._failures += 1
        seconds = min(2.0**self._failures, _LONGEST)
        self._due[resource] = monotonic() + seconds * random.uniform(0.5, 1)  # noqa: S311 jitter

    async def _until_due(self) -> list[Resource]:
        """Wait until something is to be read again and it is calm, or not for long."""
        counts = self._preload.counts
        ticks = 0
        while True:
            before = counts.invalidations
            await self.pause(_TICK)
            ticks += 1
            if ticks % _TRY_OPEN == 0:
                self._try_open()
            now = monotonic()
            for resource, whole in self._wholes.items():
                if not whole.is_whole and resource not in self._due:
                    self._ended(resource, whole.problem or "")
            due = [resource for resource, at in self._due.items() if now >= at]
            calm = counts.invalidations - before < _CALM
            if due and (calm or now - min(self._due.values()) >= _CALM_WITHIN):
                for resource in due:
                    del self._due[resource]
                return due

    def _ended(self, resource: Resource, problem: str) -> None:
        if monotonic() - self._whole_since.get(resource, inf) >= _LASTING:
            self._failures = 0
        self._put_off(resource)
        _log.info(
            "not all records are known any more",
            redis=str(self._source.master),
            kind=resource.name,
            reason=problem,
        )

    def _try_open(self) -> None:
        """Read again some of what could not be read, such as one that was just being moved."""
        for whole in self._wholes.values():
            for target in list(whole.open)[:_SOME_OPEN]:
                whole.open[target] = whole.open.pop(target)
                self._preload.following.add(target)

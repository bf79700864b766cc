"""Mixed load on running services, recorded; it runs in a thread beside the faults."""

import asyncio
import random
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import cycle
from typing import Any, Self, TypeVar

from tests.conftest import wait_for
from tests.support.topologies.clients import ANSWER, Pool
from tests.support.topologies.history import History
from tests.support.topologies.load_records import (
    ADDING_CHANGES,
    AGAIN,
    CHANGES,
    FRESH,
    LAST,
    LoadRecords,
)
from tests.support.topologies.load_requests import (
    each_of,
    found_in_redis,
    outcome_of,
    read_record,
    sender,
)
from tests.support.topologies.records import Change, Record
from tests.support.topologies.seen import (
    MASTER,
    OVER,
    Group,
    Lookup,
    Outcome,
    State,
    Version,
    Write,
)
from tests.support.topologies.topology import Topology

T = TypeVar("T")
LONGEST = 600.0  # seconds for preparing, and for reading all in the end


class Workload:
    """Writers and readers; the block seeds and warms, `start` begins the load.

    A service that is not reachable any more is no reason to stop.
    """

    def __init__(
        self,
        *urls: str,
        cached: int = 200,
        cold: int = 3000,
        writers: int = 8,
        keys: int = 20,
        cached_rate: float = 200,
        other_rate: float = 60,
        written_rate: float = 60,
        write_rate: float = 60,
        repeater: str = "",
        fresh: float = FRESH,
        slack: float | None = None,
        removes: bool = True,
        seed: int = 1,
    ) -> None:
        """Prepare.

        Args:
            urls: of services over the same Redis; each gets its share, and each write of a record
                may go through another one.
            cached: how many stations are looked up before and stay as they are.
            cold: how many stations are there to be looked up once; unknown ones come between them.
            writers: how many writes are under way at once, at most.
            keys: how many records each writer has.
            cached_rate: lookups of cached stations in each second.
            other_rate: lookups of cold and unknown stations.
            written_rate: lookups of records that are being written.
            write_rate: writes.
            repeater: of a service that gets no writes but deletions that another one could not
                confirm, so that its connections have written nothing that replicas lack.
            fresh: the share of writes that make a new record.
            slack: `History.slack`; by default none for one service, else a second.
            removes: whether stations are blocked, allowed and deleted, and tokens deleted. Where
                writes may be lost, that they are gone is no reason to be shown.
            seed: of what is random.
        """
        self._random = random.Random(seed)
        self._writing_pools = [Pool(url) for url in urls]
        self._repeater = Pool(repeater) if repeater else None
        self._pools = self._writing_pools + ([self._repeater] if self._repeater else [])
        self._lookup_pools: list[Pool] = []
        self._rates = {
            Group.CACHED: cached_rate,
            Group.OTHER: other_rate,
            Group.WRITTEN: written_rate,
        }
        self._write_rate = write_rate
        self._new = fresh
        self._changes = CHANGES if removes else ADDING_CHANGES
        self._last = LAST if removes else 0
        self._records = LoadRecords(
            f"load{seed}", cached=cached, cold=cold, writers=writers, keys=keys
        )
        self._history = History(slack=(len(self._pools) > 1) if slack is None else slack)
        self._seeded: dict[str, Version] = {}
        self._versions = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="load", daemon=True)
        self._load: list[asyncio.Task[None]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._writing = True

    @property
    def records(self) -> list[Record]:
        """All that is ever written."""
        return self._records.written

    @property
    def hot(self) -> list[Record]:
        """Those that are written again and again."""
        return self._records.hot

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._run(self._prepare())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(TimeoutError):
            self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T], timeout: float = LONGEST) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    async def _prepare(self) -> None:
        pools = cycle(self._writing_pools)
        await each_of(self.records, lambda record: self._make(next(pools), record))
        for pool in self._pools:
            await each_of(self._records.cached, partial(self._warm, pool))

    async def _make(self, pool: Pool, record: Record) -> None:
        """Write a record until that is acknowledged: the service may only just be starting."""
        deadline = time.monotonic() + ANSWER
        while (made := await self._write(pool, record)).outcome is not Outcome.ACKNOWLEDGED:
            assert time.monotonic() < deadline, f"{pool.url} does not take {made}"
            await asyncio.sleep(0.05)
        self._seeded[record.path] = made.version

    async def _warm(self, pool: Pool, record: Record) -> None:
        version = await read_record(pool, record)
        assert version == self._seeded[record.path], f"{record.path} has {version}"

    def start(self) -> None:
        """Begin the load."""
        self._run(self._start())

    async def _start(self) -> None:
        rates = self._rates
        self._load = [
            asyncio.ensure_future(self._look_up(group, rates[group], one))
            for group, one in (
                (Group.CACHED, self._choices(self._records.cached)),
                (Group.OTHER, self._others()),
                (Group.WRITTEN, self._choices(self._records.hot)),
            )
            if rates[group]
        ] + [
            asyncio.ensure_future(self._keep_writing(owned))
            for owned in self._records.owned
            if self._write_rate
        ]

    def _choices(self, records: list[Record]) -> Iterator[tuple[Record, int]]:
        while True:
            yield self._random.choice(records), 200

    def _others(self) -> Iterator[tuple[Record, int]]:
        """Two known stations, each once, then one that nobody knows; in the end only such."""
        known = iter(self._records.cold)
        while True:
            for station in (next(known, None), next(known, None)):
                if station is not None:
                    yield station, 200
            yield self._records.unknown(), 404

    def mark(self, moment: str) -> None:
        """Say that it is now `FAULT`, `MASTER` or `OVER`."""
        self._history.marks[moment] = time.monotonic()

    def wait_until_normal(self, calm: int = 20, *, seconds: float = 30) -> None:
        """Wait until `calm` other lookups in a row are answered without an error, then mark OVER.

        Only those count that began after MASTER, if that was marked, else after now.
        """
        since = self._history.marks.get(MASTER, time.monotonic())

        def normal() -> bool:
            lookups = self._history.lookups[-20 * calm :]
            ends = [one for one in lookups if one.group is Group.OTHER and one.start >= since]
            return len(ends) >= calm and all(one.right for one in ends[-calm:])

        wait_for(normal, "lookups are answered again", seconds=seconds)
        self.mark(OVER)

    def wait_for_answers(self, count: int, status: int, *, seconds: float = 30) -> None:
        """Wait until so many more of the other lookups got this status; 0 is no answer."""
        before = len(self._history.lookups)

        def answered() -> bool:
            lookups = self._history.lookups[before:]
            others = [one for one in lookups if one.group is Group.OTHER]
            return sum(one.status == status for one in others) >= count

        wait_for(answered, f"{count} lookups get {status}", seconds=seconds)

    def wait_for_writes(self, count: int = 20, *, seconds: float = 30) -> None:
        """Wait until so many more writes are acknowledged."""
        self.wait_for_writes_of(Outcome.ACKNOWLEDGED, count, seconds=seconds)

    def wait_for_writes_of(self, outcome: Outcome, count: int, *, seconds: float = 30) -> None:
        """Wait until so many more writes have this outcome."""
        before = len(self._history.writes)

        def written() -> bool:
            return sum(one.outcome is outcome for one in self._history.writes[before:]) >= count

        wait_for(written, f"{count} writes are {outcome.value}", seconds=seconds)

    def wait_for_lookups(self, count: int, *, seconds: float = 60) -> None:
        """Wait until so many more lookups are answered."""
        before = len(self._history.lookups)
        wait_for(
            lambda: len(self._history.lookups) >= before + count,
            f"{count} lookups are answered",
            seconds=seconds,
        )

    def seeded(self, record: Record) -> int:
        """The version of a record before the load."""
        version = self._seeded[record.path]
        assert version is not None
        return version

    def note(self, states: Mapping[Record, State], began: float) -> None:
        """Someone else has just put these states into Redis, all at once, from `began` on."""
        end = time.monotonic()
        for record, (version, blocked) in states.items():
            write = Write(record.path, version, began, end, Outcome.ACKNOWLEDGED)
            self._history.writes.append(write)
            if record.kind == "station" and version is not None:
                self._history.writes.append(write._replace(version=None, blocks=blocked))

    def have_a_job(self, *changes: Change) -> list[Write]:
        """Have a job make changes to every cached station, which must all be refused."""
        return self._run(self._work_off(changes))

    async def _work_off(self, changes: Iterable[Change]) -> list[Write]:
        """One after the other, as a script does."""
        return [
            await self._write(self._random.choice(self._writing_pools), record, change)
            for record in self._records.cached
            for change in changes
        ]

    def stop(self, topology: Topology | None = None) -> History:
        """End the load, read all that was written, and give the history.

        Args:
            topology: which is read as well as every service; it must have masters.
        """
        self._run(self._stop())
        if topology is not None:
            self._history.found["Redis"] = found_in_redis(topology, self.records)
        return self._history

    async def _stop(self) -> None:
        await self._end()
        for pool in self._pools:
            found: dict[str, Version] = {}
            self._history.found[pool.url] = found

            async def read(record: Record, pool: Pool = pool, found: Any = found) -> None:
                found[record.path] = await read_record(pool, record)

            await each_of(self.records, read)

    async def _end(self) -> None:
        """Let what is under way come to its end."""
        self._writing = False
        for task in self._load:
            if task.get_name() == "lookups":
                task.cancel()
        await asyncio.gather(*self._load, return_exceptions=True)
        for task in self._load:
            if not task.cancelled() and (error := task.exception()):
                self._history.wrong.append(f"the load broke: {error!r}")
        self._load.clear()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        for pool in (*self._pools, *self._lookup_pools):
            pool.close()

    async def _look_up(
        self, group: Group, rate: float, records: Iterator[tuple[Record, int]]
    ) -> None:
        """Send lookups at this rate, however slowly they are answered."""
        task = asyncio.current_task()
        assert task is not None
        task.set_name("lookups")
        own = [Pool(pool.url) for pool in self._pools]
        self._lookup_pools += own
        pools = cycle(own)
        due = time.monotonic()
        for record, status in records:
            due += 1 / rate
            await asyncio.sleep(max(due - time.monotonic(), 0))
            self._history.lags.append(time.monotonic() - due)
            self._look_up_soon(next(pools), group, record, status)

    def _look_up_soon(self, pool: Pool, group: Group, record: Record, status: int) -> None:
        one = asyncio.ensure_future(self._look_up_one(pool, group, record, status))
        self._under_way.add(one)
        one.add_done_callback(self._under_way.discard)

    async def _look_up_one(self, pool: Pool, group: Group, record: Record, status: int) -> None:
        start = time.monotonic()
        got, version = 0, None
        with suppress(OSError):
            start, answer = await pool.request(lambda client: client.get(record.path))
            got = answer.status
            try:
                version = record.answered(answer)
            except (ValueError, KeyError) as error:
                self._history.wrong.append(repr(error))
        end = time.monotonic()
        if got not in {0, 200, 404, 503}:
            self._history.wrong.append(f"{record.path}: status {got}")
        expected = (status, self._seeded.get(record.path))
        self._history.lookups.append(Lookup(record.path, group, start, end, got, version, expected))

    async def _keep_writing(self, owned: list[Record]) -> None:
        """Write one's own records, one after the other, not faster than one's share."""
        pause = len(self._records.owned) / self._write_rate
        due = time.monotonic() + self._random.uniform(0, pause)
        fresh: Record | None = None
        last: Write | None = None
        record = owned[0]
        change: Change = "register"
        while self._writing:
            await asyncio.sleep(max(due - time.monotonic(), 0))
            due = max(due + pause, time.monotonic())
            pool = self._random.choice(self._writing_pools)
            again = last is not None and last.outcome is Outcome.UNKNOWN
            if again and self._random.random() < AGAIN:
                pool = self._repeater if self._repeater and change == "delete" else pool
            elif fresh is not None and self._random.random() < self._last:
                record, fresh = fresh, None
                change = self._random.choice(["block", "delete"])
            elif self._random.random() < self._new:
                record, change = self._records.new(), "register"
                fresh = record
            else:
                record = self._random.choice(owned)
                change = self._random.choice(self._changes[record.kind])
            last = await self._write(pool, record, change)
            self._look_up_soon(self._random.choice(self._pools), Group.WRITTEN, record, 200)

    async def _write(self, pool: Pool, record: Record, change: Change = "register") -> Write:
        """Send one write, once, and record it."""
        self._versions += 1
        version = self._versions if change == "register" else None
        blocks = {"block": True, "allow": False}.get(change)
        send = sender(record, change, self._versions)
        start, outcome, missing = time.monotonic(), Outcome.UNKNOWN, False
        try:
            start, answer = await pool.request(send)
            outcome = outcome_of(answer, change)
            if outcome is Outcome.UNKNOWN and answer.status != 503:
                self._history.wrong.append(f"{record.path}: to {change} it: {answer.status}")
            missing = answer.status == 404
        except ConnectionRefusedError:
            outcome = Outcome.REFUSED
            await asyncio.sleep(0.01)
        except OSError:
            pass
        end = time.monotonic()
        write = Write(record.path, version, start, end, outcome, missing, blocks)
        self._history.writes.append(write)
        return write

"""`csms-redis import`: rows are read and checked in a thread, and stored many at a time."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TypeVar

from csms_redis.contract.errors import BadRequest, Conflict, Unavailable
from csms_redis.fleet.formats import Source
from csms_redis.fleet.kinds import Kind
from csms_redis.fleet.progress import Meter
from csms_redis.fleet.rejects import Rejects
from csms_redis.fleet.rows import Unreadable
from csms_redis.fleet.store import FleetError, pauses, store
from csms_redis.redis.client import RedisClient
from csms_redis.registry.data_set import DataSet
from csms_redis.registry.resource import Record, now, replace_all
from csms_redis.settings import Settings

_BATCH = 500  # records
_BATCH_BYTES = 2**20
_AT_ONCE = 4  # batches that are being stored
_AHEAD = 2  # batches that wait for it

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked for besides the sources."""

    rejects: Path | None = None  # None: beside each source
    all_or_nothing: bool = False
    dry_run: bool = False
    only_new: bool = False


@dataclass(slots=True)
class Import:
    """What came of it.

    Attributes:
        read: rows.
        written: records that are stored.
        existing: records that were there and were left alone.
        rejected: rows that are none.
        rejects: the files in which those are.
        doubts: what the contract allows and no gateway can use: where it was first, how often.
        seconds: that it took.
    """

    read: int = 0
    written: int = 0
    existing: int = 0
    rejected: int = 0
    rejects: list[Path] = field(default_factory=list)
    doubts: dict[str, tuple[str, int]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Batch:
    """Records with different keys, to be stored together."""

    records: dict[bytes, Record]


async def import_(
    kind: Kind, sources: Sequence[Source], settings: Settings, options: Options
) -> Import:
    """Check all rows of the sources and store what passes.

    A row whose id is that of an earlier one replaces it, as two requests would.

    Raises:
        BadSettings, EmbeddedError: the settings or the embedded store cannot be used.
        FleetError: a source cannot be read or changed after it was checked, or Redis cannot be
            written; what was stored stays.
    """
    work = _Work(kind, sources, settings, options)
    began = monotonic()
    try:
        for source in sources:
            source.measure()
        if options.dry_run or options.all_or_nothing:
            await work.check("checking")
        if not (options.dry_run or (options.all_or_nothing and work.result.rejected)):
            checked = work.result.read
            async with store(settings.redis) as redis:
                # so that what is imported into a copy differs from what it is a copy of
                await DataSet(redis, settings.redis.key_prefix.encode()).renew()
                await work.store(redis)
            if options.all_or_nothing and (work.result.read != checked or work.result.rejected):
                raise FleetError(
                    f"a source changed after its {checked} rows were checked: {work.result.read} "
                    f"were read then, {work.result.rejected} of them rejected{work.so_far}"
                )
    except OSError as error:
        name = error.filename if isinstance(error.filename, str | Path) else "a source"
        raise FleetError(f"{name}: {error.strerror or 'cannot be read'}{work.so_far}") from None
    except _GaveUp as error:
        raise FleetError(f"{error}{work.so_far}") from None
    except asyncio.CancelledError:
        raise asyncio.CancelledError(f"interrupted{work.so_far}") from None
    work.result.seconds = monotonic() - began
    return work.result


class _GaveUp(Exception):
    """Redis stayed away, or refuses what is written."""


class _Work:
    """One import under way."""

    def __init__(
        self, kind: Kind, sources: Sequence[Source], settings: Settings, options: Options
    ) -> None:
        self.result = Import()
        self._kind = kind
        self._sources = sources
        self._api = settings.api
        self._prefix = settings.redis.key_prefix.encode()
        self._options = options

    @property
    def so_far(self) -> str:
        """What to say when it ends early."""
        return f"; {self.result.written} were written, repeat the import to write the rest"

    async def check(self, doing: str) -> None:
        """Check all."""
        self.result = Import()
        with Meter(doing, lambda: (self.result.read, self._part)) as meter:
            async for _ in in_thread(self._batches):
                meter.show()

    async def store(self, redis: RedisClient) -> None:
        """Check and store all.

        Raises:
            _GaveUp: Redis stayed away, or refuses what is written until an operator looks at it.
        """
        self.result = Import()
        stored: set[asyncio.Task[None]] = set()
        under_way: set[bytes] = set()

        async def finish(most: int) -> None:
            nonlocal stored
            while len(stored) > most:
                done, stored = await asyncio.wait(stored, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()

        async def write(batch: _Batch) -> None:
            await self._write(redis, list(batch.records.values()))
            under_way.difference_update(batch.records)

        with Meter("importing", lambda: (self.result.read, self._part)) as meter:
            try:
                async for batch in in_thread(self._batches):
                    # of two rows for one record the later must win
                    together = under_way.isdisjoint(batch.records)
                    await finish(_AT_ONCE - 1 if together else 0)
                    under_way.update(batch.records)
                    stored.add(asyncio.create_task(write(batch)))
                    meter.show()
                await finish(0)
            finally:
                for task in stored:
                    task.cancel()
                await asyncio.gather(*stored, return_exceptions=True)

    async def _write(self, redis: RedisClient, records: list[Record]) -> None:
        waiting = pauses()
        while True:
            replies = await replace_all(redis, records, only_new=self._options.only_new)
            failed, failure = [], Unavailable("")
            conflict: Conflict | None = None
            for record, reply in zip(records, replies, strict=True):
                if isinstance(reply, Unavailable):
                    failed.append(record)
                    failure = failure if failure.lasting else reply
                elif isinstance(reply, Conflict):
                    conflict = reply
                elif reply:
                    self.result.written += 1
                else:
                    self.result.existing += 1
            if conflict is not None:
                raise _GaveUp(conflict.error.removesuffix("."))
            if not failed:
                return
            records = failed
            pause = None if failure.lasting else next(waiting, None)
            if pause is None:
                raise _GaveUp(failure.error.split(". ")[0].rstrip("."))
            await asyncio.sleep(pause)

    @property
    def _part(self) -> float | None:
        """Which part of the sources is read."""
        totals = [source.total for source in self._sources]
        if None in totals:
            return None
        whole = sum(total or 0 for total in totals)
        return sum(source.done for source in self._sources) / whole if whole else 1.0

    # In a thread

    def _batches(self) -> Iterator[_Batch]:
        """Read and check; rejects what does not pass."""
        common = self._options.rejects
        if common is not None:
            with closing(Rejects(common)) as rejects:
                for source in self._sources:
                    yield from self._read(source, rejects)
            self._note(rejects)
            return
        for source in self._sources:
            with closing(Rejects(source.rejects)) as rejects:
                yield from self._read(source, rejects)
            self._note(rejects)

    def _note(self, rejects: Rejects) -> None:
        if rejects.count:
            self.result.rejects.append(rejects.path)

    def _read(self, source: Source, rejects: Rejects) -> Iterator[_Batch]:
        result, kind = self.result, self._kind
        records: dict[bytes, Record] = {}
        size = 0
        updated = now()
        for row in source.rows():
            result.read += 1
            if isinstance(row, Unreadable):
                result.rejected += 1
                rejects.add(row, row.reason)
                continue
            try:
                checked = kind.check(row.data, api=self._api, prefix=self._prefix, now=updated)
            except BadRequest as bad:
                result.rejected += 1
                rejects.add(row, bad.error, kind.tell(row.data))
                continue
            for doubt in checked.doubts:
                first, count = result.doubts.get(doubt, (f"{row.source}:{row.line}", 0))
                result.doubts[doubt] = first, count + 1
            record = checked.record
            if record.key in records or len(records) == _BATCH or size > _BATCH_BYTES:
                yield _Batch(records)
                records, size = {}, 0
                updated = now()
            records[record.key] = record
            size += sum(map(len, record.fields.values()))
        if records:
            yield _Batch(records)


async def in_thread(items: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
    """Iterate in a thread, a little ahead, so that a source that is slow holds nobody up."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    left = threading.Event()

    def work() -> None:
        end: BaseException | None = None
        try:
            with closing(items()) as iterator:  # type: ignore[type-var] # all are generators
                for item in iterator:
                    room.acquire()
                    if left.is_set():
                        return
                    loop.call_soon_threadsafe(queue.put_nowait, (item,))
        except BaseException as error:  # noqa: BLE001 it goes on in the other thread
            end = error
        with suppress(RuntimeError):  # the loop is closed, nobody waits any more
            loop.call_soon_threadsafe(queue.put_nowait, end)

    # a daemon, for Ctrl-C must end what waits for standard input
    threading.Thread(target=work, daemon=True).start()
    try:
        while isinstance(got := await queue.get(), tuple):
            room.release()
            yield got[0]
        if got is not None:
            raise got
    finally:
        left.set()
        room.release()

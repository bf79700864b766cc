"""`csms-redis import`: a thread reads and checks rows, and records are stored many at a time."""

import asyncio
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from csms_redis.contract.doubts import Doubt, Doubtful, refuse_any
from csms_redis.contract.errors import BadRequest, Problem, Unavailable
from csms_redis.fleet.failure import TransferFailed, UnusableSource
from csms_redis.fleet.in_thread import in_thread
from csms_redis.fleet.progress import Meter
from csms_redis.fleet.rejects import Rejects
from csms_redis.fleet.results import DoubtfulRows, ImportOptions, ImportResult
from csms_redis.fleet.rows import Row, Unreadable
from csms_redis.fleet.sources import Source
from csms_redis.redis.retries import Retries
from csms_redis.registry.resource import Record, Stored, Written
from csms_redis.rows.kinds import Checked, Kind
from csms_redis.settings import ApiSettings

_BATCH_BYTES = 2**20
_STORED_AT_ONCE = 4  # batches

_FRACTION = re.compile(r"\.(\d+)", re.ASCII)  # of a second
_NO_PASSWORD = Doubt.PROFILE_WITHOUT_PASSWORD


@dataclass(frozen=True, slots=True)
class _Batch:
    """Records that are stored together; no two of them have the same key.

    Attributes:
        records: by key.
        rows: each record's, by key, and where it goes if it is rejected.
    """

    records: dict[bytes, Record] = field(default_factory=dict)
    rows: dict[bytes, tuple[Row, Rejects]] = field(default_factory=dict)


class Writable(Protocol):
    """Where many records can be stored."""

    async def store_all(
        self, kind: Kind, records: Sequence[Record], *, only_new: bool
    ) -> Sequence[Written | Problem]:
        """Store records, no two of them with one key.

        Returns:
            For each what became of it, or why it was not stored; `Unavailable` where it is not
            known, and may be tried again.
        """


class Registry(Protocol):
    """Where the records of an import go.

    Attributes:
        api: what is allowed there.
        prefix: of the keys of records that are made for it.
        together: how many records are best stored at once.
    """

    @property
    def api(self) -> ApiSettings: ...

    @property
    def prefix(self) -> bytes: ...

    @property
    def together(self) -> int: ...

    def now(self) -> bytes:
        """The `lastUpdated`, as JSON, of a row that has none."""

    def importing(self) -> AbstractAsyncContextManager[Writable]:
        """Open it for an import, until the block ends."""


async def import_records(
    kind: Kind, sources: Sequence[Source], registry: Registry, options: ImportOptions
) -> ImportResult:
    """Check all rows of the sources, and store the records of those that pass.

    A row with the id of an earlier row replaces its record, as a second request would.

    Args:
        kind: of the records.
        sources: what is read, in order.
        registry: where the records go.
        options: how to import.

    Raises:
        TransferFailed: a source cannot be read, or changed after it was checked, or Redis cannot
            be written. What was stored stays.
    """
    run = _Run(kind, sources, registry, options)
    began = monotonic()
    try:
        for source in sources:
            source.measure()
            source.check_header()
        if options.dry_run or options.all_or_nothing:
            await run.check("checking")
        if not (options.dry_run or (options.all_or_nothing and run.result.rejected)):
            checked = run.result.read
            async with registry.importing() as writable:
                await run.store(writable)
            if options.all_or_nothing and (run.result.read != checked or run.result.rejected):
                raise TransferFailed(
                    f"a source changed after its {checked} rows were checked: {run.result.read} "
                    f"were read then, {run.result.rejected} of them rejected{run.so_far}"
                )
    except OSError as error:
        name = error.filename if isinstance(error.filename, str | Path) else "a source"
        raise TransferFailed(f"{name}: {error.strerror or 'cannot be read'}{run.so_far}") from None
    except (_GaveUp, UnusableSource) as error:
        raise TransferFailed(f"{error}{run.so_far}") from None
    except asyncio.CancelledError:
        raise asyncio.CancelledError(f"interrupted{run.so_far}") from None
    run.result.seconds = monotonic() - began
    return run.result


class _GaveUp(Exception):
    """The registry stayed away too long, or refuses what is written."""


class _Run:
    """One import under way.

    A thread runs `_batches`, which reads and checks rows; the event loop stores the batches. Both
    change `result`, each its own attributes, and both reject rows.

    Attributes:
        result: what is done so far.
    """

    def __init__(
        self, kind: Kind, sources: Sequence[Source], registry: Registry, options: ImportOptions
    ) -> None:
        self.result = ImportResult()
        self._kind = kind
        self._sources = sources
        self._api = registry.api
        self._prefix = registry.prefix
        self._now = registry.now
        self._together = registry.together
        self._options = options
        self._rejects: list[Rejects] = []
        self._newest: dict[bytes, bytes] = {}  # by key: when a token was updated, and whose it is
        self._rejecting = threading.Lock()

    @property
    def so_far(self) -> str:
        """What an error says of the records that are stored by now."""
        return f"; {self.result.written} were written, repeat the import to write the rest"

    async def check(self, doing: str) -> None:
        """Check all rows; `doing` is the word for it on the terminal."""
        meter = Meter(doing, lambda: (self.result.read, self._share_read))
        with self._pass(), meter:
            async for _ in in_thread(self._batches):
                meter.show()

    async def store(self, writable: Writable) -> None:
        """Check all rows, and store the records of those that pass.

        Raises:
            _GaveUp: the registry stayed away too long, or refuses what is written until an operator
                acts.
        """
        storing: set[asyncio.Task[None]] = set()
        keys_under_way: set[bytes] = set()

        async def wait_until_at_most(number: int) -> None:
            nonlocal storing
            while len(storing) > number:
                done, storing = await asyncio.wait(storing, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()

        async def write(batch: _Batch) -> None:
            await self._write(writable, batch)
            keys_under_way.difference_update(batch.records)

        meter = Meter("importing", lambda: (self.result.read, self._share_read))
        with self._pass(), meter:
            try:
                async for batch in in_thread(self._batches):
                    # of two rows for one record the later must be stored last
                    independent = keys_under_way.isdisjoint(batch.records)
                    await wait_until_at_most(_STORED_AT_ONCE - 1 if independent else 0)
                    keys_under_way.update(batch.records)
                    storing.add(asyncio.create_task(write(batch)))
                    meter.show()
                await wait_until_at_most(0)
            except (OSError, UnusableSource):
                await wait_until_at_most(0)  # what was read until then is written
                raise
            finally:
                for task in storing:
                    task.cancel()
                await asyncio.gather(*storing, return_exceptions=True)

    @contextmanager
    def _pass(self) -> Iterator[None]:
        """Around one reading of all sources: count anew, and write the files of rejects anew."""
        self.result, self._rejects, self._newest = ImportResult(), [], {}
        try:
            yield
        finally:
            with self._rejecting:
                for rejects in self._rejects:
                    rejects.close()
        self.result.rejects = [rejects.path for rejects in self._rejects if rejects.count]
        for source in self._sources:
            for name, line in source.names.unknown.items():
                self.result.unknown.setdefault(name, f"{source.name}:{line}")

    async def _write(self, writable: Writable, batch: _Batch) -> None:
        records = list(batch.records.values())
        retries = Retries()
        while True:
            replies = await writable.store_all(self._kind, records, only_new=self._options.only_new)
            failed, failure = [], Unavailable("")
            for record, reply in zip(records, replies, strict=True):
                if isinstance(reply, Unavailable):
                    failed.append(record)
                    failure = failure if failure.lasting else reply
                elif isinstance(reply, Problem):
                    self._reject_stored(batch, record, reply.error)
                elif reply.stored:
                    self._count(reply, batch.rows[record.key][0])
                elif reply.lacking:
                    self._reject_stored(batch, record, Doubtful(_NO_PASSWORD).error)
                else:
                    self.result.existing += 1
            if not failed:
                return
            records = failed
            if not await retries.wait(failure):
                raise _GaveUp(failure.error.split(". ")[0].rstrip("."))

    def _count(self, written: Written, row: Row) -> None:
        """Count a record that was stored, and what was removed for it."""
        self.result.written += 1
        self.result.blocked += written.stored is Stored.WITH_KEPT
        if written.removed:  # even an empty update takes more than 1 µs
            self.result.removed.update(written.removed)
        if written.lacking:
            self._doubt(row, _NO_PASSWORD)

    def _reject_stored(self, batch: _Batch, record: Record, reason: str) -> None:
        """Reject the row of a record that cannot be stored beside what is in Redis."""
        if self._options.all_or_nothing:
            raise _GaveUp(reason.removesuffix("."))
        row, rejects = batch.rows[record.key]
        self._reject(rejects, row, reason, row.data)

    def _reject(
        self,
        rejects: Rejects,
        row: Row | Unreadable,
        reason: str,
        data: dict[str, Any] | None = None,
    ) -> None:
        kind = self._kind
        column = row.column if isinstance(row, Unreadable) else kind.column_of(reason)
        shown = None if data is None else kind.without_secrets(data)
        with self._rejecting:
            self.result.rejected += 1
            rejects.add(row, reason, shown, column)

    def _doubt(self, row: Row, doubt: Doubt) -> None:
        with self._rejecting:
            self.result.doubts.setdefault(doubt, DoubtfulRows()).add(row)

    @property
    def _share_read(self) -> float | None:
        """What share of the sources is read, from 0 to 1; None if a source's size is not known."""
        sizes = [source.size for source in self._sources]
        if None in sizes:
            return None
        whole = sum(size or 0 for size in sizes)
        return sum(source.position for source in self._sources) / whole if whole else 1.0

    # What follows runs in the thread.

    def _batches(self) -> Iterator[_Batch]:
        """Read and check all rows; those that do not pass go into a file of rejects."""
        common = self._options.rejects_file
        rejects = self._open_rejects(common) if common is not None else None
        for source in self._sources:
            yield from self._read(source, rejects or self._open_rejects(source.rejects))

    def _open_rejects(self, path: Path) -> Rejects:
        rejects = Rejects(path)
        self._rejects.append(rejects)
        return rejects

    def _read(self, source: Source, rejects: Rejects) -> Iterator[_Batch]:
        result = self.result
        batch = _Batch()
        size = 0
        updated = self._now()
        for row in source.rows():
            result.read += 1
            if isinstance(row, Unreadable):
                self._reject(rejects, row, row.reason, row.data)
                continue
            try:
                checked = self._check(row, updated)
            except BadRequest as bad:
                self._reject(rejects, row, bad.error, row.data)
                continue
            if checked is None:
                continue
            for doubt in row.doubts + checked.doubts:
                self._doubt(row, doubt)
            record = checked.record
            if record.needed and self._options.dry_run:
                self._doubt(row, _NO_PASSWORD)  # unless the station is there with one
            if row.whole and record.key in batch.records:
                size -= sum(map(len, batch.records.pop(record.key).fields.values()))
            if (
                record.key in batch.records
                or len(batch.records) == self._together
                or size > _BATCH_BYTES
            ):
                yield batch
                batch, size = _Batch(), 0
                updated = self._now()
            batch.records[record.key] = record
            batch.rows[record.key] = row, rejects
            size += sum(map(len, record.fields.values()))
        if batch.records:
            yield batch

    def _check(self, row: Row, updated: bytes) -> Checked | None:
        """What a row makes; None for an OCPI token in whose place a newer one stays.

        Raises:
            BadRequest: the row is refused.
        """
        if self._api.strict:
            refuse_any(row.doubts)
        checked = self._kind.check(
            row.data,
            api=self._api,
            prefix=self._prefix,
            now=updated,
            whole=row.whole or self._options.replace,
        )
        if self._kind.newest_stays and (row.whole or row.data.get("lastUpdated")):
            return None if self._is_passed_over(row, checked.record) else checked
        return checked

    def _is_passed_over(self, row: Row, record: Record) -> bool:
        """Whether a token is older than another with its uid, whichever source that is in.

        An OCPI token that does not say when it was updated is older than all that do.

        Raises:
            Doubtful: the other is of another eMSP, and strict mode stores no doubtful record.
        """
        fields = record.fields
        updated = _moment(fields[b"lastUpdated"], row.data.get("lastUpdated"))
        party = fields[b"countryCode"] + fields[b"partyId"]
        before = self._newest.get(record.key)
        if before is not None:
            before_updated, _, before_party = before.partition(b" ")
            if before_party.upper() != party.upper():
                if self._api.strict:
                    raise Doubtful(Doubt.UID_OF_TWO_PARTIES)
                self._doubt(row, Doubt.UID_OF_TWO_PARTIES)
            is_older = updated < before_updated
            self.result.passed_over += row.whole or is_older
            if is_older:
                return True
        self._newest[record.key] = updated + b" " + party
        return False


def _moment(stored: bytes, given: Any) -> bytes:
    """When a token was updated, in a form that sorts; `stored` is that in UTC and whole seconds."""
    if not given:
        return b""
    fraction = _FRACTION.search(given) if "." in given else None
    return stored + fraction[1].rstrip("0").encode() if fraction else stored

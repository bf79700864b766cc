"""`/bulk`: many records at once, as JSON Lines that are streamed both ways."""

import asyncio
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import orjson
from aiohttp import web

from csms_redis.access.control import AccessControl
from csms_redis.api.doubts import DOUBTS
from csms_redis.api.lines import LineStream, read_lines
from csms_redis.api.middleware import COUNTS, PROBLEM, RECORD, Handler, demand
from csms_redis.api.query_strings import read_query
from csms_redis.contract.doubts import Doubt, Doubtful
from csms_redis.contract.errors import (
    BadRequest,
    Conflict,
    OutcomeUnknown,
    Problem,
    RequestTimeout,
    Unavailable,
    UnsupportedMediaType,
)
from csms_redis.contract.models import ChargeStationAuth
from csms_redis.contract.queries import ExportQuery, ImportQuery
from csms_redis.lookup.lookups import Lookups
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.records import CS_ID, RecordStore
from csms_redis.registry.resource import Stored, Written, now
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN
from csms_redis.rows.kinds import CREDENTIAL, Checked, Kind
from csms_redis.settings import ApiSettings, Role

MOST_IMPORTS = 16
"""Imports under way at once in one process; each holds some hundred rows in memory."""

_NO_PASSWORD = Doubt.PROFILE_WITHOUT_PASSWORD
_BATCH = 500  # records that are stored together
_BATCH_BYTES = 2**18  # bytes of rows that are stored together
_ID_PROPERTIES = {STATION: "csId", TOKEN: "uid", CERTIFICATE: "certificateHash"}
_TURN = 0.001  # seconds of checking, after which lookups have their turn
_MEDIA = frozenset(["application/jsonl", "application/x-ndjson", "application/json-lines"])
_NOT_JSON = "is not JSON (RFC 8259, UTF-8)"
_NO_OBJECT = "is not a JSON object"
_BROKEN_OFF = "The rows broke off; those before are dealt with. Send them again."
_FAILED = "Some rows may not have been written, for Redis was away."
_UNREAD = "The client went away and read no more; the rows that are counted are dealt with."
_TOO_LATE = "The rows did not arrive in time; those before are dealt with. Send them again."


class BulkHandlers:
    """The operations on `/bulk`, one of each for a kind of record."""

    def __init__(  # noqa: PLR0913 one keyword for each thing that they use
        self,
        *,
        store: RecordStore,
        lookups: Lookups,
        access_control: AccessControl,
        api: ApiSettings,
        longest: int,
        timeout: float,
    ) -> None:
        """Read and write records.

        Args:
            store: where.
            lookups: are told of what changes.
            access_control: says who may have credentials.
            api: how far the contract is taken.
            longest: bytes of a row.
            timeout: seconds within which more rows must arrive.
        """
        self._store = store
        self._lookups = lookups
        self._access_control = access_control
        self._api = api
        self._longest = longest
        self._timeout = timeout
        self._under_way = 0

    def taking(self, name: str, kind: Kind) -> Handler:
        """Make the handler that imports a kind of record, called `name` in the log."""

        async def handle(request: web.Request) -> web.StreamResponse:
            query = read_query(request, ImportQuery)
            _check_media(request)
            if self._under_way >= MOST_IMPORTS:
                raise Unavailable("Too many imports are under way in this process. Try again.")
            self._under_way += 1
            try:
                return await self._take(request, name, kind, query)
            finally:
                self._under_way -= 1

        return handle

    def giving(self, kind: Kind, *, credentials: bool) -> Handler:
        """Make the handler that exports a kind of record, which may have credentials."""

        async def handle(request: web.Request) -> web.StreamResponse:
            names = [name for name in kind.exported if name != CREDENTIAL]
            if credentials and read_query(request, ExportQuery).credentials:
                await demand(request, self._access_control, Role.GATEWAY)
                names = [*kind.exported]
            return await self._give(request, kind, names)

        return handle

    async def _take(
        self, request: web.Request, name: str, kind: Kind, query: ImportQuery
    ) -> web.StreamResponse:
        length = request.content_length
        # nginx sends no more of a body once its answer has begun
        hold = length is not None and length <= self._longest
        stream = await LineStream.begin(request, hold=hold)
        request[RECORD] = {"kind": name}
        importing = _Import(self._store, self._lookups, self._api, kind, query)
        problem: Problem | None = None
        try:
            try:
                rows = read_lines(request.content, longest=self._longest, within=self._timeout)
                async for told in importing.run(rows):
                    await stream.write(told, at_once=True)
            except TimeoutError:
                problem = RequestTimeout(_TOO_LATE)
            except (web.RequestPayloadError, ConnectionError):
                problem = BadRequest(_BROKEN_OFF)
            if problem is None:
                await stream.end(orjson.dumps({"counts": importing.counts}))
            else:
                stream.response.force_close()
                await stream.end(orjson.dumps({"error": problem.error}))
        except ConnectionError:
            problem = BadRequest(_UNREAD)
        finally:
            request.app[DOUBTS].update(importing.doubts)
            request[COUNTS] = dict(importing.counts)
            if importing.counts["rows"] == 1:  # the log names one record, and counts many
                request[RECORD] |= importing.last
        if problem is None and importing.counts["failed"]:
            problem = OutcomeUnknown(_FAILED)
        if problem is not None:
            request[PROBLEM] = problem
        return stream.response

    async def _give(self, request: web.Request, kind: Kind, names: list[str]) -> web.StreamResponse:
        stream = await LineStream.begin(request)
        written = left_out = 0
        try:
            try:
                if request.method != "HEAD":
                    async for found in self._store.every(kind.resource, names):
                        if found is None:
                            left_out += 1
                            continue
                        written += 1
                        await stream.write(orjson.dumps(_shown(kind, found[1])))
                await stream.end(
                    orjson.dumps({"counts": {"written": written, "leftOut": left_out}})
                )
            except Unavailable as away:
                await stream.end(orjson.dumps({"error": away.error}))
        except ConnectionError:
            pass  # nobody reads the answer
        return stream.response


@dataclass(slots=True)
class _Batch:
    """Rows that are stored together; no two of them are of one record.

    Attributes:
        rows: the line and what was made of it, by the record's key.
        told: what there is to say of each line, in order.
        size: bytes of the rows.
    """

    rows: dict[bytes, tuple[int, Checked]] = field(default_factory=dict)
    told: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    size: int = 0


class _Import:
    """One import under way.

    Attributes:
        counts: how many rows there were, and how many had each outcome.
        doubts: how many rows had each.
        last: the id of the last row's record, by the property's name.
    """

    def __init__(
        self,
        store: RecordStore,
        lookups: Lookups,
        api: ApiSettings,
        kind: Kind,
        query: ImportQuery,
    ) -> None:
        self.counts: Counter[str] = Counter(
            dict.fromkeys(("rows", "written", "existing", "refused", "failed"), 0)
        )
        self.doubts: Counter[Doubt] = Counter()
        self.last: dict[str, str] = {}
        self._store = store
        self._lookups = lookups
        self._api = api
        self._kind = kind
        self._query = query
        self._line = 0

    async def run(self, rows: AsyncIterator[list[bytes | None]]) -> AsyncIterator[bytes]:
        """Check and store rows in order.

        Args:
            rows: lines as they arrive, some at a time; None for one that is too long.

        Yields:
            Lines that tell what became of them, some at a time.
        """
        began = perf_counter()
        async for lines in rows:
            batch = _Batch()
            for line in lines:
                if perf_counter() - began > _TURN:
                    await asyncio.sleep(0)
                    began = perf_counter()
                self._line += 1
                if self._line == 1 and line is not None:
                    line = line.removeprefix(BOM_UTF8)  # noqa: PLW2901 RFC 8259, 8.1 lets it be
                if line is not None and not line.strip():
                    continue
                if len(batch.told) >= _BATCH:  # refused ones, of which none is stored
                    yield await self._stored(batch, self._line - 1)
                    batch = _Batch()
                self.counts["rows"] += 1
                try:
                    checked = self._check(line)
                except BadRequest as bad:
                    self._refuse(batch, self._line, bad)
                    continue
                size = len(line or b"")
                full = len(batch.rows) == _BATCH or batch.size + size > _BATCH_BYTES
                if full or checked.record.key in batch.rows:
                    yield await self._stored(batch, self._line - 1)
                    batch = _Batch()
                batch.rows[checked.record.key] = self._line, checked
                if self.counts["rows"] == 1:
                    self.last = self._named(checked.record.key)
                batch.size += size
            yield await self._stored(batch, self._line)
            began = perf_counter()

    def _check(self, line: bytes | None) -> Checked:
        if line is None:
            raise BadRequest("The row is too long; server.max_body sets the limit.")
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise BadRequest(_NOT_JSON) from None
        if not isinstance(row, dict):
            raise BadRequest(_NO_OBJECT)
        return self._kind.check(
            row, api=self._api, prefix=self._store.prefix, now=now(), whole=self._query.replace
        )

    def _named(self, key: bytes) -> dict[str, str]:
        resource = self._kind.resource
        record_id = resource.id_of(self._store.prefix, key)
        return {} if record_id is None else {_ID_PROPERTIES[resource]: record_id}

    async def _stored(self, batch: _Batch, line: int) -> bytes:
        """Store a batch, and tell what became of its rows; all before and `line` are done then."""
        records = [checked.record for _, checked in batch.rows.values()]
        replies: list[Written | Conflict | Unavailable] = []
        if records:
            with self._lookups.changing_all(record.key for record in records) as unchanged:
                replies = await self._store.store_all(
                    records, only_new=self._query.onlyNew, strict=self._api.strict
                )
                unchanged.update(
                    record.key
                    for record, reply in zip(records, replies, strict=True)
                    if _changed_nothing(reply)
                )
        for (at, checked), reply in zip(batch.rows.values(), replies, strict=True):
            self._add(batch, at, checked, reply)
        batch.told.sort(key=lambda one: one[0])
        told = [orjson.dumps({"line": at, **said}) for at, said in batch.told]
        return b"\n".join((*told, b'{"done":%d}' % line))

    def _add(
        self,
        batch: _Batch,
        line: int,
        checked: Checked,
        reply: Written | Conflict | Unavailable,
    ) -> None:
        """Count a row, and tell of it if there is something to say."""
        if isinstance(reply, Unavailable):
            self.counts["failed"] += 1
            batch.told.append((line, {"outcome": "failed", "error": reply.error}))
        elif isinstance(reply, Conflict):
            self._refuse(batch, line, reply)
        elif reply.stored:
            self.counts["written"] += 1
            doubts = [*checked.doubts, *([_NO_PASSWORD] if reply.lacking else [])]
            self.doubts.update(doubts)
            said: dict[str, Any] = {}
            if reply.stored is Stored.WITH_KEPT:
                said["stays"] = "Rejected"
            if reply.removed:
                said["removed"] = reply.removed
            if doubts:
                said["doubts"] = [doubt.value for doubt in doubts]
            if said:
                batch.told.append((line, {"outcome": "written", **said}))
        elif reply.lacking:
            self._refuse(batch, line, Doubtful(_NO_PASSWORD))
        else:
            self.counts["existing"] += 1
            batch.told.append((line, {"outcome": "existing"}))

    def _refuse(self, batch: _Batch, line: int, problem: Problem) -> None:
        self.counts["refused"] += 1
        if isinstance(problem, Doubtful):
            self.doubts[problem.doubt] += 1
        batch.told.append((line, {"outcome": "refused", "error": problem.error}))


def _shown(kind: Kind, record: dict[str, Any]) -> dict[str, Any]:
    """A record as a line: of a station, what a gateway could take for its auth is in `auth`."""
    if kind.resource is not STATION:
        return record
    auth = {name: record[name] for name in ChargeStationAuth.model_fields if name in record}
    rest = {name: value for name, value in record.items() if name not in auth and name != CS_ID}
    return {CS_ID: record[CS_ID], "auth": auth, **rest}


def _changed_nothing(reply: Written | Conflict | Unavailable) -> bool:
    if isinstance(reply, Written):
        return not reply.stored
    return not isinstance(reply, OutcomeUnknown)


def _check_media(request: web.Request) -> None:
    if "Content-Type" in request.headers and request.content_type not in _MEDIA:
        raise UnsupportedMediaType(
            "The body must be JSON Lines: send Content-Type: application/jsonl."
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed: no Content-Encoding.")

"""Many records at once over a service's API, and what it tells of itself."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from csms_redis.contract.certificates import InvalidCertificate, read_pem
from csms_redis.contract.doubts import Doubt
from csms_redis.contract.errors import BadRequest, OutcomeUnknown, Problem, Unavailable
from csms_redis.contract.queries import MAX_REFUSED
from csms_redis.registry.records import CS_ID
from csms_redis.registry.resource import Record, Stored, Written
from csms_redis.remote.address import ServiceAddress
from csms_redis.remote.failure import UnusableService
from csms_redis.remote.session import Session, open_session
from csms_redis.rows.kinds import CREDENTIAL, KINDS, Kind
from csms_redis.settings import ApiSettings

_LINES = "application/jsonl"
_MOST_BYTES = 200_000  # of one request; balancers let 256 KiB pass, as `server.max_body` says
_NAMES = {kind.resource: name for name, kind in KINDS.items()}
_UPDATED = b"lastUpdated"
_BROKE_OFF = "The service broke off. Some rows may have been written."


class RemoteRegistry:
    """What a service has, over a session."""

    def __init__(self, session: Session) -> None:
        """Ask over a session; `open_registry` makes one."""
        self.session = session

    async def rules(self) -> ApiSettings:
        """How far the service takes the contract."""
        said = _object((await self.session.get("/rules")).body)
        if not isinstance(said.get("strict"), bool):
            raise UnusableService(f"{self.session.url}: is no csms-redis")
        return ApiSettings(strict=said["strict"], any_station_id=said.get("anyStationId") is True)

    async def refused(self) -> list[dict[str, str | int]]:
        """The stations that are refused, the most frequent first."""
        answer = await self.session.get("/refused", {"limit": str(MAX_REFUSED)})
        found: list[dict[str, str | int]] = orjson.loads(answer.body)
        return found

    async def findings(self) -> AsyncIterator[Mapping[str, Any]]:
        """What the service's own check finds, as it finds it."""
        async for line in self._lines("/check", {}):
            yield line

    async def every(
        self, kind: Kind, names: Sequence[str]
    ) -> AsyncIterator[tuple[str, dict[str, Any]] | None]:
        """Read all records of a kind, see `registry.records.RecordStore.every`.

        Raises:
            Unavailable: they cannot be read to the end.
        """
        query = {"credentials": "true"} if CREDENTIAL in names else {}
        async for line in self._lines(f"/bulk/{_NAMES[kind.resource]}", query):
            if isinstance(counts := line.get("counts"), dict):
                for _ in range(counts.get("leftOut", 0)):
                    yield None
                return
            if "error" in line:
                raise Unavailable(str(line["error"]))
            flat = line | line.get("auth", {})
            yield _id_of(kind, flat), {name: flat[name] for name in names if name in flat}
        raise Unavailable(_BROKE_OFF)

    async def store_all(
        self, kind: Kind, records: Sequence[Record], *, only_new: bool
    ) -> Sequence[Written | Problem]:
        """Store records, see `fleet.importing.Writable`."""
        said: dict[bytes, Written | Problem] = {}
        rows = [(record, _row(kind, record)) for record in records]
        for partial in (True, False):
            some: list[tuple[Record, bytes]] = []
            size = 0
            for record, row in rows:
                if record.partial is not partial:
                    continue
                if size + len(row) > _MOST_BYTES and some:
                    said |= await self._store(kind, some, only_new=only_new, replace=not partial)
                    some, size = [], 0
                some.append((record, row))
                size += len(row)
            if some:
                said |= await self._store(kind, some, only_new=only_new, replace=not partial)
        return [said[record.key] for record in records]

    async def _store(
        self, kind: Kind, rows: Sequence[tuple[Record, bytes]], *, only_new: bool, replace: bool
    ) -> dict[bytes, Written | Problem]:
        query = {name: "true" for name, on in (("onlyNew", only_new), ("replace", replace)) if on}
        body = b"".join(row + b"\n" for _, row in rows)
        said: list[Written | Problem] = [OutcomeUnknown(_BROKE_OFF)] * len(rows)
        try:
            answer = await self.session.send(
                "POST", f"/bulk/{_NAMES[kind.resource]}", query, body, _LINES
            )
        except Unavailable as away:
            said = [away] * len(rows)
        else:
            _read_results(answer.body, said)
        return {
            record.key: each._replace(lacking=False)
            if isinstance(each, Written) and each.lacking and not record.needed
            else each
            for (record, _), each in zip(rows, said, strict=True)
        }

    async def _lines(self, path: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """The lines of an answer, as they come."""
        async with self.session.stream("GET", path, query) as response:
            begun = b""
            async for data in response.content.iter_any():
                *lines, begun = (begun + data).split(b"\n")
                for line in lines:
                    if line:
                        yield _object(line)


@asynccontextmanager
async def open_registry(address: ServiceAddress) -> AsyncIterator[RemoteRegistry]:
    """Connect to a service until the block ends."""
    async with open_session(address) as session:
        yield RemoteRegistry(session)


def _read_results(body: bytes, said: list[Written | Problem]) -> None:
    """Put what became of each row into its place."""
    told: dict[int, Mapping[str, Any]] = {}
    done = 0
    for line in body.splitlines():
        each = _object(line)
        if isinstance(at := each.get("line"), int) and 0 < at <= len(said):
            told[at] = each
        elif isinstance(each.get("done"), int):
            done = min(each["done"], len(said))
    for at in range(done):
        said[at] = _PLAIN
    for at, row in told.items():
        said[at - 1] = _result(row)


_PLAIN = Written(Stored.AS_GIVEN)


def _result(row: Mapping[str, Any]) -> Written | Problem:
    match row.get("outcome"):
        case "refused":
            return BadRequest(str(row.get("error", "")))
        case "failed":
            return Unavailable(str(row.get("error", "")))
        case "existing":
            return Written(Stored.LEFT)
    doubts = row.get("doubts") or ()
    return Written(
        Stored.WITH_KEPT if row.get("stays") else Stored.AS_GIVEN,
        tuple(row.get("removed") or ()),
        Doubt.PROFILE_WITHOUT_PASSWORD.value in doubts,
    )


def _row(kind: Kind, record: Record) -> bytes:
    """A record as a line: its fields are JSON already."""
    shown = []
    if CS_ID in kind.columns:
        cs_id = record.key.partition(b":")[2].decode()
        shown.append(b'"csId":' + orjson.dumps(cs_id))
    shown += [
        b'"%b":%b' % (name, value)
        for name, value in record.fields.items()
        if name.decode() in kind.columns
    ]
    shown += [b'"%b":null' % name for name in record.removed]
    return b"{%b}" % b",".join(shown)


def _id_of(kind: Kind, record: Mapping[str, Any]) -> str:
    """The id of an exported record, which names the file of a certificate."""
    if "certificate" not in kind.columns:
        return ""
    try:
        return read_pem(record["certificate"]).hash
    except (KeyError, AttributeError, InvalidCertificate):
        return ""


def _object(line: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise UnusableService("The service's answer is no JSON: is it a csms-redis?") from None
    if not isinstance(said, dict):
        raise UnusableService("The service's answer is not what it should be")
    return said

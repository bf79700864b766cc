"""What `csms-redis station`, `token` and `certificate` do alike with the records of one kind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import click
import orjson

from csms_redis.commands.doubts import warn
from csms_redis.commands.exits import AlreadyThere, run_or_exit
from csms_redis.commands.ids import DASH_HELP
from csms_redis.commands.places import Place, Records, Registry
from csms_redis.commands.tables import flat, print_properties
from csms_redis.contract.doubts import Doubt
from csms_redis.contract.errors import Gone, NotFound, Problem, Unavailable
from csms_redis.contract.queries import MAX_LIMIT, Query
from csms_redis.redis.retries import Retries
from csms_redis.registry.resource import Record, Resource, Written
from csms_redis.rows.kinds import Kind

_AT_ONCE = 50  # records that are changed together
_MOST_LOGGED = 200  # characters of a malformed id

EXIT_CODES = """
\b
Exit codes:
  0  it is done
  1  settings, Redis or the service do not let it be done
  2  the command line or a value is wrong
  3  there is no such record
  4  there is one already (add without --replace)
"""
EXIT_CODES_BY_ID = f"{DASH_HELP}\n{EXIT_CODES}"

json_option = click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
replace_option = click.option(
    "--replace", is_flag=True, help="Replace the record, if there is one with this id already."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordKind:
    """A kind of record, and how it is named and shown on the command line.

    Attributes:
        name: the command group's, as `station`.
        resource: how the kind is stored.
        rows: how rows of this kind are checked and stored.
        records: the records of this kind, of what is asked.
        id_property: the property that is a record's id, as `csId`.
        parse_id: an id in the form that its key has; None for a text that cannot be an id.
        query: checks the filters of a listing, as the API checks a query string.
        columns: the properties in a listing's table, in order.
        spared: those that a narrow terminal does without, the first one first.
        logs_malformed_ids: whether the audit may show a text that cannot be an id.
    """

    name: str
    resource: Resource
    rows: Kind
    records: Callable[[Registry], Records]
    id_property: str
    parse_id: Callable[[str], str | None]
    query: type[Query]
    columns: Sequence[str]
    spared: Sequence[str]
    logs_malformed_ids: bool = True

    @asynccontextmanager
    async def opened(self, place: Place) -> AsyncIterator[Records]:
        """Connect until the block ends; the records of this kind there."""
        async with place.opened() as registry:
            yield self.records(registry)

    def audited_id(self, given: str) -> dict[str, str]:
        """What a line of the audit has to name the record: its id, else what was given for it."""
        record_id = self.parse_id(given)
        if record_id is not None:
            return {self.id_property: record_id}
        return {"given": given[:_MOST_LOGGED]} if self.logs_malformed_ids else {}

    def identity(self, record: bytes) -> str:
        """What tells a record, as JSON, from all others of its kind."""
        given: str = orjson.loads(record)[self.id_property]
        return self.parse_id(given) or given


def record_group(name: str, purpose: str) -> click.Group:
    """Make the group of the commands about one kind of record.

    Args:
        name: of the group.
        purpose: what its commands do, one sentence.
    """
    text = f"""{purpose}

    The records are those of redis.url; the embedded store is used whether or not the service runs.
    Each change, and each change that is refused, is a line of the log: on standard error, or in the
    system's log (syslog) if that is a terminal. With --server a service is asked over HTTP instead,
    and such a line is in that service's log.
    """
    return click.Group(name, help=text, epilog=EXIT_CODES)


def add_record(
    kind: RecordKind,
    place: Place,
    operation: str,
    given_id: str,
    make: Callable[[], Record],
    *,
    replacing: bool,
) -> Written:
    """Store a record, and tell what became of it.

    Args:
        kind: of the record.
        place: where the records are.
        operation: the API's, for the audit.
        given_id: as it was typed.
        make: checks what was given and makes the record; raises BadRequest.
        replacing: whether a record that is there already is replaced.
    """

    async def add() -> Written:
        with place.audited(f"{kind.name} add", operation) as line:
            line.update(kind.audited_id(given_id))
            record = make()
            return await store_record(kind, place, record, replacing=replacing)

    return run_or_exit(add())


async def store_record(
    kind: RecordKind, place: Place, record: Record, *, replacing: bool
) -> Written:
    """Store a record; what became of it.

    Raises:
        Problem: it was not stored.
    """
    async with place.opened() as registry:
        (written,) = await registry.store_all(kind.rows, [record], only_new=not replacing)
        if isinstance(written, Problem):
            raise written
        if not written.stored:
            raise AlreadyThere("There is one already; --replace puts this in its place.")
        return written


def show_record(
    kind: RecordKind,
    place: Place,
    given_id: str,
    *,
    as_json: bool,
    doubts: Callable[[Records, str], Awaitable[Iterable[Doubt]]] | None = None,
) -> None:
    """Print a record, as a table or as the API's JSON.

    Args:
        kind: of the record.
        place: where the records are.
        given_id: as it was typed.
        as_json: JSON instead of a table.
        doubts: reads what is doubtful about the record with an id, to warn of it.
    """

    async def read() -> bytes:
        record_id = kind.parse_id(given_id)
        if record_id is not None:
            async with kind.opened(place) as records:
                found = await records.get(record_id)
                if found is not None:
                    if doubts is not None:
                        warn(await doubts(records, record_id))
                    return found
        raise NotFound(kind.resource.not_found)

    record = run_or_exit(read())
    if as_json:
        click.echo(record)
        return
    print_properties(flat(record))


def change_record(
    kind: RecordKind,
    place: Place,
    verb: str,
    operation: str,
    given_id: str,
    change: Callable[[Records, str], Awaitable[bool]],
    audited_change: Mapping[str, str] | None = None,
) -> None:
    """Change a record that is there.

    Args:
        kind: of the record.
        place: where the records are.
        verb: the command's.
        operation: the API's, for the audit.
        given_id: as it was typed.
        change: changes the record with an id; returns whether there is one.
        audited_change: what the audit's line has besides the id.
    """

    async def work() -> None:
        with place.audited(f"{kind.name} {verb}", operation) as line:
            line.update(kind.audited_id(given_id))
            line.update(audited_change or {})
            record_id = kind.parse_id(given_id)
            if record_id is not None:
                async with kind.opened(place) as records:
                    if await change(records, record_id):
                        return
            raise NotFound(kind.resource.not_found)

    run_or_exit(work())


def find_ids(kind: RecordKind, place: Place, filters: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids of the records that filters let through."""

    async def work() -> tuple[str, ...]:
        async with kind.opened(place) as records:
            every = [record async for record in all_records(kind, records, filters)]
            return tuple(orjson.loads(record)[kind.id_property] for record in every)

    return run_or_exit(work())


def change_records(
    kind: RecordKind,
    place: Place,
    verb: str,
    operation: str,
    given_ids: Sequence[str],
    change: Callable[[Records, str], Awaitable[bool]],
    audited_change: Mapping[str, str],
) -> list[str]:
    """Change many records, those that are there; each is a line of the audit.

    A change that failed because Redis was away is made again: it must do no harm twice.

    Args:
        kind: of the records.
        place: where the records are.
        verb: the command's.
        operation: the API's, for the audit.
        given_ids: as they were typed.
        change: changes the record with an id; returns whether there is one.
        audited_change: what the audit's line has besides the id.

    Returns:
        The ids of which there is no record.
    """
    changed = 0
    missing: list[str] = []

    async def one(records: Records, given_id: str) -> bool:
        with place.audited(f"{kind.name} {verb}", operation) as line:
            line.update(kind.audited_id(given_id))
            line.update(audited_change)
            record_id = kind.parse_id(given_id)
            retries = Retries()
            while record_id is not None:
                try:
                    if await change(records, record_id):
                        return True
                    break
                except Unavailable as failure:
                    if not await retries.wait(failure):
                        raise
            line.update(outcome="refused", reason=kind.resource.not_found)
            return False

    async def work() -> None:
        nonlocal changed
        async with kind.opened(place) as records:
            for start in range(0, len(given_ids), _AT_ONCE):
                some = given_ids[start : start + _AT_ONCE]
                done = await asyncio.gather(
                    *(one(records, given_id) for given_id in some), return_exceptions=True
                )
                changed += sum(each is True for each in done)
                missing.extend(
                    given_id for given_id, there in zip(some, done, strict=True) if there is False
                )
                for failure in done:
                    if isinstance(failure, BaseException):
                        click.echo(f"{changed} of {len(given_ids)} were changed", err=True)
                        raise failure

    run_or_exit(work())
    return missing


def remove_record(kind: RecordKind, place: Place, operation: str, given_id: str) -> None:
    """Remove a record that is there."""
    change_record(
        kind,
        place,
        "remove",
        operation,
        given_id,
        lambda records, record_id: records.delete(record_id),
    )


def print_result(text: str, result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a change has done: a sentence for people, or JSON for scripts."""
    click.echo(orjson.dumps(result) if as_json else text)


async def all_records(
    kind: RecordKind, records: Records, filters: Mapping[str, Any]
) -> AsyncIterator[bytes]:
    """Read the records of all pages, each once, even if masters change meanwhile."""
    yielded: set[str] = set()
    retries = Retries()
    cursor = None
    while True:
        try:
            page = await records.page(_query(kind.query, filters, cursor))
        except (Gone, Unavailable) as failure:
            if not await retries.wait(failure):
                raise
            cursor = None  # a new master knows nothing of the old one's
            continue
        for record in page.records:
            identity = kind.identity(record)
            if identity not in yielded:
                yielded.add(identity)
                yield record
        if page.next is None:
            return
        cursor = page.next


def _query(model: type[Query], filters: Mapping[str, Any], cursor: str | None) -> Query:
    given = {**filters, "limit": MAX_LIMIT, "cursor": cursor}
    return model.read([(name, value) for name, value in given.items() if value is not None])

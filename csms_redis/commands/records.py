"""What `csms-redis station`, `token` and `certificate` share: one record, or a list of them."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import click
import orjson
from rich.text import Text

from csms_redis.commands.audit import audited
from csms_redis.commands.exits import AlreadyThere, run_or_exit
from csms_redis.commands.ids import DASH_HELP
from csms_redis.commands.tables import cell, flat, new_table, print_table
from csms_redis.contract.errors import Gone, NotFound, Problem, Unavailable
from csms_redis.contract.queries import MAX_LIMIT, Query
from csms_redis.redis.client import RedisClient
from csms_redis.redis.retries import Retries
from csms_redis.registry.connected import connected
from csms_redis.registry.listing import Page
from csms_redis.registry.resource import Record, Resource, Written, store, store_all
from csms_redis.settings import Settings

_MOST_ROWS = 1000  # of a table, which is held in memory until the widths of its columns are known
_MOST_LOGGED = 200  # characters of a malformed id

EXIT_CODES = """
\b
Exit codes:
  0  it is done
  1  settings or Redis do not let it be done
  2  the command line or a value is wrong
  3  there is no such record
  4  there is one already (add without --replace)
"""
EXIT_CODES_BY_ID = f"{DASH_HELP}\n{EXIT_CODES}"

json_option = click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
json_lines_option = click.option("--json", "as_json", is_flag=True, help="JSON Lines for scripts.")
replace_option = click.option(
    "--replace", is_flag=True, help="Replace the record, if there is one with this id already."
)
limit_option = click.option(
    "--limit",
    type=click.IntRange(1),
    help=f"List no more records than this. Default: {_MOST_ROWS} in a table, all with --json.",
)


class Records(Protocol):
    """The records of one kind in Redis: `registry`'s Stations, Tokens or Certificates."""

    async def get(self, record_id: str, /) -> bytes | None:
        """Read a record as JSON; None if there is none."""

    async def page(self, query: Any, /) -> Page:
        """Read one page of a listing."""

    async def delete(self, record_id: str, /) -> bool:
        """Remove a record; return whether there was one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordKind:
    """A kind of record, and how it is named and shown on the command line.

    Attributes:
        name: the command group's, as `station`.
        resource: how the kind is stored.
        records: opens the records of this kind, below a key prefix.
        id_property: the property that is a record's id, as `csId`.
        parse_id: an id in the form that its key has; None for a text that cannot be an id.
        query: checks the filters of a listing, as the API checks a query string.
        columns: the properties in a listing's table, in order.
        logs_malformed_ids: whether the audit may show a text that cannot be an id.
    """

    name: str
    resource: Resource
    records: Callable[[RedisClient, bytes], Records]
    id_property: str
    parse_id: Callable[[str], str | None]
    query: type[Query]
    columns: Sequence[str]
    logs_malformed_ids: bool = True

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
    system's log (syslog) if that is a terminal.
    """
    return click.Group(name, help=text, epilog=EXIT_CODES)


def add_record(
    kind: RecordKind,
    settings: Settings,
    operation: str,
    given_id: str,
    make: Callable[[], Record],
    *,
    replacing: bool,
) -> Written:
    """Store a record, and tell what became of it.

    Args:
        kind: of the record.
        settings: say where Redis is.
        operation: the API's, for the audit.
        given_id: as it was typed.
        make: checks what was given and makes the record; raises BadRequest.
        replacing: whether a record that is there already is replaced.
    """

    async def add() -> Written:
        with audited(settings, f"{kind.name} add", operation) as line:
            line.update(kind.audited_id(given_id))
            record = make()
            async with connected(settings.redis) as redis:
                if replacing:
                    return await store(redis, record)
                (written,) = await store_all(redis, [record], only_new=True)
                if isinstance(written, Problem):
                    raise written
                if not written.stored:
                    raise AlreadyThere("There is one already; --replace puts this in its place.")
                return written

    return run_or_exit(add())


def show_record(kind: RecordKind, settings: Settings, given_id: str, *, as_json: bool) -> None:
    """Print a record, as a table or as the API's JSON."""

    async def read() -> bytes:
        record_id = kind.parse_id(given_id)
        if record_id is not None:
            async with connected(settings.redis) as redis:
                found = await kind.records(redis, settings.redis.key_prefix.encode()).get(record_id)
            if found is not None:
                return found
        raise NotFound(kind.resource.not_found)

    record = run_or_exit(read())
    if as_json:
        click.echo(record)
        return
    table = new_table(["", ""], header=False)
    for name, value in flat(record).items():
        table.add_row(Text(name), cell(value))
    print_table(table)


def change_record(
    kind: RecordKind,
    settings: Settings,
    verb: str,
    operation: str,
    given_id: str,
    change: Callable[[Records, str], Awaitable[bool]],
    audited_change: Mapping[str, str] | None = None,
) -> None:
    """Change a record that is there.

    Args:
        kind: of the record.
        settings: say where Redis is.
        verb: the command's.
        operation: the API's, for the audit.
        given_id: as it was typed.
        change: changes the record with an id; returns whether there is one.
        audited_change: what the audit's line has besides the id.
    """

    async def work() -> None:
        with audited(settings, f"{kind.name} {verb}", operation) as line:
            line.update(kind.audited_id(given_id))
            line.update(audited_change or {})
            record_id = kind.parse_id(given_id)
            if record_id is not None:
                async with connected(settings.redis) as redis:
                    records = kind.records(redis, settings.redis.key_prefix.encode())
                    if await change(records, record_id):
                        return
            raise NotFound(kind.resource.not_found)

    run_or_exit(work())


def remove_record(kind: RecordKind, settings: Settings, operation: str, given_id: str) -> None:
    """Remove a record that is there."""
    change_record(
        kind,
        settings,
        "remove",
        operation,
        given_id,
        lambda records, record_id: records.delete(record_id),
    )


def list_records(
    kind: RecordKind,
    settings: Settings,
    filters: Mapping[str, Any],
    limit: int | None,
    *,
    as_json: bool,
) -> None:
    """Print the records that filters let through: as a table, or as JSON Lines.

    Args:
        kind: of the records.
        settings: say where Redis is.
        filters: the API's, by name; None means that a filter is not set.
        limit: the most records; None for the command's own limit.
        as_json: JSON Lines instead of a table.
    """
    most = limit or (None if as_json else _MOST_ROWS)
    table = new_table(kind.columns)

    async def work() -> bool:
        """Print; return whether there are more records than are printed."""
        number = 0
        async with connected(settings.redis) as redis:
            records = kind.records(redis, settings.redis.key_prefix.encode())
            async for record in _all_pages(kind, records, filters):
                if number == most:
                    return True
                number += 1
                if as_json:
                    sys.stdout.buffer.write(record + b"\n")
                else:
                    values = flat(record)
                    table.add_row(*(cell(values.get(column)) for column in kind.columns))
        return False

    more = run_or_exit(work())
    if as_json:
        sys.stdout.buffer.flush()
    else:
        print_table(table)
    if more and limit is None:
        click.echo(f"there are more than {most}: --limit or --json shows them", err=True)


def print_result(text: str, result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a change has done: a sentence for people, or JSON for scripts."""
    click.echo(orjson.dumps(result) if as_json else text)


async def _all_pages(
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

"""`csms-redis import`: many records at once, from files."""

import asyncio
import re
import sys
from collections.abc import Coroutine
from itertools import islice
from pathlib import Path
from typing import Any

import click

from csms_redis.commands.bulk import format_option, kind_argument
from csms_redis.commands.exits import ROWS_LEFT_OUT, run_or_exit
from csms_redis.commands.places import Place
from csms_redis.commands.tables import printable
from csms_redis.commands.where import Where, where_options
from csms_redis.fleet import (
    KINDS,
    STDIN,
    Emsp,
    Format,
    ImportOptions,
    ImportResult,
    Source,
    UnusableFormat,
    UnusableRejects,
    check_rejects,
    import_records,
    source_format,
)

_MOST_UNKNOWN = 20  # names that are told


@click.command("import")
@kind_argument
@click.argument(
    "sources",
    metavar="SOURCE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, readable=True, allow_dash=True, path_type=Path),
)
@format_option("The format of every SOURCE. Default: each one's own, from its name or its content.")
@click.option(
    "--rejects",
    "rejects_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="One file for all rejected rows. Default: SOURCE.rejects; stdin.rejects for '-'.",
)
@click.option(
    "--all-or-nothing", is_flag=True, help="Check all rows first; write only if none is rejected."
)
@click.option("--dry-run", is_flag=True, help="Check and report only.")
@click.option("--only-new", is_flag=True, help="Leave records alone that are there already.")
@click.option(
    "--replace",
    is_flag=True,
    help="Make each record exactly what its row says: what the row does not say goes, also a "
    "password. Only a block stays.",
)
@click.option(
    "--country-code", help="The country of OCPI tokens that name none (OCPI 2.1.1), as DE."
)
@click.option("--party-id", help="The eMSP of OCPI tokens that name none (OCPI 2.1.1), as TNM.")
@where_options
def import_command(
    kind: str,
    sources: tuple[Path, ...],
    format_: Format | None,
    rejects_file: Path | None,
    all_or_nothing: bool,
    dry_run: bool,
    only_new: bool,
    replace: bool,
    country_code: str | None,
    party_id: str | None,
    where: Where,
) -> None:
    """Load stations, tokens or certificates.

    A SOURCE is one of these: a CSV file, whose first line names the columns by the API's
    properties, in any case, with or without _ - and blanks (stations have a csId, and may have a
    plaintext password, or an authorizationKey in hexadecimal as OCPP 1.6 keeps it; both are
    hashed); JSON Lines, or a listing of the API; OCPI tokens (2.1.1, 2.2.1 or 2.3.0) as a list, the
    replies of one or several pages, or one in each line (default_profile_type and energy_contract
    are left out); a PEM file, or a directory of PEM files; '-' for standard input. The records go
    to redis.url; the embedded store is used whether or not the service runs. With --server they go
    to a service over HTTP, many at a time, which checks each row again.

    What a row does not say, it does not change: without a password, or with an empty cell, a
    station keeps the one it has, and so on. NULL (in JSON null) removes an optional property. With
    --replace, and for OCPI tokens, the record is exactly what the row says. deploy/import.md has
    the whole rule.

    Each row is checked as the API checks a request. A row that is rejected goes into
    SOURCE.rejects, with its line number, the column and the reason, but without its secrets, and
    the import goes on. A column that is not known is named; a header that is wrong ends the import
    before anything is written. A row is rejected too if another program has something else at its
    key in Redis; with --all-or-nothing, that ends the import. An import that was interrupted may be
    repeated: the result is the same. A Rejected station stays Rejected. Otherwise the
    registrationStatus and lastUpdated in a file are kept, as an export has them. If two rows have
    one id, the later row counts, and of tokens with a lastUpdated the newest; with --only-new, the
    row that is stored first.

    \b
    Exit codes:
      0  all rows are written; in a dry run, all are good
      1  settings, a file, Redis or the service ended it early
      2  the command line is wrong
      3  rows were rejected
    """
    if only_new and replace:
        raise click.UsageError("--only-new and --replace exclude each other")
    if kind != "tokens" and (country_code or party_id):
        raise click.UsageError("--country-code and --party-id are for tokens")
    if country_code and not re.fullmatch(r"[A-Za-z]{2}", country_code):
        raise click.UsageError("--country-code must be two letters, as DE")
    if party_id and not re.fullmatch(r"[A-Za-z0-9]{3}", party_id):
        raise click.UsageError("--party-id must be three letters or digits, as TNM")
    if sources.count(STDIN) > 1:
        raise click.UsageError("standard input can be read only once")
    try:
        opened = [
            Source(
                path,
                KINDS[kind],
                source_format(path, KINDS[kind], format_),
                Emsp(country_code, party_id),
            )
            for path in sources
        ]
        check_rejects(opened, rejects_file)
    except (UnusableFormat, UnusableRejects) as error:
        raise click.UsageError(str(error)) from None
    for source in opened:
        if all_or_nothing and not dry_run and not source.can_be_read_again:
            raise click.UsageError(
                f"{source.name}: can be read only once, and --all-or-nothing reads it twice; "
                "make it a file"
            )
    options = ImportOptions(
        rejects_file=rejects_file,
        all_or_nothing=all_or_nothing,
        dry_run=dry_run,
        only_new=only_new,
        replace=replace,
    )
    place = where.place()
    work = import_records(KINDS[kind], opened, place, options)
    result = run_or_exit(work if dry_run else _audited(kind, sources, place, options, work))
    _summarise(kind, result, written=not (dry_run or (all_or_nothing and result.rejected)))
    sys.exit(ROWS_LEFT_OUT if result.rejected else 0)


async def _audited(
    kind: str,
    sources: tuple[Path, ...],
    place: Place,
    options: ImportOptions,
    work: Coroutine[Any, Any, ImportResult],
) -> ImportResult:
    """Import, with one line of the log for the whole import."""
    with place.audited("import", "import") as line:
        line.update(kind=kind, sources=[str(source) for source in sources])
        try:
            result = await work
        except asyncio.CancelledError as interrupted:
            click.echo(f"csms-redis: {interrupted}", err=True)
            raise
        line.update(written=result.written, existing=result.existing, rejected=result.rejected)
        if options.all_or_nothing and result.rejected:
            line["outcome"] = "refused"
    return result


def _summarise(kind: str, result: ImportResult, *, written: bool) -> None:
    rate = result.read / max(result.seconds, 0.001)
    click.echo(
        f"{kind}: read {result.read}, written {result.written}, existing {result.existing}, "
        f"rejected {result.rejected}, in {result.seconds:.1f} s ({rate:.0f} rows/s)"
    )
    if not written:
        click.echo("nothing was written")
    if result.blocked:
        click.echo(
            f"{result.blocked} of the written stations were blocked, and stay Rejected: to let one "
            "work, use csms-redis station allow",
            err=True,
        )
    if result.passed_over:
        click.echo(
            f"{result.passed_over} tokens were passed over: of several with one uid, the one with "
            "the newest last_updated stays",
            err=True,
        )
    for name, first in islice(result.unknown.items(), _MOST_UNKNOWN):
        click.echo(f"{printable(name)} is not known and was left out, first at {first}", err=True)
    if len(result.unknown) > _MOST_UNKNOWN:
        click.echo(f"and so are {len(result.unknown) - _MOST_UNKNOWN} others", err=True)
    if result.removed:
        removed = ", ".join(f"{printable(name)} {n}" for name, n in sorted(result.removed.items()))
        click.echo(f"removed, for the rows do not say it: {removed}", err=True)
    for doubt, rows in result.doubts.items():
        first = ", ".join(rows.first) + (", …" if rows.count > len(rows.first) else "")
        click.echo(f"warning: {doubt}: {rows.count} rows, at {first}: {doubt.text}", err=True)
    for path in result.rejects:
        click.echo(f"rejected rows are in {path}", err=True)

"""`csms-redis export`: all records of one kind, into a file."""

import sys
from pathlib import Path

import click

from csms_redis.commands.bulk import format_option, kind_argument
from csms_redis.commands.exits import ROWS_LEFT_OUT, run_or_exit
from csms_redis.commands.where import Where, where_options
from csms_redis.fleet import KINDS, STDIN, Format, UnusableFormat, export_records, target_format


@click.command("export")
@kind_argument
@click.argument("target", type=click.Path(allow_dash=True, path_type=Path))
@format_option("Default: from TARGET's name, else jsonl. ocpi is a list of OCPI 2.2.1 tokens.")
@click.option(
    "--with-credentials",
    is_flag=True,
    help="Write the stations' password hashes too; not to standard output.",
)
@where_options
def export_command(
    kind: str,
    target: Path,
    format_: Format | None,
    with_credentials: bool,
    where: Where,
) -> None:
    """Write all stations, tokens or certificates.

    TARGET is a file, which only you may read and which is replaced when all records are written;
    '-' for standard output; or for certificates a directory without files, which gets one PEM file
    for each. An import elsewhere makes the same records, with --replace also of those that are
    there; but PEM does not keep lastUpdated. In CSV, an apostrophe is put before a text that a
    spreadsheet would take for a formula; the import takes it away. With --server the records are
    read from a service over HTTP; credentials need the roles operator and gateway there.

    \b
    Exit codes:
      0  all records are written
      1  settings, a file, Redis or the service ended it early
      2  the command line is wrong
      3  records in Redis are not this program's and were left out
    """
    if with_credentials and kind != "stations":
        raise click.UsageError("--with-credentials is for stations only")
    if with_credentials and target == STDIN:
        raise click.UsageError("credentials are written to a file only, never to standard output")
    try:
        found = target_format(target, KINDS[kind], format_)
    except UnusableFormat as error:
        raise click.UsageError(str(error)) from None
    place = where.place()
    result = run_or_exit(
        export_records(
            KINDS[kind], target, found, place.opened(), with_credentials=with_credentials
        )
    )
    click.echo(f"{kind}: written {result.written}, in {result.seconds:.1f} s", err=True)
    if kind == "stations" and not with_credentials:
        click.echo(
            "without credentials: an import of it gives new stations none, and keeps those that "
            "are there",
            err=True,
        )
    if result.left_out:
        click.echo(f"{result.left_out} records are not this program's and were left out", err=True)
    sys.exit(ROWS_LEFT_OUT if result.left_out else 0)

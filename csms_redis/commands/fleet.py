"""`csms-redis import` and `export`: many records at once."""

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from csms_redis.commands.audit import audited
from csms_redis.commands.common import config_option, finish, read_settings
from csms_redis.fleet import (
    KINDS,
    STDIN,
    Export,
    Format,
    Import,
    Options,
    Source,
    UnusableFormat,
    UnusableRejects,
    check_rejects,
    export,
    export_format,
    import_,
    import_format,
)
from csms_redis.settings import Settings

_kind = click.argument("kind", type=click.Choice(list(KINDS)))
_SOME_REJECTED = 3  # exit code


class _Formats(click.Choice[Format]):
    """By their values, as `--format csv`; click takes the names of an enumeration."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        del ctx
        return str(choice)


@click.command("import")
@_kind
@click.argument(
    "sources",
    metavar="SOURCE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, readable=True, allow_dash=True, path_type=Path),
)
@click.option(
    "--format",
    "format_",
    type=_Formats(list(Format)),
    help="Of every SOURCE; default: as its name or what is in it tells.",
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="One file for all that is rejected; default: SOURCE.rejects, stdin.rejects for '-'.",
)
@click.option("--all-or-nothing", is_flag=True, help="First check all, then write, if all is good.")
@click.option("--dry-run", is_flag=True, help="Check and report only.")
@click.option("--only-new", is_flag=True, help="Leave records alone that are there already.")
@config_option
def import_command(  # noqa: PLR0913, PLR0917 one for each option
    kind: str,
    sources: tuple[Path, ...],
    format_: Format | None,
    rejects: Path | None,
    all_or_nothing: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    only_new: bool,  # noqa: FBT001
    config: Path | None,
) -> None:
    """Load stations, tokens or certificates.

    A SOURCE is CSV (the first line names the columns by the API's properties; stations have a csId
    and may have a plaintext password, which is hashed), JSON Lines, a list of OCPI 2.2.1 tokens
    (their default_profile_type and energy_contract are left out), a PEM file or a directory of
    them, or '-' for standard input. Records go to redis.url; to the embedded store whether or not
    the service runs.

    Each row is checked as the API does. One that is refused goes with its line and the reason,
    without its secrets, into SOURCE.rejects, and the rest goes on. Repeat an import that was
    interrupted: the result is the same. A Rejected station stays rejected; registrationStatus and
    lastUpdated of a file are kept otherwise, as an export has them. Of two rows with one id the
    later wins (the earlier with --only-new).

    \b
    Exit codes:
      0  all is written; in a dry run, all is good
      1  settings, a file or Redis do not let it come to its end
      2  the command line is wrong
      3  rows were rejected
    """  # noqa: D301 click's mark
    told = KINDS[kind]
    if sources.count(STDIN) > 1:
        raise click.UsageError("standard input can be read only once")
    try:
        found = [Source(path, told, import_format(path, told, format_)) for path in sources]
        check_rejects(found, rejects)
    except (UnusableFormat, UnusableRejects) as error:
        raise click.UsageError(str(error)) from None
    for source in found:
        if all_or_nothing and not dry_run and not source.can_be_read_again:
            raise click.UsageError(
                f"{source.name}: can be read only once, and --all-or-nothing reads it twice; "
                "make it a file"
            )
    options = Options(
        rejects=rejects, all_or_nothing=all_or_nothing, dry_run=dry_run, only_new=only_new
    )
    settings = read_settings(config)
    written = import_(told, found, settings, options)
    result = finish(written if dry_run else _audited(kind, sources, settings, options, written))
    _summarise(kind, result, written=not (dry_run or (all_or_nothing and result.rejected)))
    sys.exit(_SOME_REJECTED if result.rejected else 0)


async def _audited(
    kind: str,
    sources: tuple[Path, ...],
    settings: Settings,
    options: Options,
    work: Coroutine[Any, Any, Import],
) -> Import:
    """One line of the log for all; the rejected rows are in their file."""
    with audited(settings, "import", "import") as told:
        told.update(kind=kind, sources=[str(source) for source in sources])
        result = await work
        told.update(written=result.written, existing=result.existing, rejected=result.rejected)
        if options.all_or_nothing and result.rejected:
            told["outcome"] = "refused"
    return result


def _summarise(kind: str, result: Import, *, written: bool) -> None:
    rate = result.read / max(result.seconds, 0.001)
    click.echo(
        f"{kind}: read {result.read}, written {result.written}, existing {result.existing}, "
        f"rejected {result.rejected}, in {result.seconds:.1f} s ({rate:.0f} rows/s)"
    )
    if not written:
        click.echo("nothing was written")
    for doubt, (first, count) in result.doubts.items():
        click.echo(f"warning: {count} rows, the first at {first}: {doubt}", err=True)
    for path in result.rejects:
        click.echo(f"rejected rows are in {path}", err=True)


@click.command("export")
@_kind
@click.argument("target", type=click.Path(allow_dash=True, path_type=Path))
@click.option(
    "--format",
    "format_",
    type=_Formats(list(Format)),
    help="Default: as TARGET's name tells, else jsonl. ocpi is a list of OCPI 2.2.1 tokens.",
)
@click.option(
    "--with-credentials",
    is_flag=True,
    help="Write the stations' password hashes too; not to standard output.",
)
@config_option
def export_command(
    kind: str,
    target: Path,
    format_: Format | None,
    with_credentials: bool,  # noqa: FBT001
    config: Path | None,
) -> None:
    """Write all stations, tokens or certificates.

    TARGET is a file, which only you may read and which is replaced when all is written, '-' for
    standard output, or for certificates a directory without files, which gets a PEM file each.
    Import it elsewhere, and the records are the same, but for lastUpdated, which PEM does not
    keep. In CSV, an apostrophe is put before what a spreadsheet would take for a formula; import
    takes it away.

    \b
    Exit codes:
      0  all is written
      1  settings, a file or Redis do not let it come to its end
      2  the command line is wrong
      3  records in Redis are not this program's and were left out
    """  # noqa: D301 click's mark
    told = KINDS[kind]
    if with_credentials and kind != "stations":
        raise click.UsageError("--with-credentials is for stations only")
    if with_credentials and target == STDIN:
        raise click.UsageError("credentials are written to a file only, never to standard output")
    try:
        found = export_format(target, told, format_)
    except UnusableFormat as error:
        raise click.UsageError(str(error)) from None
    result: Export = finish(
        export(told, target, found, read_settings(config), with_credentials=with_credentials)
    )
    click.echo(f"{kind}: written {result.written}, in {result.seconds:.1f} s", err=True)
    if kind == "stations" and not with_credentials:
        click.echo("without credentials: importing it would take the passwords away", err=True)
    if result.unreadable:
        click.echo(
            f"{result.unreadable} records are not this program's and were left out", err=True
        )
    sys.exit(_SOME_REJECTED if result.unreadable else 0)

"""The command line."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click
import orjson
import structlog
import uvloop

from csms_redis import __version__
from csms_redis.access.secret import hash_of, new_secret
from csms_redis.check import Finding, Level, check
from csms_redis.commands.audit import audited
from csms_redis.commands.common import config_option, fail, finish, read_password, read_settings
from csms_redis.commands.records import certificate, station, token
from csms_redis.contract.certificates import InvalidCertificate, read_pem, spellings
from csms_redis.contract.openapi import document
from csms_redis.contract.passwords import base64_sha256
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
from csms_redis.listener import CannotListen
from csms_redis.redis.embedded import EmbeddedError
from csms_redis.serve import serve
from csms_redis.settings import BadSettings, Settings, load
from csms_redis.telemetry import log


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="csms-redis")
def main() -> None:
    """Charge station registry: the MaEVe CSMS internal API on Redis."""


@main.command("serve")
@config_option
@click.option("--host", help="Address to listen on; default 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; default 9410.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the embedded store keeps its files; default ./data.",
)
def serve_command(
    config: Path | None, host: str | None, port: int | None, data_dir: Path | None
) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Settings come from these options, then the environment (CSMS_SERVER__PORT), then config.toml.
    """
    settings = read_settings(
        config, {"server": {"host": host, "port": port}, "redis": {"data_dir": data_dir}}
    )
    log.configure(settings.telemetry)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (BadSettings, EmbeddedError, CannotListen) as error:
        fail(str(error))


@main.command("check")
@config_option
def check_command(config: Path | None) -> None:
    """Check the settings and the Redis they name.

    Can it be reached, and could it lose what was acknowledged? One line a finding: ok, warning or
    error, what it is about, and what to set. The exit code is 1 after an error, else 0. Nothing is
    changed.
    """
    # What goes wrong is a finding, not also a line of the log.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    worked = asyncio.run(_report(config))
    sys.exit(0 if worked else 1)


async def _report(config: Path | None) -> bool:
    worked = True
    try:
        async for finding in check(load(config)):
            worked &= finding.level is not Level.ERROR
            _print(finding)
    except BadSettings as error:
        _print(Finding(Level.ERROR, "settings", str(error)))
        worked = False
    return worked


def _print(finding: Finding) -> None:
    colour = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}[finding.level]
    level = click.style(f"{finding.level:<7}", fg=colour)
    click.echo(f"{level}  {finding.about:<16}  {finding.text}")


@main.command("hash-password")
def hash_password() -> None:
    """Print a password's base64SHA256Password.

    The password is asked for, or read from standard input when that is not a terminal (one
    newline at its end is not part of it). It is never an argument, which others could see.
    """
    if sys.stdin.isatty():
        password = click.prompt(
            "Password", hide_input=True, confirmation_prompt=True, err=True
        ).encode()
    else:
        password = read_password()
    click.echo(base64_sha256(password))


@main.command("new-secret")
def new_secret_command() -> None:
    """Make a secret for a client of [auth].

    Two lines: the secret, which is the client's and stands nowhere else, and its hash, for the
    client's secret_file or secret_hashes.
    """
    secret = new_secret()
    click.echo(f"secret  {secret}")
    click.echo(f"hash    {hash_of(secret.encode()).hex()}")


@main.command("hash-certificate")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def hash_certificate(files: tuple[Path, ...]) -> None:
    """Print the hashes that look certificates up.

    One line a FILE: base64url without padding (for a URL), padded base64, its name. It is PEM;
    its first certificate counts.
    """
    failed = False
    for file in files:
        try:
            certificate = read_pem(file.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            click.echo(f"csms-redis: {file}: {error.strerror}", err=True)
            failed = True
        except InvalidCertificate as error:
            click.echo(f"csms-redis: {file}: {error}", err=True)
            failed = True
        else:
            click.echo("  ".join([*spellings(certificate.hash), str(file)]))
    sys.exit(1 if failed else 0)


@main.command()
def openapi() -> None:
    """Print the API's OpenAPI document as JSON.

    It is the one that the service has at /api/openapi.json.
    """
    click.echo(orjson.dumps(document(__version__), option=orjson.OPT_INDENT_2).decode())


_kind = click.argument("kind", type=click.Choice(list(KINDS)))
_SOME_REJECTED = 3  # exit code


class _Formats(click.Choice[Format]):
    """By their values, as `--format csv`; click takes the names of an enumeration."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        del ctx
        return str(choice)


@main.command("import")
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


@main.command("export")
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


main.add_command(station)
main.add_command(token)
main.add_command(certificate)

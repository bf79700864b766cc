"""The command line."""

import asyncio
import hashlib
import logging
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson
import structlog
import uvloop

from csms_redis import __version__
from csms_redis.check import Finding, Level, check
from csms_redis.contract.certificates import InvalidCertificate, read_pem, spellings
from csms_redis.contract.openapi import document
from csms_redis.listener import CannotListen
from csms_redis.redis.embedded import EmbeddedError
from csms_redis.serve import serve
from csms_redis.settings import BadSettings, Settings, load
from csms_redis.telemetry import log

_config = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The settings file; default: $CSMS_CONFIG, else ./config.toml where there is one.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="csms-redis")
def main() -> None:
    """Charge station registry: the MaEVe CSMS internal API on Redis."""


@main.command("serve")
@_config
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
    settings = _settings(
        config, {"server": {"host": host, "port": port}, "redis": {"data_dir": data_dir}}
    )
    log.configure(settings.telemetry)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (BadSettings, EmbeddedError, CannotListen) as error:
        _fail(str(error))


@main.command("check")
@_config
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
        password = sys.stdin.buffer.read().removesuffix(b"\n").removesuffix(b"\r")
    if not password:
        _fail("the password is empty")
    click.echo(b64encode(hashlib.sha256(password).digest()).decode())


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


def _settings(config: Path | None, flags: dict[str, dict[str, Any]]) -> Settings:
    given = {
        section: {key: value for key, value in keys.items() if value is not None}
        for section, keys in flags.items()
    }
    try:
        return load(config, given)
    except BadSettings as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    click.echo(f"csms-redis: {message}", err=True)
    sys.exit(1)

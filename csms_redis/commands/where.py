"""The options that say where a command's records are, and what it proves itself with there."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from pydantic import SecretStr

from csms_redis.commands.exits import exit_with
from csms_redis.commands.inputs import (
    Command,
    ask_hidden,
    config_option,
    read_settings,
    without_line_end,
)
from csms_redis.commands.places import Place, RedisPlace
from csms_redis.remote.address import BadAddress, ServiceAddress

SERVER_VARIABLE = "CSMS_SERVER_URL"
_SECRET_VARIABLE = "CSMS_SERVER_SECRET"  # noqa: S105 a variable's name
_MOST_BYTES = 64 * 1024  # of a secret's file


@dataclass(frozen=True, slots=True)
class Where:
    """What the command line says of the place.

    Attributes:
        config: the settings file that `--config` names.
        service: the service that is asked; None for the Redis of the settings.
    """

    config: Path | None
    service: ServiceAddress | None

    def place(self) -> Place:
        """The place; the process ends with the reason where there is none."""
        if self.service is not None:
            from csms_redis.commands.service_place import (  # noqa: PLC0415 loads aiohttp
                ServicePlace,
            )

            return ServicePlace(self.service)
        return RedisPlace(read_settings(self.config))


def where_options(command: Command) -> Command:
    """Add the options that say where the records are; the command gets them as `where`."""

    @wraps(command)
    def with_where(
        *args: Any,
        config: Path | None,
        server: str | None,
        user: str | None,
        secret_file: Path | None,
        ca_file: Path | None,
        cert_file: Path | None,
        key_file: Path | None,
        **kwargs: Any,
    ) -> None:
        if _is_typed("config"):
            if _is_typed("server"):
                raise click.UsageError("--config and --server exclude each other")
            server = None
        if not server:
            for name in ("user", "secret_file", "ca_file", "cert_file", "key_file"):
                if _is_typed(name):
                    raise click.UsageError(
                        f"--{name.replace('_', '-')} is for a service: name it by --server URL"
                    )
            command(*args, where=Where(config, None), **kwargs)
            return
        try:
            service = ServiceAddress(
                url=ServiceAddress.checked_url(server),
                user=user,
                secret=_secret(user, secret_file),
                ca_file=ca_file,
                cert_file=cert_file,
                key_file=key_file,
            )
            service.tls()
        except BadAddress as bad:
            raise click.UsageError(str(bad)) from None
        command(*args, where=Where(None, service), **kwargs)

    decorated: Command = with_where
    for decorate in (
        _file("--key-file", "The key of --cert-file, where that has none.", "KEY_FILE"),
        _file("--cert-file", "PEM of this client's own certificate.", "CERT_FILE"),
        _file("--ca-file", "PEM of the authority of the service's certificate.", "CA_FILE"),
        _file(
            "--secret-file",
            f"The secret that goes with --user, or a Bearer token. Else {_SECRET_VARIABLE}, or a "
            "terminal is asked.",
            "SECRET_FILE",
        ),
        click.option("--user", envvar="CSMS_SERVER_USER", help="This client's name in [auth]."),
        click.option(
            "--server",
            metavar="URL",
            envvar=SERVER_VARIABLE,
            show_envvar=True,
            help="Ask a service over HTTP, instead of Redis: as https://csms:9410.",
        ),
        config_option,
    ):
        decorate(decorated)
    return decorated


def _file(name: str, text: str, variable: str) -> Callable[[Any], Any]:
    return click.option(
        name,
        type=click.Path(dir_okay=False, path_type=Path),
        envvar=f"CSMS_SERVER_{variable}",
        help=text,
    )


def _is_typed(name: str) -> bool:
    """Whether an option stands on the command line, and not only in the environment."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def _secret(user: str | None, file: Path | None) -> SecretStr | None:
    """The secret: from a file, from the environment, or from the terminal."""
    if user is not None and not (user and user.isprintable() and ":" not in user):
        exit_with("--user: is no client's name (RFC 7617, 2)")
    if file is not None:
        return _usable(_content(file), str(file))
    if given := os.environb.get(_SECRET_VARIABLE.encode()):
        return _usable(given, _SECRET_VARIABLE)
    if user is None:
        return None
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"say where the secret of --user comes from: --secret-file, or {_SECRET_VARIABLE}"
        )
    typed = ask_hidden(f"Secret of {user}", "use --secret-file")
    return _usable(typed.encode(), "What was typed")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        exit_with(f"{path}: cannot be read: {error.strerror}")


def _usable(content: bytes, origin: str) -> SecretStr:
    """The secret in what was given, which may end with a line end."""
    try:
        secret = without_line_end(content).decode("ascii")
    except UnicodeDecodeError:
        secret = ""
    if not secret or not secret.isprintable():
        exit_with(f"{origin}: has no secret on one line, as csms-redis new-secret makes it")
    return SecretStr(secret)

"""The password of a station on the command line: made, typed, or read; never an argument."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from csms_redis.access.secret import new_secret
from csms_redis.commands.exits import exit_with
from csms_redis.commands.inputs import (
    Command,
    ask_hidden,
    hex_option,
    password_of,
    read_password,
    without_line_end,
)
from csms_redis.contract.doubts import Doubt, of_password
from csms_redis.contract.passwords import base64_sha256

_MOST_BYTES = 64 * 1024  # of a file; OCPP has 64 characters at most


@dataclass(frozen=True, slots=True)
class Password:
    """A password that a station is to have.

    Attributes:
        value: its bytes.
        generated: it as text where it was made here, to be shown once; else None.
        in_hex: whether it was given in hexadecimal.
    """

    value: bytes
    generated: str | None = None
    in_hex: bool = False

    @property
    def hashed(self) -> str:
        """The `base64SHA256Password` of it."""
        return base64_sha256(self.value)

    def doubts(self) -> Iterator[Doubt]:
        """What is doubtful about it."""
        if self.generated is None and not self.in_hex:
            yield from of_password(self.value)


def password_options(*, asked_for: bool) -> Callable[[Command], Command]:
    """Add the options that give a password; the command gets it as `password`.

    Args:
        asked_for: whether a terminal is asked when no option gives one; else it is None then.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_password(
            *args: Any,
            generate_password: bool,
            password_stdin: bool,
            password_file: Path | None,
            in_hex: bool,
            **kwargs: Any,
        ) -> None:
            if generate_password + password_stdin + (password_file is not None) > 1:
                raise click.UsageError(
                    "--generate-password, --password-stdin and --password-file exclude each other"
                )
            password = None
            if generate_password:
                secret = new_secret()
                password = Password(secret.encode(), generated=secret)
            elif password_stdin:
                password = Password(read_password(in_hex=in_hex), in_hex=in_hex)
            elif password_file is not None:
                password = Password(_read_file(password_file, in_hex=in_hex), in_hex=in_hex)
            elif asked_for:
                password = Password(_ask(in_hex=in_hex), in_hex=in_hex)
            if in_hex and (password is None or password.generated):
                raise click.UsageError("--hex goes with --password-stdin or --password-file")
            command(*args, password=password, **kwargs)

        for option in (
            hex_option,
            click.option(
                "--password-file",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="Read the password from a file.",
            ),
            click.option(
                "--password-stdin", is_flag=True, help="Read the password from standard input."
            ),
            click.option(
                "--generate-password",
                is_flag=True,
                help="Make a password, and print it this once.",
            ),
        ):
            option(with_password)
        return with_password

    return decorate


def ask_password(*, in_hex: bool) -> bytes:
    """Ask for a password at the terminal, twice."""
    instead = "send the password to standard input, or use --hex"
    typed = ask_hidden("Password", instead, twice=True)
    return password_of(typed.encode(), in_hex=in_hex)


def _ask(*, in_hex: bool) -> bytes:
    if not sys.stdin.isatty():
        raise click.UsageError(
            "say where the password comes from: --generate-password, --password-stdin or "
            "--password-file"
        )
    return ask_password(in_hex=in_hex)


def _read_file(path: Path, *, in_hex: bool) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        exit_with(f"{path}: cannot be read: {error.strerror}")
    if len(content) > _MOST_BYTES:
        exit_with(f"{path}: is too long for a password")
    return password_of(without_line_end(content), in_hex=in_hex)

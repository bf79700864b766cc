"""`csms-redis hash-password`, `hash-certificate` and `new-secret`: none of them needs Redis."""

import sys
from pathlib import Path

import click

from csms_redis.access.secret import hash_of, new_secret
from csms_redis.commands.doubts import warn
from csms_redis.commands.inputs import hex_option, read_password
from csms_redis.commands.passwords import ask_password
from csms_redis.contract.certificates import (
    MAX_FILE_BYTES,
    InvalidCertificate,
    read_pem,
    text_of,
)
from csms_redis.contract.doubts import Doubt, of_password
from csms_redis.contract.passwords import base64_sha256


@click.command("hash-password")
@hex_option
def hash_password(in_hex: bool) -> None:
    """Print the base64SHA256Password of a password.

    The password is asked for; if standard input is not a terminal, the password is read from it
    (one line end after the password is not part of it). It is never an argument, because others on
    this machine could see it. The bytes of the password are hashed as they are, UTF-8 or not.
    """
    password = ask_password(in_hex=in_hex) if sys.stdin.isatty() else read_password(in_hex=in_hex)
    if not in_hex:
        warn(of_password(password))
    click.echo(base64_sha256(password))


@click.command("new-secret")
def new_secret_command() -> None:
    """Make a secret for a client of [auth].

    Two lines are printed: the secret, which only the client keeps, and the secret's hash, for the
    client's secret_file or secret_hashes.
    """
    secret = new_secret()
    click.echo(f"secret  {secret}")
    click.echo(f"hash    {hash_of(secret.encode()).hex()}")


@click.command("hash-certificate")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def hash_certificate(files: tuple[Path, ...]) -> None:
    """Print the hashes by which certificates are looked up.

    Each FILE is PEM, and its first certificate counts. It gives one line: the hash, in padded
    base64url as everywhere here and as gateways send it, and the file's name.
    """
    failed = False
    for file in files:
        try:
            with file.open("rb") as opened:
                certificate = read_pem(text_of(opened.read(MAX_FILE_BYTES)))
        except OSError as error:
            click.echo(f"csms-redis: {file}: {error.strerror}", err=True)
            failed = True
        except InvalidCertificate as error:
            click.echo(f"csms-redis: {file}: {error}", err=True)
            failed = True
        else:
            for doubt in certificate.doubts:
                if doubt is not Doubt.CA_CERTIFICATE:  # its hash may be wanted
                    click.echo(f"warning: {doubt}: {file}: {doubt.text}", err=True)
            click.echo(f"{certificate.hash}  {file}")
    sys.exit(1 if failed else 0)

"""`csms-redis hash-password`, `hash-certificate` and `new-secret`."""

import sys
from pathlib import Path

import click

from csms_redis.access.secret import hash_of, new_secret
from csms_redis.commands.inputs import read_password
from csms_redis.contract.certificates import InvalidCertificate, read_pem, spellings
from csms_redis.contract.passwords import base64_sha256


@click.command("hash-password")
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


@click.command("new-secret")
def new_secret_command() -> None:
    """Make a secret for a client of [auth].

    Two lines: the secret, which is the client's and stands nowhere else, and its hash, for the
    client's secret_file or secret_hashes.
    """
    secret = new_secret()
    click.echo(f"secret  {secret}")
    click.echo(f"hash    {hash_of(secret.encode()).hex()}")


@click.command("hash-certificate")
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

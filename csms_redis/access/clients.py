"""The clients of `[auth]`: reads them from settings and secret files, and finds one by a secret."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path

from csms_redis import files
from csms_redis.access.credentials import Credentials
from csms_redis.access.secret import hash_of
from csms_redis.settings import AuthSettings, BadSettings, Role

_HASH = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Client:
    """A program that may call, under a name of its own."""

    name: str
    roles: frozenset[Role]
    hashes: tuple[bytes, ...]  # SHA-256 of each secret that is valid now


def read_clients(settings: AuthSettings) -> tuple[Client, ...]:
    """Read the clients, and their secret files.

    Raises:
        BadSettings: a file cannot be read, or has something else than hashes; or two clients have
            the same secret, so that a Bearer token would name both.
    """
    owners: dict[bytes, str] = {}
    clients = []
    for name, client in settings.clients.items():
        hashes = [bytes.fromhex(digits) for digits in client.secret_hashes]
        if client.secret_file is not None:
            hashes += _read_file(client.secret_file)
        for known in hashes:
            if owners.setdefault(known, name) != name:
                raise BadSettings(f"auth.clients: {owners[known]} and {name} have the same secret")
        clients.append(Client(name, frozenset(client.roles), tuple(hashes)))
    return tuple(clients)


def secret_files(settings: AuthSettings) -> Sequence[Path]:
    """List the files that have the hashes of the clients' secrets."""
    return [client.secret_file for client in settings.clients.values() if client.secret_file]


def recognise(clients: Iterable[Client], credentials: Credentials) -> Client | None:
    """Find the client that has a secret. The time it takes does not show how near a guess is."""
    presented = hash_of(credentials.secret)
    found = None
    for client in clients:
        named = credentials.name is None or compare_digest(client.name.encode(), credentials.name)
        for known in client.hashes:
            if compare_digest(known, presented) & named:
                found = client
    return found


def called(clients: Iterable[Client], name: bytes) -> Client | None:
    """Find the client that has a name. The time it takes does not show how near a guess is."""
    found = None
    for client in clients:
        if compare_digest(client.name.encode(), name):
            found = client
    return found


def _read_file(path: Path) -> Iterator[bytes]:
    try:
        text = files.read(path).decode("utf-8")
    except OSError as error:
        raise BadSettings(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadSettings(f"{path}: is not UTF-8 text") from None
    if not text.strip():
        # most likely somebody is still writing the file, so it must not revoke every secret
        raise BadSettings(f"{path}: is empty; a line with a # revokes every secret")
    for number, line in enumerate(text.splitlines(), 1):
        digits = line.partition("#")[0].strip()
        if not digits:
            continue
        if not _HASH.fullmatch(digits):
            raise BadSettings(
                f"{path}: line {number} is no SHA-256 hash of 64 hex digits: "
                "csms-redis new-secret prints one"
            )
        yield bytes.fromhex(digits)

"""Checks that strangers are kept out, and that secrets are safe in files and on the network."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from csms_redis import files
from csms_redis.access import tls
from csms_redis.access.addresses import is_loopback
from csms_redis.access.clients import Client, read_clients, secret_files
from csms_redis.access.secret import hash_of
from csms_redis.check.finding import Finding, error, ok, warning
from csms_redis.settings import AuthSettings, BadSettings, Role, ServerSettings, TlsSettings

_SOON = dt.timedelta(days=30)
_MAX_SECRETS = 2  # of a client: the old one and the new one, while they are exchanged
_GUESSES = ("", "admin", "changeme", "csms", "password", "secret", "test")


def access(auth: AuthSettings, server: ServerSettings) -> Iterator[Finding]:
    """Check `[auth]`, `[server.tls]` and the files that these name."""
    local = is_loopback(server.host)
    if auth.clients:
        yield from _clients(auth)
    elif not local:
        yield warning("auth", f"everyone who reaches {server.host} may call: set [auth] clients")
    if server.tls.certificate_file is not None:
        yield from _tls(server.tls, server.tls.certificate_file)
    elif auth.clients and not local:
        yield warning(
            "server.tls", "secrets are sent unencrypted, unless a proxy before the service ends TLS"
        )


def _clients(auth: AuthSettings) -> Iterator[Finding]:
    try:
        clients = read_clients(auth)
    except BadSettings as bad:
        yield error("auth", str(bad))
        return
    yield ok("auth", f"{len(clients)} client{'' if len(clients) == 1 else 's'}")
    if not any(Role.GATEWAY in client.roles for client in clients):
        yield warning("auth", "no client has the role gateway: every lookup is refused")
    for client in clients:
        yield from _client(client)
    for file in secret_files(auth):
        if file.stat().st_mode & 0o022:
            yield warning("auth", f"others may write {file}, and so let themselves in: chmod 644")


def _client(client: Client) -> Iterator[Finding]:
    if not client.hashes:
        yield warning("auth", f"{client.name} has no secret: it cannot call")
    if len(client.hashes) > _MAX_SECRETS:
        yield warning("auth", f"{client.name} has {len(client.hashes)} secrets: take out the old")
    if {hash_of(guess.encode()) for guess in (*_GUESSES, client.name)} & set(client.hashes):
        yield warning(
            "auth", f"{client.name} has a secret that is easily guessed: csms-redis new-secret"
        )


def _tls(settings: TlsSettings, certificate_file: Path) -> Iterator[Finding]:
    about = "server.tls"
    try:
        tls.server_context(settings)
        shown = x509.load_pem_x509_certificates(files.read(certificate_file))[0]
    except BadSettings as bad:
        yield error(about, str(bad))
        return
    left = shown.not_valid_after_utc - dt.datetime.now(dt.UTC)
    until = f"{shown.not_valid_after_utc:%Y-%m-%d}"
    if left < dt.timedelta():
        yield error(about, f"{certificate_file} ran out on {until}")
    elif left < _SOON:
        yield warning(about, f"{certificate_file} runs out on {until}")
    else:
        yield ok(about, f"until {until}")
    key = settings.key_file or certificate_file
    if key.stat().st_mode & 0o004:
        yield warning(about, f"everyone on this machine may read the key in {key}")

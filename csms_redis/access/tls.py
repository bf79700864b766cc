"""TLS of the listener (`[server.tls]`): makes the context for new connections from the files."""

import ssl
from collections.abc import Sequence
from pathlib import Path

from csms_redis import files
from csms_redis.settings import BadSettings, TlsSettings


def named(settings: TlsSettings) -> Sequence[Path]:
    """List the files that the settings name."""
    all_of_them = (settings.certificate_file, settings.key_file, settings.client_ca_file)
    return [file for file in all_of_them if file is not None]


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """Make the context; the settings must name a certificate file.

    Raises:
        BadSettings: a file cannot be read, or does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 1  # as Go's; OpenSSL's second one takes a fourteenth of a handshake
    for file in named(settings):
        _check_readable(file)
    certificate, key = settings.certificate_file, settings.key_file
    assert certificate is not None  # noqa: S101 the caller saw to it
    try:
        # an empty password, for without one OpenSSL asks for it at the terminal
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise BadSettings(
            f"server.tls: {certificate} with {key or 'the key in it'}: {_reason(error)}"
        ) from None
    if settings.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        # With a resumed session a client need not prove again that its certificate is valid.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        try:
            context.load_verify_locations(settings.client_ca_file)
        except (OSError, ValueError) as error:
            raise BadSettings(f"server.tls: {settings.client_ca_file}: {_reason(error)}") from None
    return context


def _check_readable(file: Path) -> None:
    try:
        files.read(file)
    except OSError as error:
        raise BadSettings(f"server.tls: {file}: cannot be read: {error.strerror}") from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is another certificate's"
    return f"cannot be used ({reason.lower()})" if reason else "is not PEM, or the key is encrypted"

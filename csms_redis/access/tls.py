"""TLS on the listener (`[server.tls]`): from the files to a context for new connections."""

import ssl
from collections.abc import Sequence
from pathlib import Path

from csms_redis import files
from csms_redis.settings import BadSettings, TlsSettings


def named(settings: TlsSettings) -> Sequence[Path]:
    """The files that make the context."""
    all_of_them = (settings.certificate_file, settings.key_file, settings.client_ca_file)
    return [file for file in all_of_them if file is not None]


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """Read the files, with the certificate's among them.

    Raises:
        BadSettings: they cannot be read, or are not what they should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    for file in named(settings):
        _readable(file)
    certificate, key = settings.certificate_file, settings.key_file
    assert certificate is not None  # noqa: S101 the caller saw to it
    try:
        # the password in vain: without one OpenSSL would ask at the terminal
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise BadSettings(
            f"server.tls: {certificate} with {key or 'the key in it'}: {_told(error)}"
        ) from None
    if settings.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        # A resumed session would spare a client the proof that its certificate still holds.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        try:
            context.load_verify_locations(settings.client_ca_file)
        except (OSError, ValueError) as error:
            raise BadSettings(f"server.tls: {settings.client_ca_file}: {_told(error)}") from None
    return context


def _readable(file: Path) -> None:
    try:
        files.read(file)
    except OSError as error:
        raise BadSettings(f"server.tls: {file}: cannot be read: {error.strerror}") from None


def _told(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is another certificate's"
    return f"cannot be used ({reason.lower()})" if reason else "is not PEM, or the key is encrypted"

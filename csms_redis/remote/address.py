"""Where a service is, and what a client proves itself with."""

import ssl
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from csms_redis.contract.operations import BASE_PATH


class BadAddress(Exception):
    """A service's address, or a file that goes with it, cannot be used; one line for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAddress:
    """A service, as a command is told of it.

    Attributes:
        url: of the service, without the API's path.
        user: a client's name in `[auth]`; None for a Bearer token, or where nobody is asked.
        secret: the client's.
        ca_file: PEM of the authorities that the service's certificate is checked with.
        cert_file: PEM of the client's own certificate, with its key if there is no `key_file`.
        key_file: PEM of its key.
    """

    url: str
    user: str | None = None
    secret: SecretStr | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @classmethod
    def checked_url(cls, text: str) -> str:
        """The URL without what is too much of it.

        Raises:
            BadAddress: it is none of a service; a secret in it is not repeated.
        """
        try:
            parts = urlsplit(text)
            _ = parts.port
        except ValueError:
            raise BadAddress("--server: is no URL; it is written https://HOST:PORT") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BadAddress("--server: is no URL; it is written https://HOST:PORT")
        if "@" in parts.netloc:
            raise BadAddress(
                "--server: no user and no secret stand in the URL, for others on this machine "
                "could see them; use --user and --secret-file"
            )
        if parts.query or parts.fragment:
            raise BadAddress("--server: the URL ends with the path")
        return text.rstrip("/").removesuffix(BASE_PATH).rstrip("/")

    @property
    def authorization(self) -> str | None:
        """The value of the `Authorization` header (RFC 7617, RFC 6750)."""
        if self.secret is None:
            return None
        secret = self.secret.get_secret_value()
        if self.user is None:
            return f"Bearer {secret}"
        return f"Basic {b64encode(f'{self.user}:{secret}'.encode()).decode()}"

    def tls(self) -> ssl.SSLContext | bool:
        """How TLS is spoken.

        Raises:
            BadAddress: a file cannot be used.
        """
        if not self.url.startswith("https:"):
            if self.ca_file or self.cert_file or self.key_file:
                raise BadAddress("--ca-file, --cert-file and --key-file go with an https URL")
            return True
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ValueError):
            raise BadAddress(f"{self.ca_file}: cannot be read, or has no certificates") from None
        if self.key_file and not self.cert_file:
            raise BadAddress("--key-file goes with --cert-file")
        if self.cert_file:
            try:
                # an empty password, for without one OpenSSL asks for it at the terminal
                context.load_cert_chain(self.cert_file, self.key_file, password="")
            except (OSError, ValueError):
                raise BadAddress(
                    f"{self.cert_file} with {self.key_file or 'the key in it'}: cannot be read, "
                    "is not PEM, or the key is encrypted or another certificate's"
                ) from None
        return context

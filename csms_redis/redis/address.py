"""Where one Redis listens, and as whom and under what protection to speak to it."""

import ssl
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a connection to Redis is protected."""

    ca_file: Path | None = None  # the system's authorities where there is none
    cert_file: Path | None = None  # with which the service proves who it is
    key_file: Path | None = None
    check_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """Make what a new connection uses, from the files as they are now.

        Raises:
            OSError: a file cannot be read.
            ssl.SSLError: it holds no certificate, or no key that belongs to it.
        """
        files = [file for file in (self.ca_file, self.cert_file, self.key_file) if file]
        return _context(self, tuple(file.stat().st_mtime_ns for file in files))


@lru_cache(maxsize=8)
def _context(tls: Tls, written: tuple[int, ...]) -> ssl.SSLContext:
    """Read the files; for the system's authorities it takes as long as a thousand lookups."""
    del written
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.check_hostname = tls.check_hostname
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where one Redis listens, and as whom to speak to it."""

    host: str = ""
    port: int = 6379
    path: str = ""  # of a Unix socket; wins over host and port
    tls: Tls | None = None
    db: int = 0
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        """The address for people, without user and password."""
        if self.path:
            return f"unix://{self.path}"
        return f"{'rediss' if self.tls else 'redis'}://{self.host_and_port}/{self.db}"

    def __repr__(self) -> str:
        """As `str`: a password must not reach a traceback."""
        return f"<Address {self}>"

    @property
    def host_and_port(self) -> str:
        """As URLs have them."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def at(self, host: str, port: int) -> "Address":
        """Another server of the same deployment, as this one names it.

        Args:
            host: empty or `?` for this one's own: a node of a cluster may not know its name.
            port: of the other.
        """
        return replace(self, host=self.host if host in {"", "?"} else host, port=port, path="")

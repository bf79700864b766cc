"""Where one Redis listens, and as whom and under what protection to speak to it."""

import asyncio
import errno
import ssl
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import structlog

from csms_redis import aside, files

_PATIENCE: Final = 0.5
"""Seconds that files may take to be read; after that a connection uses what was last read."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a connection to Redis is protected."""

    ca_file: Path | None = None  # the system's authorities where there is none
    cert_file: Path | None = None  # with which the service proves who it is
    key_file: Path | None = None
    check_hostname: bool = True

    async def context(self) -> ssl.SSLContext:
        """The context for a new connection, from the files as they are now.

        Where the files cannot be read now, or not in time, the context is the last one that was
        made. A slow disk so costs a connection at most half a second; what it reads meanwhile is
        used by the next connection.

        Raises:
            OSError: no context was made before, and a file cannot be read, or not in time.
            ssl.SSLError: no context was made before, and a file holds no certificate, or no key
                that belongs to the certificate.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                context = await _being_read.run(self, self.read)
        except OSError as error:  # TimeoutError is one
            if self not in _last:
                raise _explained(error) from None
            if self not in _failure_logged:
                _failure_logged.add(self)
                reason = str(_explained(error).strerror)
                _log.error("not reloaded: the old one stays", about="redis.tls", reason=reason)
        else:
            _last[self] = context
            _failure_logged.discard(self)
        return _last[self]

    def read(self) -> ssl.SSLContext:
        """Read the files, or take the last result where they have not changed.

        Raises:
            OSError: a file cannot be read.
            ssl.SSLError: a file holds no certificate, or no key that belongs to the certificate.
        """
        named = [file for file in (self.ca_file, self.cert_file, self.key_file) if file]
        stamps = tuple(_stamp(file) for file in named)
        return _context(self, stamps)


_being_read: "aside.Shared[Tls, ssl.SSLContext]" = aside.Shared()
_last: dict[Tls, ssl.SSLContext] = {}
_failure_logged: set[Tls] = set()  # whose failure is in the log


def _explained(error: OSError) -> OSError:
    if isinstance(error, TimeoutError) and error.errno is None:
        return OSError(errno.ETIMEDOUT, "its TLS files cannot be read in time")
    return error


def _stamp(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=8)
def _context(tls: Tls, stamps: tuple[tuple[int, ...], ...]) -> ssl.SSLContext:
    """Read the files; the system's authorities take as long as a thousand lookups."""
    del stamps
    for file in (tls.ca_file, tls.cert_file, tls.key_file):
        if file is not None:
            files.read(file)  # OpenSSL would wait for a pipe
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.check_hostname = tls.check_hostname
    if tls.cert_file is not None:
        # the password in vain: without one OpenSSL would ask at the terminal
        context.load_cert_chain(tls.cert_file, tls.key_file, password="")
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
        """The same as `str`: a password must not reach a traceback."""
        return f"<Address {self}>"

    @property
    def host_and_port(self) -> str:
        """Host and port as a URL has them."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def at(self, host: str, port: int) -> "Address":
        """Another server of the same deployment, as this one names it.

        Args:
            host: empty or `?` for this one's own: a node of a cluster may not know its name.
            port: of the other.
        """
        return replace(self, host=self.host if host in {"", "?"} else host, port=port, path="")

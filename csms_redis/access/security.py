"""Access control and TLS of the listener; both are read again when their files change."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from csms_redis.access import tls
from csms_redis.access.clients import read_clients, secret_files
from csms_redis.access.control import AccessControl
from csms_redis.access.file_watch import FileWatch
from csms_redis.settings import AuthSettings, ServerSettings


class Security:
    """Keeps access control and the TLS context as the files say.

    It reads the files and watches them. It does not decide about a request: `AccessControl` does.

    Attributes:
        access_control: decides who may do what.
    """

    def __init__(self, auth: AuthSettings, server: ServerSettings) -> None:
        """Read the files for the first time.

        Raises:
            BadSettings: a file cannot be used.
        """
        self.access_control = AccessControl(server.trusted_proxies)
        self._context: ssl.SSLContext | None = None
        self._watches: list[FileWatch[Any]] = []
        if auth.clients:
            files = secret_files(auth)
            self._watches.append(
                FileWatch("auth", files, lambda: read_clients(auth), self.access_control.use)
            )
        if server.tls.certificate_file is not None:
            files = tls.named(server.tls)
            self._watches.append(
                FileWatch("server.tls", files, lambda: tls.server_context(server.tls), self._use)
            )

    @property
    def protected(self) -> bool:
        """Whether connections begin with TLS."""
        return self._context is not None

    def context(self) -> ssl.SSLContext | None:
        """The TLS context of the next connection; None without TLS."""
        return self._context

    @property
    def reloads(self) -> list[Callable[[], None]]:
        """Functions that read the files again now; each logs the outcome."""
        return [watch.look_now for watch in self._watches]

    async def run(self) -> None:
        """Watch the files until cancelled."""
        await asyncio.gather(*(watch.run() for watch in self._watches))

    def _use(self, context: ssl.SSLContext) -> None:
        self._context = context

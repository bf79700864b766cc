"""A service as the place of a command's records. Only its commands load aiohttp, which is slow."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

from csms_redis.commands.exits import run_or_exit
from csms_redis.commands.places import Place, Registry
from csms_redis.remote.address import ServiceAddress
from csms_redis.remote.records import RemoteCertificates, RemoteStations, RemoteTokens
from csms_redis.remote.registry import RemoteRegistry, open_registry
from csms_redis.settings import ApiSettings


class ServicePlace(Place):
    """A service, over HTTP. It checks what it is sent, and writes the audit itself."""

    prefix = b""
    together = 1000  # in one request, which is one line of the service's log

    def __init__(self, address: ServiceAddress) -> None:
        self._address = address
        self.api = run_or_exit(self._rules())

    async def _rules(self) -> ApiSettings:
        async with open_registry(self._address) as registry:
            return await registry.rules()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Registry]:
        async with open_registry(self._address) as registry:
            yield _ServiceRegistry(registry)

    def importing(self) -> AbstractAsyncContextManager[Registry]:
        return self.opened()

    def now(self) -> bytes:
        return b"null"  # the service's own clock tells

    @contextmanager
    def audited(self, command: str, operation: str) -> Iterator[dict[str, Any]]:
        del command, operation
        yield {}


class _ServiceRegistry(RemoteRegistry):
    """What a service is asked."""

    def __init__(self, registry: RemoteRegistry) -> None:
        super().__init__(registry.session)
        self.stations = RemoteStations(self.session)
        self.tokens = RemoteTokens(self.session)
        self.certificates = RemoteCertificates(self.session)

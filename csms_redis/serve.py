"""The service from its settings to its end: Redis, lookups, application, listener, drain."""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from aiohttp import web

from csms_redis.api.app import make_app
from csms_redis.api.protocol import StatusRequestHandler
from csms_redis.lookup.front import Front
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.supervisor import Supervisor
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient
from csms_redis.redis.embedded import EmbeddedValkey
from csms_redis.redis.node import Durability, Node
from csms_redis.redis.standalone import Standalone
from csms_redis.redis.topology import Topology
from csms_redis.redis.url import configured
from csms_redis.registry.certificates import Certificates
from csms_redis.registry.stations import Stations
from csms_redis.registry.tokens import Tokens
from csms_redis.settings import RedisSettings, ServerSettings, Settings

_MOST_DESCRIPTORS = 2**20
_OTHER_DESCRIPTORS = 128  # the listener, Redis, files, and some to spare
_log = structlog.get_logger()


class CannotListen(Exception):
    """The address cannot be listened on; the message is one line for the operator."""


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the drain.

    Raises:
        BadSettings: a setting cannot be used.
        EmbeddedError: the embedded store cannot be started.
        CannotListen: the address is taken or not ours.
    """
    stopping = _Stopping()
    prefix = settings.redis.key_prefix.encode()
    async with _topology(settings.redis) as topology:
        lookups = Lookups(settings.lookup, prefix, topology)
        redis = _client(settings.redis, topology)
        supervisor = Supervisor(lookups, topology, prefix=prefix, timeout=settings.redis.timeout)

        def components() -> Mapping[str, str | None]:
            return {"redis": supervisor.problem, "server": stopping.problem}

        app = make_app(
            stations=Stations(redis, prefix),
            tokens=Tokens(redis, prefix),
            certificates=Certificates(redis, prefix),
            lookups=lookups,
            components=components,
            strict=settings.api.strict,
            max_body=settings.server.max_body,
            request_timeout=settings.server.request_timeout,
        )
        try:
            # should one of these two ever fail, the group ends the service instead of letting it
            # linger half alive
            async with asyncio.TaskGroup() as background:
                supervising = background.create_task(supervisor.run())
                async with _listening(app, lookups, settings.server, stopping) as front:
                    sweeping = background.create_task(front.run())
                    await stopping.first.wait()
                    await stopping.delay(settings.server.drain_delay)
                    _log.info("draining", seconds=settings.server.drain_timeout)
                sweeping.cancel()
                supervising.cancel()
        except BaseExceptionGroup as group:
            refused, others = group.split(CannotListen)
            if refused is None or others is not None:
                raise
            raise CannotListen(str(refused.exceptions[0])) from None
        finally:
            await redis.close()
    _log.info("stopped")


class _Stopping:
    """SIGTERM and SIGINT: the first asks for an orderly end, the second for a quick one."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._signalled)

    def _signalled(self) -> None:
        (self.second if self.first.is_set() else self.first).set()

    @property
    def problem(self) -> str | None:
        """What readiness says of it."""
        return "is shutting down" if self.first.is_set() else None

    async def delay(self, seconds: float) -> None:
        """Wait, unless there is a second signal."""
        await self.unless_hurried(asyncio.sleep(seconds))

    async def unless_hurried(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work, and drop it at a second signal."""
        working = asyncio.create_task(work)
        hurry = asyncio.create_task(self.second.wait())
        await asyncio.wait({working, hurry}, return_when=asyncio.FIRST_COMPLETED)
        for task in (working, hurry):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def _topology(settings: RedisSettings) -> AsyncIterator[Topology]:
    """Where Redis is; the embedded one runs meanwhile."""
    if topology := configured(settings):
        try:
            yield topology
        finally:
            await topology.close()
        return
    valkey = EmbeddedValkey(settings.data_dir)
    await valkey.start()
    _log.info("embedded store", data_dir=str(settings.data_dir.resolve()))
    try:
        yield Standalone(Address(path=valkey.socket))
    finally:
        await valkey.stop()


def _client(settings: RedisSettings, topology: Topology) -> RedisClient:
    durability = Durability(
        replicas=settings.wait_replicas,
        timeout=settings.wait_timeout,
        on_disk=settings.wait_for_disk,
    )

    def node(address: Address) -> Node:
        return Node(address, max_connections=settings.max_connections, durability=durability)

    return RedisClient(topology, node, timeout=settings.timeout)


@asynccontextmanager
async def _listening(
    app: web.Application, lookups: Lookups, settings: ServerSettings, stopping: _Stopping
) -> AsyncIterator[Front]:
    """Accept connections; at the end, stop accepting and finish what is under way."""
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=settings.drain_timeout)
    await runner.setup()
    server = runner.server
    assert server is not None  # noqa: S101 setup made it
    front = Front(
        lookups,
        lambda answered: StatusRequestHandler(server, answered),
        keepalive_timeout=settings.keepalive_timeout,
        request_timeout=settings.request_timeout,
        max_connections=settings.max_connections or _descriptors(),
    )
    try:
        try:
            listener = await asyncio.get_running_loop().create_server(
                front.protocol, settings.host, settings.port, backlog=settings.backlog
            )
        except OSError as error:
            # not strerror of the error, in which uvloop repeats the address
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            raise CannotListen(
                f"cannot listen on {settings.host} port {settings.port}: {reason}"
            ) from None
        host, port, *_ = listener.sockets[0].getsockname()
        _log.info("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")
        try:
            yield front
        finally:
            listener.close()
            await stopping.unless_hurried(front.drain(settings.drain_timeout))
            front.abort()
    finally:
        await runner.cleanup()


def _descriptors() -> int:
    """How many connections the limit of descriptors leaves room for, raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted - _OTHER_DESCRIPTORS

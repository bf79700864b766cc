"""The service from its settings to its end: Redis, lookups, application, listener, drain."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from time import monotonic
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from csms_redis import aside
from csms_redis.access.addresses import is_loopback
from csms_redis.access.security import Security
from csms_redis.api.app import make_app
from csms_redis.api.health import Component, is_ready
from csms_redis.api.metrics import collector_for
from csms_redis.api.protocol import StatusRequestHandler
from csms_redis.api.tracing import add_tracing
from csms_redis.check import check
from csms_redis.contract.errors import Unavailable
from csms_redis.descriptors import Descriptors
from csms_redis.listener import Listener, listen
from csms_redis.listening_sockets import CannotListen
from csms_redis.lookup.front.bodiless import Bodiless
from csms_redis.lookup.front.server import LookupServer
from csms_redis.lookup.front.tracing import LookupSpans
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.shared import Shared
from csms_redis.lookup.reading.supervisor import Supervisor
from csms_redis.lookup.refused import RefusedStations
from csms_redis.redis.deployment import client, plain_client, running
from csms_redis.redis.topology import Topology
from csms_redis.registry.certificates import Certificates, ExpiringCertificates
from csms_redis.registry.data_set import DataSet
from csms_redis.registry.layout import Layout, UnknownLayout
from csms_redis.registry.records import RecordStore
from csms_redis.registry.refused import RefusedStore
from csms_redis.registry.stations import Stations
from csms_redis.registry.tokens import Tokens
from csms_redis.settings import BadSettings, Settings
from csms_redis.signals import Signals
from csms_redis.telemetry.metrics import LoopLag
from csms_redis.telemetry.tracing import Tracing

_FIRST_CONTACT = 2.0  # seconds
_LAST_SPANS = 3.0  # seconds that the collector has to take the last spans
_AFTER_DRAIN = 0.1  # seconds that aiohttp has to end handlers whose connections are gone
_log = structlog.get_logger()


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the drain.

    While it starts, the first one ends that, whatever it waits for.

    Raises:
        BadSettings: a setting cannot be used, or not with the records that are in Redis.
        EmbeddedError: the embedded store cannot be started.
        CannotListen: the address is taken or not ours.
    """
    signals = Signals()
    await signals.unless_stopped(_serve(settings, signals))
    signals.ended()
    _log.info("stopped")


async def _serve(settings: Settings, signals: Signals) -> None:
    security = await aside.run(lambda: Security(settings.auth, settings.server))
    signals.reloads += security.reloads
    prefix = settings.redis.key_prefix.encode()
    async with running(settings.redis, serves=True) as topology:
        lookups = Lookups(settings.lookup, prefix, topology)
        unguarded = plain_client(settings.redis, topology)
        layout = Layout(unguarded, prefix)
        redis = client(settings.redis, topology, admit=layout.admit)
        supervisor = Supervisor(
            Shared(
                lookups=lookups,
                prefix=prefix,
                timeout=settings.redis.timeout,
                layout=layout,
                data_set=DataSet(unguarded, prefix),
            )
        )

        def components() -> Mapping[str, Component]:
            return _components(supervisor, lookups, signals, settings)

        refused = RefusedStations(security.access_control)
        refused_store = RefusedStore(unguarded, prefix, layout.admit)
        certificates = Certificates(redis, prefix)
        expiring = ExpiringCertificates(certificates)
        app = make_app(
            stations=Stations(redis, prefix),
            tokens=Tokens(redis, prefix),
            certificates=certificates,
            lookups=lookups,
            components=components,
            access_control=security.access_control,
            refused=refused,
            refused_store=refused_store,
            store=RecordStore(redis, prefix),
            check=lambda: check(settings),
            api=settings.api,
            max_body=settings.server.max_body,
            request_timeout=settings.server.request_timeout,
        )
        tracing = Tracing(settings.telemetry) if settings.telemetry.otlp_endpoint else None
        if tracing is not None:
            add_tracing(app, tracing)
        lag = LoopLag()
        collector = collector_for(
            app,
            lookups=lookups,
            supervisor=supervisor,
            expiring=expiring,
            refused=refused,
            lag=lag,
            ready=lambda: is_ready(components()),
        )
        descriptors = Descriptors(topology, settings)
        try:
            await _refuse_unknown(layout, topology)
            # should one of these ever fail, the group ends the service instead of letting it
            # linger half alive
            async with asyncio.TaskGroup() as background:
                tasks = [background.create_task(supervisor.run())]
                async with _listening(
                    app, lookups, security, refused, descriptors, settings, signals
                ) as (
                    lookup_server,
                    server,
                ):
                    collector.listens(lookup_server, server)
                    if tracing is not None:
                        lookup_server.spans = LookupSpans(tracing)
                    tasks += [
                        background.create_task(forever)
                        for forever in (
                            expiring.run(),
                            lookup_server.run(),
                            lag.run(),
                            security.run(),
                            refused.run(refused_store),
                        )
                    ]
                    signals.started()
                    await signals.first.wait()
                    await signals.delay(settings.server.drain_delay)
                    _log.info("draining", seconds=settings.server.drain_timeout)
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as group:
            cannot, others = group.split(CannotListen)
            if cannot is None or others is not None:
                raise
            raise CannotListen(str(cannot.exceptions[0])) from None
        finally:
            await redis.close()
            await unguarded.close()
            if tracing is not None:
                with suppress(TimeoutError):  # the collector's name server may be silent
                    async with asyncio.timeout(_LAST_SPANS):
                        await aside.run(tracing.close)


def _components(
    supervisor: Supervisor, lookups: Lookups, signals: Signals, settings: Settings
) -> Mapping[str, Component]:
    """The parts of the service as they are now."""
    problem, unread = supervisor.problem, supervisor.unread
    # a part that is away is away for other processes too, and no reason to lose the rest
    does_without = supervisor.has_started() and (
        unread < 1 or (settings.server.ready_without_redis and lookups.sources.serve_stale)
    )
    if problem is not None and 0 < unread < 1:
        problem = f"{unread:.0%} of the records cannot be read: {problem}"
    found = {
        "redis": Component(problem, needed=not does_without),
        "server": Component(signals.problem),
    }
    if (preload := supervisor.preload) is not None:
        # where Redis cannot be read, that is why not all is known: one reason is enough
        found["preload"] = Component(
            preload.problem,
            needed=preload.is_awaited and problem is None,
            details=preload.details,
        )
    return found


async def _refuse_unknown(layout: Layout, topology: Topology) -> None:
    """Go no further with records that are not this program's, if they can be had now.

    Raises:
        BadSettings: they are not.
    """
    try:
        async with asyncio.timeout(_FIRST_CONTACT):
            await topology.look()
            await layout.admit()
    except UnknownLayout as unknown:
        raise BadSettings(unknown.error) from None
    except (TimeoutError, Unavailable):
        pass  # the supervisor tells why, and tries again


@asynccontextmanager
async def _listening(  # noqa: PLR0913, PLR0917 each part of the service once
    app: web.Application,
    lookups: Lookups,
    security: Security,
    refused: RefusedStations,
    descriptors: Descriptors,
    settings: Settings,
    signals: Signals,
) -> AsyncIterator[tuple[LookupServer, web.Server]]:
    """Accept connections; at the end, stop accepting and finish what is under way."""
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=_AFTER_DRAIN)
    await runner.setup()
    server = runner.server
    assert server is not None  # noqa: S101 setup made it
    bodiless = Bodiless(settings.api.bodiless_refusals_for)
    lookup_server = LookupServer(
        lookups,
        lambda answered: StatusRequestHandler(server, answered, bodiless),
        security.access_control,
        keepalive_timeout=settings.server.keepalive_timeout,
        request_timeout=settings.server.request_timeout,
        max_connections=descriptors.connections,
        bodiless=bodiless,
        tls=security.context,
        refused=refused,
    )

    descriptors.limit(lookup_server.connections)
    try:
        listener = await listen(settings.server)
        try:
            listener.start(
                lookup_server.handshakes.begin
                if security.protected
                else lookup_server.plain_sockets.begin,
                secured=security.protected,
                room=lookup_server.connections.room,
            )
            if security.access_control.open_to_all and not all(map(_is_local, listener.urls)):
                _log.warning("everyone who reaches the address may call: set [auth] clients")
            for url in listener.urls:
                _log.info("listening", url=url)
            yield lookup_server, server
            lookup_server.begin_drain()
            await signals.unless_hurried(
                _drain(listener, lookup_server, settings.server.drain_timeout)
            )
        finally:
            listener.close()
            lookup_server.connections.abort()
            lookup_server.plain_sockets.close()
    finally:
        await runner.cleanup()


def _is_local(url: str) -> bool:
    """Whether only this machine reaches what listens there; a Unix socket has no host."""
    host = urlsplit(url).hostname
    return host is None or is_loopback(host)


async def _drain(listener: Listener, lookup_server: LookupServer, seconds: float) -> None:
    """Answer whoever is connected by now, and end within some seconds."""
    end = monotonic() + seconds
    try:
        async with asyncio.timeout(seconds):
            await listener.stop()
    except TimeoutError:
        _log.error("some connections were not accepted in time", seconds=seconds)
    except Exception:  # noqa: BLE001 whatever it is, who is connected is still answered
        _log.exception("not every connection was accepted")
    await lookup_server.drain(max(0.0, end - monotonic()))

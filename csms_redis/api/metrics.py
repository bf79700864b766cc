"""`/metrics`: what Prometheus reads. It is made of the service's plain numbers at each scrape.

No label has an id, or anything else that a caller chooses. So each has few values, which are known
beforehand, except the addresses of the Redis masters.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, Metric, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from csms_redis import __version__
from csms_redis.api.doubts import DOUBTS
from csms_redis.api.middleware import WRITES
from csms_redis.contract.doubts import Doubt
from csms_redis.lookup.front.server import LookupServer
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.supervisor import Supervisor
from csms_redis.lookup.refused import RefusedStations
from csms_redis.registry.certificates import ExpiringCertificates
from csms_redis.telemetry.metrics import Histogram, LoopLag, WriteCounts

_ROLES = ("master", "replica", "unknown")


class ServiceCollector(Collector):
    """Makes metrics of the service's numbers at each scrape; it counts nothing itself."""

    def __init__(  # noqa: PLR0913 one keyword for each thing that has numbers
        self,
        *,
        lookups: Lookups,
        supervisor: Supervisor,
        expiring: ExpiringCertificates,
        refused: RefusedStations,
        lag: LoopLag,
        writes: WriteCounts,
        doubts: Counter[Doubt],
        ready: Callable[[], bool],
    ) -> None:
        """Read the numbers of these parts.

        Args:
            lookups: the near cache, and how lookups ended.
            supervisor: the connections to the Redis masters.
            expiring: how many certificates run out soon.
            refused: how many stations are turned away.
            lag: how late the event loop is.
            writes: how writes ended.
            doubts: how many records came with each doubt.
            ready: whether the readiness probe would succeed.
        """
        self._listening: tuple[LookupServer, web.Server] | None = None
        self._lookups = lookups
        self._supervisor = supervisor
        self._expiring = expiring
        self._refused = refused
        self._lag = lag
        self._writes = writes
        self._doubts = doubts
        self._ready = ready

    def listens(self, lookup_server: LookupServer, server: web.Server) -> None:
        """Read the numbers of the listener's parts too, once the application runs."""
        self._listening = lookup_server, server

    def collect(self) -> Iterable[Metric]:
        """Every metric, as it is now."""
        yield InfoMetricFamily(
            "csms_build",
            "What is running.",
            {"version": __version__, "python": platform.python_version()},
        )
        yield _gauge("csms_ready", "Whether the readiness probe succeeds.", self._ready())
        yield _histogram(
            "csms_event_loop_lag_seconds",
            "How late the event loop comes to what is due.",
            self._lag.seconds,
        )
        yield from self._of_lookups()
        yield from self._of_redis()
        yield from self._of_requests()
        yield _gauge(
            "csms_refused_stations",
            "Stations that were turned away here within ten minutes, as far as they are kept.",
            self._refused.lately(),
        )
        number = self._expiring.number
        if number is not None:
            yield _gauge(
                "csms_certificates_expiring",
                "Certificates that run out within 30 days or have run out.",
                number.soon,
            )
            yield _gauge(
                "csms_certificates_without_expiry",
                "Certificates whose notAfter cannot be read, so that nobody is told of their end.",
                number.unreadable,
            )

    def _of_lookups(self) -> Iterable[Metric]:
        counts = self._lookups.counts
        yield _counters(
            "csms_lookups",
            "Lookups by route and what became of them.",
            ("route", "outcome"),
            counts.by_route().items(),
        )
        yield _histogram(
            "csms_redis_read_seconds",
            "From a lookup that the near cache could not answer to Redis' reply.",
            counts.read_seconds,
        )
        yield _gauge(
            "csms_lookup_flights",
            "Reads that Redis has not answered.",
            self._lookups.in_flight,
        )
        cache = self._lookups.cache
        yield _gauge("csms_near_cache_entries", "Answers kept.", len(cache))
        yield _gauge("csms_near_cache_bytes", "Memory of the answers kept.", cache.size)
        yield _gauge("csms_near_cache_max_entries", "lookup.cache_entries", cache.max_entries)
        yield _gauge("csms_near_cache_max_bytes", "lookup.cache_bytes", cache.max_bytes)
        yield _counter(
            "csms_near_cache_evictions",
            "Answers dropped to make room.",
            cache.evictions,
        )
        yield _gauge(
            "csms_unknown_cache_entries",
            "Ids that are known not to exist.",
            self._lookups.sources.unknown_entries,
        )
        yield _counters(
            "csms_invalidations",
            "Changes that Redis told of: of a key, or of all.",
            ("of",),
            [(["key"], counts.invalidations), (["all"], counts.flushes)],
        )

    def _of_redis(self) -> Iterable[Metric]:
        counts = self._lookups.counts
        yield _counter(
            "csms_redis_connections", "Read connections that were made.", counts.connected
        )
        yield _counter(
            "csms_redis_connections_lost", "Read connections that were lost.", counts.lost
        )
        yield _gauge(
            "csms_redis_topology_certain",
            "Whether it is known which masters there are.",
            self._supervisor.certain,
        )
        yield _gauge(
            "csms_redis_unread_ratio",
            "The part of the records whose master is not read from, between 0 and 1.",
            self._supervisor.unread,
        )
        links = self._supervisor.links
        up = GaugeMetricFamily("csms_redis_up", "Whether a master is read from.", labels=["redis"])
        leased = GaugeMetricFamily(
            "csms_redis_leased",
            "Whether what is read from a master may be kept.",
            labels=["redis"],
        )
        role = GaugeMetricFamily(
            "csms_redis_role",
            "What a master says that it is: 1 for one of the roles.",
            labels=["redis", "role"],
        )
        for redis, link in links.items():
            up.add_metric([redis], link.problem is None)
            leased.add_metric([redis], link.leased)
            for each in _ROLES:
                role.add_metric([redis, each], each == link.role)
        yield from (up, leased, role)
        yield from self._of_preload()

    def _of_preload(self) -> Iterable[Metric]:
        preload = self._supervisor.preload
        if preload is None:
            return
        yield _gauge(
            "csms_ready_in_part",
            "Whether the process became ready before all records were read.",
            preload.ready_in_part,
        )
        labels = ["redis", "kind"]
        whole = GaugeMetricFamily(
            "csms_whole",
            "Whether all records of a kind at a master are known.",
            labels=labels,
        )
        open_ids = GaugeMetricFamily(
            "csms_open_ids",
            "Ids of a kind that is whole, or being read, that ask Redis all the same.",
            labels=labels,
        )
        records = GaugeMetricFamily(
            "csms_preloaded_records", "Records that the last scan found or read.", labels=labels
        )
        for master, kind, known in preload.kinds:
            whole.add_metric([master, kind], known.is_whole)
            open_ids.add_metric([master, kind], len(known.open))
            records.add_metric([master, kind], known.records)
        yield from (whole, open_ids, records)

    def _of_requests(self) -> Iterable[Metric]:
        yield _counters(
            "csms_writes",
            "Requests to change something, by what came of them.",
            ("operation", "outcome"),
            self._writes.by_outcome.items(),
        )
        yield _counters(
            "csms_doubts",
            "Records that were doubtful, by what is doubtful; stored, or refused when strict.",
            ("doubt",),
            (([doubt.value], number) for doubt, number in self._doubts.items()),
        )
        yield _histogram(
            "csms_write_seconds", "From a write's head to its answer.", self._writes.seconds
        )
        if self._listening is None:
            return
        lookup_server, server = self._listening
        connections = lookup_server.connections
        yield _counter(
            "csms_requests_handed_over", "Requests that aiohttp answered.", server.requests_count
        )
        yield _gauge("csms_connections_open", "Open connections.", len(connections))
        yield _gauge(
            "csms_connections_max",
            "Open connections beyond which idle ones are closed.",
            connections.max_connections,
        )
        yield _counters(
            "csms_credentials_refused",
            "Requests whose credentials were not enough, by why.",
            ("reason",),
            (
                ([reason], number)
                for reason, number in lookup_server.access_control.refusals.by_reason.items()
            ),
        )
        yield _counter("csms_connections_accepted", "Connections accepted.", connections.accepted)


def collector_for(  # noqa: PLR0913 as its class
    app: web.Application,
    *,
    lookups: Lookups,
    supervisor: Supervisor,
    expiring: ExpiringCertificates,
    refused: RefusedStations,
    lag: LoopLag,
    ready: Callable[[], bool],
) -> ServiceCollector:
    """Add `/metrics` to an application.

    Returns:
        The collector behind it; `ServiceCollector.listens` gives it the listener's parts later.
    """
    collector = ServiceCollector(
        lookups=lookups,
        supervisor=supervisor,
        expiring=expiring,
        refused=refused,
        lag=lag,
        writes=app[WRITES],
        doubts=app[DOUBTS],
        ready=ready,
    )
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app.router.add_get("/metrics", metrics, name="metrics")
    return collector


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(name, said, value=value)


def _counter(name: str, said: str, value: float) -> Metric:
    return CounterMetricFamily(name, said, value=value)


def _counters(
    name: str, said: str, labels: tuple[str, ...], values: Iterable[tuple[Sequence[str], int]]
) -> Metric:
    family = CounterMetricFamily(name, said, labels=labels)
    for words, value in values:
        family.add_metric(words, value)
    return family


def _histogram(name: str, said: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, said, buckets=histogram.buckets, sum_value=histogram.total)

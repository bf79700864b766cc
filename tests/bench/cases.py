"""The cases: which servers run under which load."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import stations
from .client import Check
from .servers import AUTH, PEERS, Server, csms_redis
from .wrk import Load, Writes

STATIONS = 10_000
UNKNOWN_STATIONS = 1000
FLOOD_STATIONS = 1_000_000
LOOKUPS_PER_WRITE = 99
SERVICE = "csms-redis"
SERVICE_HIT = "csms-redis, hit"
STANDALONE = "csms-redis, standalone"


@dataclass(frozen=True, slots=True)
class Row:
    """A server under a load, its name in the table and what its answers are to be."""

    name: str
    server: Server
    load: Load
    right: Check


Rows = Callable[[Sequence[Server]], list[Row]]


def _row(server: Server, load: Load) -> Row:
    return Row(server.name, server, load, server.right)


def _known(server: Server, *, close: bool = False) -> Load:
    return Load(pattern=server.path % stations.PATTERN, count=STATIONS, close=close)


def _unknown(server: Server, count: int = UNKNOWN_STATIONS) -> Load:
    pattern = server.path % stations.UNKNOWN_PATTERN
    return Load(pattern=pattern, count=count, status=server.unknown)


def _hit(peers: Sequence[Server]) -> list[Row]:
    return [_row(server, _known(server)) for server in (csms_redis(), *peers)]


def _read_through(peers: Sequence[Server]) -> list[Row]:
    servers = (csms_redis(cache_entries=0), *peers)
    return [_row(server, _known(server)) for server in servers]


def _in_order(peers: Sequence[Server]) -> list[Server]:
    # webdis mixes up the answers of connections that ended with those after them
    return [peer for peer in peers if peer.name != "webdis"]


def _new_connection(peers: Sequence[Server]) -> list[Row]:
    servers = (csms_redis(), *_in_order(peers))
    return [_row(server, _known(server, close=True)) for server in servers]


def _unknown_station(peers: Sequence[Server]) -> list[Row]:
    service = csms_redis()
    return [
        _row(service, _unknown(service)),
        Row(SERVICE_HIT, service, _known(service), service.right),
        *(_row(server, _unknown(server)) for server in _in_order(peers)),
    ]


def _unknown_flood(peers: Sequence[Server]) -> list[Row]:
    servers = (csms_redis(), *_in_order(peers))
    return [_row(server, _unknown(server, FLOOD_STATIONS)) for server in servers]


_WRITE_PATTERN = AUTH.removesuffix("/auth") % stations.PATTERN


def _write(peers: Sequence[Server]) -> list[Row]:
    servers = (csms_redis(), *(peer for peer in peers if peer.name == PEERS["aiohttp"].name))
    writes = Load(
        pattern=AUTH % stations.PATTERN,
        count=STATIONS,
        status=201,
        writes=Writes(every=0, pattern=_WRITE_PATTERN, body=stations.auth(0)),
    )
    return [Row(server.name, server, writes, stations.is_written_auth) for server in servers]


def _mixed(_: Sequence[Server]) -> list[Row]:
    service = csms_redis()
    mixed = Load(
        pattern=service.path % stations.PATTERN,
        count=STATIONS,
        writes=Writes(
            every=LOOKUPS_PER_WRITE,
            pattern=_WRITE_PATTERN,
            body=stations.auth(0),
        ),
    )
    right = stations.is_written_auth
    return [
        Row(SERVICE, service, mixed, right),
        Row(SERVICE_HIT, service, _known(service), right),
    ]


def _cluster(_: Sequence[Server]) -> list[Row]:
    return _beside_standalone(csms_redis(cluster=True), csms_redis())


def _cluster_read_through(_: Sequence[Server]) -> list[Row]:
    return _beside_standalone(
        csms_redis(cluster=True, cache_entries=0), csms_redis(cache_entries=0)
    )


def _beside_standalone(clustered: Server, standalone: Server) -> list[Row]:
    return [
        _row(clustered, _known(clustered)),
        Row(STANDALONE, standalone, _known(standalone), standalone.right),
    ]


CASES: dict[str, Rows] = {
    "hit": _hit,
    "read-through": _read_through,
    "new-connection": _new_connection,
    "unknown": _unknown_station,
    "unknown-flood": _unknown_flood,
    "write": _write,
    "mixed": _mixed,
    "cluster": _cluster,
    "cluster-read-through": _cluster_read_through,
}
"""The cases under wrk; the storms, the preload and the memory are run by modules of their own."""

CLUSTERED = frozenset(["cluster", "cluster-read-through"])
"""Those that need a cluster beside the one Redis."""

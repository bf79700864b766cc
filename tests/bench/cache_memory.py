"""What the near cache costs in memory, by the service's resident size."""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import orjson
from redis import Redis

from . import client, stations
from .cpu import peak_resident_bytes, resident_bytes
from .machine import Cores, Started, Store, servers
from .processes import CannotRun
from .servers import csms_redis

CACHE_BYTES = 64 * 2**20
_SMALL_CACHE_BYTES = 2**20
_PEM = "-----BEGIN CERTIFICATE-----\n" + ("A" * 64 + "\n") * 38 + "-----END CERTIFICATE-----\n"
_FIRST = 1000
_BATCH = 1000
_PROBES = 100
_PATIENCE = 600  # seconds for all to be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What was measured.

    Attributes:
        stations: Stations that a service has read.
        bytes_per_station: Growth of the service's resident size for each.
        certificates: Certificates of 2.5 kB that were looked up.
        cache_bytes: What `lookup.cache_bytes` was set to for them.
        certificate_bytes: What they took of the service's peak resident size, above that of a
            service with a near cache of 1 MiB.
    """

    stations: int
    bytes_per_station: float
    certificates: int
    cache_bytes: int
    certificate_bytes: int


def run(cores: Cores, kept: Store, *, count: int) -> Memory:
    """Cache that many stations, then many more certificates than fit."""
    stations.store(kept.redis, first=0, count=count)
    bytes_per_station = _stations(cores, kept, count)  # before there is something else to read
    certificates = 2 * CACHE_BYTES // len(_PEM)
    _store_certificates(kept.redis, certificates)
    return Memory(
        stations=count,
        bytes_per_station=bytes_per_station,
        certificates=certificates,
        cache_bytes=CACHE_BYTES,
        certificate_bytes=_peak(cores, kept, certificates, CACHE_BYTES)
        - _peak(cores, kept, certificates, _SMALL_CACHE_BYTES)
        + _SMALL_CACHE_BYTES,
    )


def _stations(cores: Cores, kept: Store, count: int) -> float:
    """The bytes of a station, of a service that has read all beside one that has read a few."""
    path = (csms_redis().path % stations.PATTERN).__mod__
    few = csms_redis(preload=0, cache_entries=2 * count, cache_bytes=2**40)
    with servers(cores, kept, [few]) as [started]:
        _walker(started, path, few.right)(range(_FIRST))
        before = resident_bytes(started.pid)
    whole = csms_redis(preload_wait=_PATIENCE, cache_entries=2 * count, cache_bytes=2**40)
    with servers(cores, kept, [whole]) as [started]:
        reads = _reads(kept.redis)
        _walker(started, path, whole.right)(range(_FIRST))
        if _reads(kept.redis) - reads > _PROBES:
            raise CannotRun(f"the service does not keep {count} stations in its near cache")
        return (resident_bytes(started.pid) - before) / (count - _FIRST)


def _peak(cores: Cores, kept: Store, certificates: int, cache_bytes: int) -> int:
    with servers(cores, kept, [csms_redis(preload=0, cache_bytes=cache_bytes)]) as [started]:
        _walker(started, _certificate_path, _is_certificate)(range(certificates))
        return peak_resident_bytes(started.pid)


def _walker(
    started: Started, path: Callable[[int], str], check: client.Check
) -> Callable[[range], None]:
    def look_up(numbers: range) -> None:
        client.walk(started.port, path, numbers=numbers, check=check)

    return look_up


def _reads(redis: Redis) -> int:
    statistics = redis.info("commandstats")
    return int(statistics.get("cmdstat_hmget", {}).get("calls", 0))


def _store_certificates(redis: Redis, count: int) -> None:
    value = orjson.dumps(_PEM)
    for start in range(0, count, _BATCH):
        pipeline = redis.pipeline(transaction=False)
        for number in range(start, min(start + _BATCH, count)):
            pipeline.hset(f"certificate:{_hash(number)}", "certificate", value)
        pipeline.execute()


def _hash(number: int) -> str:
    return urlsafe_b64encode(sha256(b"%d" % number).digest()).decode()


def _certificate_path(number: int) -> str:
    return f"/api/v0/certificate/{_hash(number)}"


def _is_certificate(_: int, status: int, body: bytes) -> bool:
    return status == 200 and len(body) > len(_PEM)

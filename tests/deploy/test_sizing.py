"""The arithmetic of deploy/size.md, done again from the figures of deploy/measured/sizes.md."""

import re
from collections.abc import Callable
from math import ceil
from pathlib import Path

import pytest

from csms_redis.settings import LookupSettings
from tests.deploy.document import page
from tests.deploy.test_kubernetes import (
    CONNECTION,
    CONNECTION_WITH_TLS,
    PROCESS,
    UNDER_WAY,
    UNKNOWN_ENTRY,
)

STORM = 60  # seconds
BUSY = 0.7  # share of a core
CACHED = 450  # bytes, as config.toml has it
SPARE = 1.2  # of what is preloaded: a tenth of the near cache stays free for what is looked up
MIB = 2**20
PODS = 64 * MIB  # limits are multiples of it


def table(name: str, head: str) -> dict[str, list[str]]:
    """The rows of a table of a page, by their first cell."""
    lines = page(name).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(head))
    rows = {}
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        first_cell, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[first_cell] = cells
    return rows


ONE = table("measured/sizes.md", "| what | figure ")
FLEETS = table("size.md", "| | 100,000 stations")
COUNTS = [int(cell.removesuffix(" stations").replace(",", "")) for cell in FLEETS[""]]


def one(name: str) -> float:
    """A figure, as bytes, microseconds or a rate."""
    number, unit = re.fullmatch(r"([\d,.]+) ?(\S+)", ONE[name][0]).groups()  # type: ignore[union-attr]
    return float(number.replace(",", "")) * {"kB": 1000}.get(unit, 1)


def megabytes(size: float) -> str:
    return f"{ceil(size / 1e6):,} MB"


def station_memory(count: int) -> float:
    return count * one("station in Redis")


def whole_memory(count: int) -> float:
    certificate = one("certificate in Redis, with its chain 2.5 kB of PEM")
    return station_memory(count) + count * (one("token in Redis") + certificate)


def cache_bytes(count: int) -> int:
    return max(LookupSettings().cache_bytes, round(SPARE * CACHED * count))


def pod_limit(count: int, connections: int, size: int) -> str:
    unknown = LookupSettings().unknown_entries * UNKNOWN_ENTRY
    needed = PROCESS + cache_bytes(count) + unknown + UNDER_WAY + connections * size
    return f"{ceil(needed / PODS) * PODS // MIB}Mi"


def share(count: int, rate: str) -> str:
    """Cores, or replicas, that answer the storm at this rate."""
    return f"{ceil(count / STORM / (BUSY * one(rate)))}"


def redis_cores(count: int) -> float:
    return count / STORM * one("CPU of Redis for a station in a reconnect storm") / 1e6


KEPT = "lookups read from Redis, connections kept"
NEW = "lookups read from Redis, each on a new connection"
NEW_TLS = "the same, each on a new TLS connection"
NGINX = "nginx, constant answers, each on a new TLS connection"
ARITHMETIC: dict[str, Callable[[int], str]] = {
    "memory of Redis, stations only": lambda n: megabytes(station_memory(n)),
    "with a token and a certificate for each": lambda n: megabytes(whole_memory(n)),
    "memory of Redis' machine, for these": lambda n: megabytes(2 * whole_memory(n)),
    "`lookup.cache_entries`": lambda n: f"{max(LookupSettings().cache_entries, round(SPARE * n))}",
    "`lookup.cache_bytes`": lambda n: f"{cache_bytes(n)}",
    "memory limit of a pod, 50,000 connections": lambda n: pod_limit(n, 50_000, CONNECTION),
    "with TLS, 5,000 connections": lambda n: pod_limit(n, 5000, CONNECTION_WITH_TLS),
    "lookups in the storm": lambda n: f"{n / STORM:,.0f}/s",
    "replicas, a new connection each": lambda n: share(n, NEW),
    "replicas, a new TLS connection each": lambda n: share(n, NEW_TLS),
    "replicas, connections kept by a proxy": lambda n: share(n, KEPT),
    "cores of nginx, where TLS ends there": lambda n: share(n, NGINX),
    "cores of Redis": lambda n: f"{redis_cores(n):.2f}",
    "masters": lambda n: f"{ceil(redis_cores(n) / BUSY)}",
}


@pytest.mark.parametrize("row", sorted(FLEETS.keys() - {"", "---"}))
def test_a_row_follows_from_the_figures(row: str) -> None:
    assert FLEETS[row] == [ARITHMETIC[row](count) for count in COUNTS]


def test_no_row_is_missing() -> None:
    assert FLEETS.keys() - {"", "---"} == ARITHMETIC.keys()


def test_figures_are_those_of_the_benchmark() -> None:
    """Its results have the rates, and the manifests' test reckons with the same connections."""
    results = (Path(__file__).parents[1] / "bench" / "README.md").read_text("utf-8")
    for name, (figure, _) in ONE.items():
        if figure.endswith("/s") and name != "what":
            assert figure in results, name
    assert f"{one('cached station in a replica'):.0f} bytes a station" in results
    assert one("cached station in a replica") <= CACHED
    assert one("kept connection of a replica") == CONNECTION
    assert one("kept connection with TLS") == CONNECTION_WITH_TLS

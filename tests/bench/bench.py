"""The cases one after the other, each with its servers in turn."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from . import cache_memory, reconnect_storm, stations
from .cache_memory import Memory
from .cases import CASES, CLUSTERED, STATIONS, STORM_STATIONS, TLS_STATIONS, Row
from .figures import Figure
from .machine import Cores, Started, Store, describe, servers, store, warm, with_cluster
from .report import as_json, print_case, print_memory
from .sample import Sample
from .servers import NGINX_WITH_TLS, Server, csms_redis
from .wrk import measure

STORM = "reconnect-storm"
STORM_PEERS = ("nginx", "aiohttp")
NEW_TLS = "new-tls-connection"
MEMORY = "memory"
MEMORY_STATIONS = 1_000_000
BY_DEFAULT = (*CASES, STORM, NEW_TLS)


@dataclass(slots=True)
class Results:
    """What was measured so far, and on what."""

    machine: dict[str, str]
    measured: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    memory: Memory | None = None

    def as_json(self, found: list[Figure]) -> dict[str, Any]:
        """All of it, with the figures that were made of it."""
        return as_json(self.machine, self.measured, self.memory, found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """How the cases are run.

    Attributes:
        rounds: Times that each server is measured in a case; the storms come once.
        seconds: Under load, for each server in each round.
        again: Times that a measurement is repeated when others used the server's core.
        scale: Share of the storms' and the memory's stations.
    """

    console: Console
    cores: Cores
    peers: list[Server]
    rounds: int
    seconds: int
    again: int
    scale: float

    def run(self, cases: Sequence[str]) -> Results:
        """Run the cases and print the table of each.

        Raises:
            CannotRun: a program does not start, or does not answer as it should.
        """
        run = f"{self.rounds} rounds of {self.seconds} s, {self.scale:.0%} of the stations"
        results = Results(describe(self.cores) | {"run": run})
        for name, value in results.machine.items():
            self.console.print(f"{name:8} {value}")
        with store(self.cores) as kept:
            for case in cases:
                if case == MEMORY:
                    count = int(MEMORY_STATIONS * self.scale)
                    results.memory = cache_memory.run(self.cores, kept, count=count)
                    print_memory(self.console, results.memory)
                else:
                    rows = self._rows(case, kept)
                    results.measured[case] = rows
                    print_case(self.console, case, rows)
        return results

    def _rows(self, case: str, kept: Store) -> dict[str, list[Sample]]:
        names = {peer.name for peer in self.peers}
        if case == STORM:
            peers = [peer for peer in self.peers if peer.name in STORM_PEERS]
            return self._storm([csms_redis(), *peers], STORM_STATIONS, kept)
        if case == NEW_TLS:
            peers = [NGINX_WITH_TLS] if NGINX_WITH_TLS.name in names else []
            return self._storm([csms_redis(tls=True), *peers], TLS_STATIONS, kept)
        return self._rounds(case, kept)

    def _rounds(self, case: str, kept: Store) -> dict[str, list[Sample]]:
        stations.store(kept.redis, first=0, count=STATIONS)
        if case not in CLUSTERED:
            return self._in_turn(CASES[case](self.peers), kept)
        with with_cluster(kept, count=STATIONS) as both:
            return self._in_turn(CASES[case](self.peers), both)

    def _in_turn(self, rows: list[Row], kept: Store) -> dict[str, list[Sample]]:
        samples: dict[str, list[Sample]] = {row.name: [] for row in rows}
        with self._servers(rows, kept) as started:
            for _ in range(self.rounds):
                for row in rows:
                    sample = self._least_disturbed(row, started[id(row.server)])
                    samples[row.name].append(sample)
        return samples

    def _least_disturbed(self, row: Row, started: Started) -> Sample:
        found: list[Sample] = []
        while len(found) <= self.again and all(sample.disturbed for sample in found):
            warm(row, started)
            found.append(
                measure(row.load, port=started.port, pid=started.pid, seconds=self.seconds)
            )
        return min(found, key=lambda sample: sample.others)

    @contextmanager
    def _servers(self, rows: list[Row], kept: Store) -> Iterator[dict[int, Started]]:
        kinds = {id(row.server): row.server for row in rows}
        with servers(self.cores, kept, list(kinds.values())) as started:
            yield dict(zip(kinds, started, strict=True))

    def _storm(self, stormed: Sequence[Server], whole: int, kept: Store) -> dict[str, list[Sample]]:
        count = int(whole * self.scale)
        stations.store(kept.redis, first=0, count=count)
        return {
            server.name: [reconnect_storm.run(server, self.cores, kept, count=count)]
            for server in stormed
        }

"""The cases one after the other, each with its servers in turn."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from rich.console import Console

from . import cache_memory, preload, stations, storms
from .cache_memory import Memory
from .cases import CASES, CLUSTERED, STATIONS, Row
from .figures import Figure
from .machine import Cores, Started, Store, describe, servers, store, warm, with_cluster
from .processes import CannotRun
from .report import as_json, print_case, print_memory
from .sample import Sample
from .servers import NGINX_WITH_TLS, PEERS, PRELOADS, Server, csms_redis
from .storms import STORMS
from .wrk import measure

PRELOAD = "preload"
PRELOAD_STATIONS = 1_000_000
MEMORY = "memory"
MEMORY_STATIONS = 1_000_000
OF_PRELOAD = frozenset([PRELOAD, "outage"])
"""Cases of what only a service that preloads can do."""

BY_DEFAULT = tuple(
    case for case in (*CASES, *STORMS, PRELOAD) if PRELOADS or case not in OF_PRELOAD
)


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
        rounds: Times that each server is measured in a case.
        seconds: Under load, for each server in each round.
        again: Times that a measurement is repeated when others used the server's core.
        scale: Share of the stations of the storms, the preload and the memory.
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
                    if case in OF_PRELOAD and not PRELOADS:
                        raise CannotRun(f"this commit's service has no preload for {case}")
                    rows = self._rows(case, kept)
                    results.measured[case] = rows
                    print_case(self.console, case, rows)
        return results

    def _rows(self, case: str, kept: Store) -> dict[str, list[Sample]]:
        if case == PRELOAD:
            count = int(PRELOAD_STATIONS * self.scale)
            return preload.run(self.cores, count=count, rounds=self.rounds)
        if case in STORMS:
            return self._storms(STORMS[case], kept)
        return self._rounds(case, kept)

    def _rounds(self, case: str, kept: Store) -> dict[str, list[Sample]]:
        stations.store(kept.redis, first=0, count=STATIONS)
        if case not in CLUSTERED:
            return self._in_turn(CASES[case](self.peers), kept)
        with with_cluster(kept, count=STATIONS) as both:
            return self._in_turn(CASES[case](self.peers), both)

    def _in_turn(self, rows: list[Row], kept: Store) -> dict[str, list[Sample]]:
        commands = (lambda: 0) if kept.cluster_url else kept.commands
        samples: dict[str, list[Sample]] = {row.name: [] for row in rows}
        with self._servers(rows, kept) as started:
            for _ in range(self.rounds):
                for row in rows:
                    sample = self._least_disturbed(row, started[id(row.server)], commands)
                    samples[row.name].append(sample)
        return samples

    def _least_disturbed(self, row: Row, started: Started, commands: Callable[[], int]) -> Sample:
        found: list[Sample] = []
        while len(found) <= self.again and all(sample.disturbed for sample in found):
            warm(row, started)
            found.append(
                measure(
                    row.load,
                    port=started.port,
                    pid=started.pid,
                    seconds=self.seconds,
                    commands=commands,
                )
            )
        return min(found, key=lambda sample: sample.others)

    @contextmanager
    def _servers(self, rows: list[Row], kept: Store) -> Iterator[dict[int, Started]]:
        kinds = {id(row.server): row.server for row in rows}
        with servers(self.cores, kept, list(kinds.values())) as started:
            yield dict(zip(kinds, started, strict=True))

    def _storms(self, whole: storms.Storm, kept: Store) -> dict[str, list[Sample]]:
        storm = replace(whole, count=int(whole.count * self.scale))
        stations.store(kept.redis, first=0, count=storm.count)
        nginx = NGINX_WITH_TLS if storm.tls else PEERS["nginx"]
        stormed = [csms_redis(tls=storm.tls), *(nginx for p in self.peers if p.name == nginx.name)]
        samples: dict[str, list[Sample]] = {server.name: [] for server in stormed}
        for _ in range(self.rounds):
            for server in stormed:
                samples[server.name].append(storms.run(storm, server, self.cores, kept))
        return samples

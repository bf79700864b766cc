"""wrk as the load: one thread, 64 connections, requests made in `lua/load.lua`."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from .cpu import Reading, read
from .processes import CannotRun
from .sample import Sample

CONNECTIONS = 64
_SCRIPT = Path(__file__).parent / "lua" / "load.lua"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """A write after this many lookups; with 0, nothing but writes."""

    every: int
    pattern: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Lookups of a range of stations, in turn.

    `pattern` has a `%06d` for the station's number.
    """

    pattern: str
    count: int
    first: int = 0
    close: bool = False
    status: int = 200
    writes: Writes | None = None

    def arguments(self) -> list[str]:
        """Arguments of `lua/load.lua`."""
        connection = "close" if self.close else "keep-alive"
        arguments = [self.pattern, str(self.first), str(self.count), connection]
        if self.writes:
            arguments += [str(self.writes.every), self.writes.pattern, self.writes.body.decode()]
        return arguments


@dataclass(frozen=True, slots=True)
class Counts:
    """What wrk counted; times in microseconds."""

    requests: int
    duration_us: int
    status: int
    connect: int
    read: int
    write: int
    timeout: int
    p50_us: int
    p99_us: int
    p999_us: int

    @property
    def broken(self) -> int:
        """Connections that could not be used to the end."""
        return self.connect + self.read + self.write + self.timeout


def parse(output: str) -> Counts:
    """Read the line that `lua/load.lua` adds to wrk's output."""
    found = re.search(r"^counts: (\{.*\})$", output, re.MULTILINE)
    if not found:
        raise CannotRun(f"wrk did not count; it said:\n{output[-2000:]}")
    return Counts(**orjson.loads(found[1]))


def measure(
    load: Load, *, port: int, pid: int, seconds: int, commands: Callable[[], int] = lambda: 0
) -> Sample:
    """Run the load against a server and take the server's CPU time meanwhile.

    Args:
        load: what is asked.
        port: of the server.
        pid: of the server.
        seconds: for how long.
        commands: tells how many commands Redis has run.
    """
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(_SCRIPT)]
    command += [f"http://127.0.0.1:{port}", "--", *load.arguments()]
    run_before, before = commands(), read(pid)
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    used = read(pid) - before
    return sample(parse(run.stdout), load, used, commands() - run_before)


def sample(counts: Counts, load: Load, used: Reading, commands: int = 0) -> Sample:
    """Relate wrk's counts and what the run used."""
    if not counts.requests:
        raise CannotRun("not one request was answered")
    expected = counts.requests - counts.status if load.status < 400 else counts.status
    return Sample(
        cpu_us=used.server_ns / counts.requests / 1000,
        per_second=counts.requests / counts.duration_us * 1e6,
        p50_ms=counts.p50_us / 1000,
        p99_ms=counts.p99_us / 1000,
        p999_ms=counts.p999_us / 1000,
        busy=used.busy,
        others=used.others,
        answered=counts.requests,
        wrong=counts.requests - expected + counts.broken,
        connections=used.connections / counts.requests,
        commands=commands / counts.requests,
    )

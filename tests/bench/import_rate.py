"""How fast a fleet is imported, beside `redis-cli --pipe` fed the same records unchecked.

    .venv/bin/python -m tests.bench.import_rate

The import writes into Redis itself, and over HTTP through a service (`--server`). All write a CSV
file's stations, each round into a new embedded store of its own, in turn. It exits with 1 when the
import has less than a quarter of `redis-cli`'s rate, or more memory than is wanted, or over HTTP
less than half of the direct import's rate.
With `--beside DIRECTORY` another checkout of this project, as it was before a change, imports the
same file in the same rounds, and this one must have 0.9 of its rate.
"""

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import IO

import click
import orjson
from redis import Redis

from csms_redis.lookup.reading.read_connection import encode
from csms_redis.redis.embedded import EmbeddedValkey
from tests.bench.processes import CannotRun
from tests.bench.stations import PATTERN, password

STATIONS = 1_000_000
ROUNDS = 3
WANTED_SHARE = 0.25
WANTED_MIB = 300.0
WANTED_OVER_HTTP = 0.5  # of the direct import's rate
WANTED_BESIDE = 0.9  # of another checkout's rate
ROOT = Path(__file__).parent.parent.parent
UPDATED = "2026-01-01T00:00:00Z"
_START = 30.0  # seconds that a service has to start
_INSTALL = "redis-cli is missing: apt-get install redis-tools"


@dataclass(frozen=True, slots=True)
class Run:
    """One writing of all stations: its seconds, and the writer's most memory in MiB."""

    seconds: float
    mib: float


def write_sources(directory: Path, count: int) -> None:
    """The same stations as CSV and as the commands that `redis-cli --pipe` sends."""
    with (
        (directory / "fleet.csv").open("w", encoding="ascii") as rows,
        (directory / "fleet.resp").open("wb") as commands,
    ):
        rows.write("csId,securityProfile,base64SHA256Password,lastUpdated\n")
        for number in range(count):
            name, hashed = PATTERN % number, password(number)
            rows.write(f"{name},1,{hashed},{UPDATED}\n")
            commands.write(encode("HSET", f"cs:{name}", *_fields(hashed)))


def _fields(hashed: str) -> list[bytes]:
    """As the import stores them."""
    return [
        *(b"securityProfile", b"1"),
        *(b"base64SHA256Password", orjson.dumps(hashed)),
        *(b"registrationStatus", b'"Pending"'),
        *(b"lastUpdated", orjson.dumps(UPDATED)),
    ]


@asynccontextmanager
async def new_store() -> AsyncIterator[EmbeddedValkey]:
    """An empty embedded store, as the service would run it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        valkey = EmbeddedValkey(Path(directory) / "data")
        await valkey.start()
        try:
            yield valkey
        finally:
            await valkey.stop()


def pipe(valkey: EmbeddedValkey, directory: Path) -> Run:
    """By `redis-cli`."""
    with (directory / "fleet.resp").open("rb") as commands:
        return _timed(["redis-cli", "-s", valkey.socket, "--pipe"], directory, stdin=commands)


def import_(valkey: EmbeddedValkey, directory: Path, *, checkout: Path = ROOT) -> Run:
    """By the import of a checkout, into the store that runs already, as the service's does."""
    program = f"import sys; sys.path[0] = {str(checkout)!r}; import csms_redis.cli as c; c.main()"
    command = [sys.executable, "-c", program, "import", "stations", "fleet.csv"]
    return _timed(command, directory, CSMS_REDIS__DATA_DIR=str(Path(valkey.socket).parent))


def over_http(valkey: EmbeddedValkey, directory: Path) -> Run:
    """By the import, through a service on that store; its start is not measured."""
    settings = {"CSMS_REDIS__URL": f"unix://{valkey.socket}", "CSMS_SERVER__PORT": "0"}
    environment = _environment(settings) | {"CSMS_TELEMETRY__LOG_FORMAT": "json"}
    log = directory / "service.log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "csms_redis", "serve"],
            cwd=directory,
            env=environment | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        ) as service,
    ):
        try:
            url = _url(log)
            command = [sys.executable, "-m", "csms_redis", "import", "stations", "fleet.csv"]
            return _timed(command, directory, CSMS_SERVER_URL=url, PYTHONPATH=str(ROOT))
        finally:
            service.terminate()


def _url(log: Path) -> str:
    """Where the service listens, once it does."""
    end = time.monotonic() + _START
    while time.monotonic() < end:
        for line in log.read_bytes().splitlines():
            if line.startswith(b"{") and (said := orjson.loads(line))["event"] == "listening":
                return str(said["url"])
        time.sleep(0.05)
    raise CannotRun(f"the service did not start; it said:\n{log.read_text()}")


def _environment(settings: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("CSMS_")} | settings


def _timed(
    command: Sequence[str], directory: Path, *, stdin: IO[bytes] | None = None, **settings: str
) -> Run:
    environment = _environment(settings)
    began = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode:
        raise CannotRun(f"{command[0]} ended with {process.returncode}; it said:\n{said!r}")
    return Run(seconds, _mib(used))


def _mib(used: resource.struct_rusage) -> float:
    return used.ru_maxrss / 1024


async def measure(
    writers: Sequence[Callable[[EmbeddedValkey, Path], Run]], *, count: int, rounds: int
) -> list[list[Run]]:
    """Each writer's run, for each round."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        write_sources(directory, count)
        wanted: object = None
        found = []
        for number in range(rounds):
            runs = {}
            # neither is always the first
            for writer in writers if number % 2 == 0 else reversed(writers):
                async with new_store() as valkey:
                    runs[writer] = await asyncio.to_thread(writer, valkey, directory)
                    with Redis(unix_socket_path=valkey.socket) as redis:
                        stored = _sample(redis, count)
                if wanted is None:
                    wanted = stored
                if stored != wanted:
                    raise CannotRun("the two did not store the same")
            found.append([runs[writer] for writer in writers])
        return found


def _sample(redis: Redis, count: int) -> list[object]:
    """How many stations are stored, and some of them."""
    if (stored := sum(1 for _ in redis.scan_iter(match="cs:*", count=10_000))) != count:
        raise CannotRun(f"{stored} of {count} stations were stored")
    return [redis.hgetall(f"cs:{PATTERN % number}") for number in range(0, count, count // 100)]


@click.command()
@click.option("--stations", default=STATIONS, show_default=True, type=click.IntRange(100))
@click.option("--rounds", default=ROUNDS, show_default=True, type=click.IntRange(1))
@click.option(
    "--beside",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="Another checkout of this project.",
)
def main(stations: int, rounds: int, beside: Path | None) -> None:
    """Measure, print the figures, and hold them against what is wanted."""
    if shutil.which("redis-cli") is None:
        raise click.ClickException(_INSTALL)
    writers: dict[str, Callable[[EmbeddedValkey, Path], Run]] = {
        "import": import_,
        "redis-cli --pipe": pipe,
        "over HTTP": over_http,
    }
    if beside:
        writers["the other import"] = partial(import_, checkout=beside)
    try:
        found = asyncio.run(measure([*writers.values()], count=stations, rounds=rounds))
    except CannotRun as error:
        raise click.ClickException(str(error)) from None
    for runs in found:
        each = zip(writers, runs, strict=True)
        click.echo("; ".join(_told(name, run, stations) for name, run in each))
    share = median(piped.seconds / imported.seconds for imported, piped, *_ in found)
    most = max(imported.mib for imported, *_ in found)
    click.echo(
        f"{share:.2f} of the rate of redis-cli --pipe, wanted at least {WANTED_SHARE}; "
        f"at most {most:.0f} MiB, wanted at most {WANTED_MIB:.0f}"
    )
    failed = share < WANTED_SHARE or most > WANTED_MIB
    share = median(imported.seconds / remote.seconds for imported, _, remote, *_ in found)
    click.echo(f"over HTTP {share:.2f} of the rate, wanted at least {WANTED_OVER_HTTP}")
    failed |= share < WANTED_OVER_HTTP
    if beside:
        share = median(other.seconds / imported.seconds for imported, _, _, other in found)
        click.echo(f"{share:.2f} of the other's rate, wanted at least {WANTED_BESIDE}")
        failed |= share < WANTED_BESIDE
    sys.exit(failed)


def _told(name: str, run: Run, stations: int) -> str:
    return f"{name} {stations / run.seconds:,.0f}/s in {run.seconds:.1f} s, {run.mib:.0f} MiB"


if __name__ == "__main__":
    main()

"""What a record takes in Redis and on its disk, and what a connection takes in the service.

    .venv/bin/python -m tests.bench.sizes

The records are written by `csms-redis import`, as the service stores them. What a replica takes for
a cached station is `python -m tests.bench --case memory`.
"""

import datetime as dt
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from redis import Redis
from rich import box
from rich.console import Console
from rich.table import Table

from . import client, stations, storms
from .cpu import cpu_ns, resident_bytes
from .machine import Cores, Store, describe, servers, store, take_cores
from .processes import CannotRun
from .servers import csms_redis, wrk_install
from .wrk import Load, measure

_FIRST = 100  # connections that are open before the others are counted
_LOOKS = 30
_SECONDS = 3
_REWRITE = 60  # seconds


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes for each record of a kind.

    Attributes:
        memory: Growth of `used_memory`.
        written: Growth of the append-only file.
        rewritten: What is left of that after `BGREWRITEAOF`; an RDB file has about as much.
    """

    memory: float
    written: float
    rewritten: float


@dataclass(frozen=True, slots=True)
class Service:
    """A service's own memory, in bytes, and what its reads cost Redis.

    Attributes:
        base: Resident when it has just started.
        plain: For each open connection.
        tls: For each open connection with TLS.
        single_us: CPU time of Redis for each station that is read in a reconnect storm, one after
            the other, in microseconds.
        batched_us: As `single_us`, when a busy service reads as many at once as it can.
    """

    base: int
    plain: float
    tls: float
    single_us: float
    batched_us: float


def records(cores: Cores, rows: Callable[[int], Iterator[object]], kind: str, count: int) -> Sizes:
    """Write that many records into a Valkey of their own.

    Raises:
        CannotRun: they cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name, store(cores, on_disk=True) as kept:
        source = Path(name) / f"{kind}.jsonl"
        with source.open("wb") as lines:
            lines.writelines(orjson.dumps(row) + b"\n" for row in rows(count))
        before, file_before = _memory(kept.redis), _file(kept.redis)
        _import(kind, source, kept)
        if (stored := kept.redis.dbsize() - 2) != count:  # the others are layout and dataset
            raise CannotRun(f"{stored} of {count} {kind} were stored")
        memory, written = _memory(kept.redis) - before, _file(kept.redis) - file_before
        _rewrite(kept.redis)
        return Sizes(memory / count, written / count, (_file(kept.redis) - file_before) / count)


def _import(kind: str, source: Path, kept: Store) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CSMS_")}
    run = subprocess.run(
        [sys.executable, "-m", "csms_redis", "import", kind, source.name],
        cwd=source.parent,
        env=environment | {"CSMS_REDIS__URL": f"redis://127.0.0.1:{kept.port}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise CannotRun(f"the import ended with {run.returncode}; it said:\n{run.stderr[-2000:]}")


def _memory(redis: Redis) -> int:
    """`used_memory`, once the import is forgotten and the table of keys has grown."""
    last, now = 0, int(redis.info("memory")["used_memory"])
    for _ in range(_LOOKS):
        if now == last:
            break
        time.sleep(0.1)
        last, now = now, int(redis.info("memory")["used_memory"])
    return now


def _file(redis: Redis) -> int:
    return int(redis.info("persistence")["aof_current_size"])


def _rewrite(redis: Redis) -> None:
    redis.bgrewriteaof()
    deadline = time.monotonic() + _REWRITE
    while (now := redis.info("persistence"))["aof_rewrite_in_progress"] or now[
        "aof_rewrite_scheduled"
    ]:
        if time.monotonic() > deadline:
            raise CannotRun(f"the append-only file is not rewritten after {_REWRITE} s")
        time.sleep(0.05)


def station_rows(count: int) -> Iterator[object]:
    """Stations with a password, as in the benchmark's other cases."""
    for number in range(count):
        password = stations.password(number)
        name = stations.PATTERN % number
        yield {"csId": name, "securityProfile": 1, "base64SHA256Password": password}


def token_rows(count: int) -> Iterator[object]:
    """Tokens with all properties that cards commonly have."""
    for number in range(count):
        yield {
            "countryCode": "GB",
            "partyId": "TWK",
            "type": "RFID",
            "uid": f"{number:014X}",
            "contractId": f"GBTWK{number:09}",
            "visualNumber": f"GB-TWK-{number:09}",
            "issuer": "Thoughtworks",
            "groupId": f"GROUP{number // 10:09}",
            "valid": True,
            "languageCode": "en",
            "cacheMode": "ALWAYS",
        }


def certificate_rows(count: int) -> Iterator[object]:
    """Certificates of stations, each with its chain of two: about 2.5 kB."""
    key = ec.generate_private_key(ec.SECP256R1())
    chain = "".join(_certificate(key, name, padded=220) for name in ("Sub-CA 2", "Sub-CA 1"))
    for number in range(count):
        yield {"certificate": _certificate(key, stations.PATTERN % number, padded=220) + chain}


def _certificate(key: ec.EllipticCurvePrivateKey, name: str, *, padded: int) -> str:
    """A certificate in PEM, with that many bytes of an extension: real ones have several."""
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    now = dt.datetime.now(dt.UTC)
    extension = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), os.urandom(padded)
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sub-CA 2")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=365))
        .add_extension(extension, critical=False)
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode()


KINDS: dict[str, Callable[[int], Iterator[object]]] = {
    "stations": station_rows,
    "tokens": token_rows,
    "certificates": certificate_rows,
}


def service(cores: Cores, *, connections: int, fleet: int) -> Service:
    """Measure a service's memory, and Redis' part in lookups of that many stations."""
    with store(cores) as kept:
        stations.store(kept.redis, first=0, count=fleet)
        base, plain = _connections(cores, kept, connections, tls=False)
        _, tls = _connections(cores, kept, connections, tls=True)
        redis = int(kept.redis.info("server")["process_id"])
        before = cpu_ns(redis)
        storms.run(storms.Storm(count=fleet), csms_redis(preload=0), cores, kept)
        single = (cpu_ns(redis) - before) / fleet
        server = csms_redis(cache_entries=0)
        load = Load(pattern=server.path % stations.PATTERN, count=fleet)
        with servers(cores, kept, [server]) as [started]:
            before = cpu_ns(redis)
            sample = measure(load, port=started.port, pid=started.pid, seconds=_SECONDS)
            batched = (cpu_ns(redis) - before) / sample.answered
        return Service(base, plain, tls, single / 1000, batched / 1000)


def _connections(cores: Cores, kept: Store, count: int, *, tls: bool) -> tuple[int, float]:
    """Resident size of a new service, and its growth for each connection that is open."""
    server = csms_redis(tls=tls)
    path = server.path % stations.PATTERN % 0
    with servers(cores, kept, [server]) as [started], ExitStack() as opened:
        base = resident_bytes(started.pid)

        def open_(more: int) -> int:
            for _ in range(more):
                client.look_up_and_stay(
                    started.port, path, check=server.right, tls=tls, stack=opened
                )
            return resident_bytes(started.pid)

        before = open_(_FIRST)
        return base, (open_(count) - before) / count


@click.command()
@click.option("--stations", "fleet", default=100_000, show_default=True, type=click.IntRange(100))
@click.option("--tokens", default=100_000, show_default=True, type=click.IntRange(100))
@click.option("--certificates", default=2000, show_default=True, type=click.IntRange(10))
@click.option("--connections", default=4000, show_default=True, type=click.IntRange(10))
def main(fleet: int, tokens: int, certificates: int, connections: int) -> None:
    """Measure, and print the figures."""
    if install := wrk_install():
        raise click.ClickException(f"wrk makes the load and is missing: {install}")
    console = Console(width=110, highlight=False)
    counts = {"stations": fleet, "tokens": tokens, "certificates": certificates}
    try:
        cores = take_cores()
        for name, value in describe(cores).items():
            console.print(f"{name:8} {value}")
        found = {kind: records(cores, rows, kind, counts[kind]) for kind, rows in KINDS.items()}
        own = service(cores, connections=connections, fleet=fleet)
    except (CannotRun, OSError) as error:
        raise click.ClickException(str(error)) from error
    table = Table(title="bytes for each record", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("", "count", "memory of Redis", "append-only file", "after its rewrite"):
        table.add_column(column, justify="right" if column else "left")
    for kind, sizes in found.items():
        figures = (sizes.memory, sizes.written, sizes.rewritten)
        table.add_row(kind, f"{counts[kind]:,}", *(f"{figure:,.0f}" for figure in figures))
    console.print(table)
    for line in (
        f"service  {own.base / 2**20:.0f} MiB when it has started",
        f"         {own.plain / 1000:.1f} kB for each open connection",
        f"         {own.tls / 1000:.1f} kB for each with TLS",
        f"reads    {own.single_us:.1f} µs of Redis' CPU time for a station in a reconnect storm",
        f"         {own.batched_us:.1f} µs for one that is read together with others",
    ):
        console.print(line)


if __name__ == "__main__":
    main()

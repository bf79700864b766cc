"""A flood of ids that nobody has, and the few stations that really knock among them."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import Service, running_service, running_valkey, wait_for

BUSY = [f"really-there-{number}" for number in range(20)]
_AT_ONCE = 200


def memory(service: Service) -> float:
    """What the service has in memory, in MiB."""
    status = Path(f"/proc/{service.process.pid}/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@contextmanager
def connection(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection((service.host, service.port), timeout=20) as opened:
        yield opened


def knock(opened: socket.socket, ids: list[str]) -> None:
    """Ask for stations, and read all the answers."""
    requests = (f"GET /api/v0/cs/{one}/auth HTTP/1.1\r\nHost: a\r\n\r\n" for one in ids)
    opened.sendall("".join(requests).encode())
    answered = 0
    while answered < len(ids):
        answered += opened.recv(1 << 20).count(b"HTTP/1.1 404")


def flood(service: Service, number: int, every: int) -> None:
    """So many ids that are asked for once each; the busy stations after each `every` of them."""
    with connection(service) as opened:
        for start in range(0, number, _AT_ONCE):
            ids = [f"flood-{one}" for one in range(start, start + _AT_ONCE)]
            if start % every == 0:
                ids += BUSY
            knock(opened, ids)


@pytest.mark.parametrize(
    ("number", "every"),
    [(60_000, 200), pytest.param(1_000_000, 2000, marks=pytest.mark.slow)],
    ids=["60000", "1000000"],
)
def test_a_flood_hides_nobody(number: int, every: int) -> None:
    """Memory and what Redis is asked stay bounded, and who comes again and again is listed."""
    with (
        running_valkey() as valkey,
        Redis(unix_socket_path=valkey.socket, decode_responses=True) as redis,
        running_service(redis__url=valkey.url, lookup__unknown_entries="1000") as service,
    ):
        wait_for(lambda: service.get("/cs").status == 200, "Redis is reached")
        flood(service, 4000, every)
        before, commands = memory(service), redis.info("commandstats")
        writes = int(commands.get("cmdstat_hset", {"calls": 0})["calls"])
        began = time.monotonic()
        flood(service, number, every)
        seconds = time.monotonic() - began
        after = memory(service)
        wait_for(lambda: redis.hlen("refused") == 1, "it is reported")
        written = int(redis.info("commandstats")["cmdstat_hset"]["calls"]) - writes
        listed = [one["csId"] for one in service.get("/refused?limit=100").json]
        size = sum(len(value) for value in redis.hvals("refused"))

    print(  # noqa: T201 the figures
        f"\n{number:,} ids in {seconds:.1f} s; memory {before:.0f} MiB, {after:.0f} after it; "
        f"{written} reports to Redis, the last of {size:,} bytes"
    )
    assert set(BUSY) <= set(listed)
    assert written <= seconds + 10
    assert size < 64_000
    assert after < before + 16

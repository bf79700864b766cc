"""Processes of embedded servers and of their owners, as the tests of each duty need them."""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from csms_redis.redis.embedded import EmbeddedValkey, former_servers

StartOwner: TypeAlias = Callable[..., "subprocess.Popen[str]"]

# A service in small: it says when it is up, then the number of each write that was acknowledged.
OWNER = """
import asyncio, sys
from pathlib import Path
import structlog, uvloop
from redis.asyncio import Redis
from csms_redis.redis.embedded import EmbeddedError, EmbeddedValkey

async def main(data_dir, mode):
    server = EmbeddedValkey(Path(data_dir))
    try:
        await server.start()
    except EmbeddedError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    client = Redis.from_url(server.url)
    print("up", flush=True)
    number = 0
    while mode == "write":
        await client.set(f"write:{number}", number)
        print(number, flush=True)
        number += 1
    await asyncio.sleep(600)

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
run = uvloop.run if sys.argv[3] == "uvloop" else asyncio.run
run(main(*sys.argv[1:3]))
"""


def alive(pid: int) -> bool:
    """Whether the process lives; a zombie, which nobody may collect here, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def valkey_pid(data_dir: Path) -> int:
    return int((data_dir / "valkey.pid").read_text("ascii"))


def servers(data_dir: Path) -> list[int]:
    return former_servers.servers_in(data_dir, "valkey-server") if data_dir.exists() else []


def open_files(pid: int) -> list[str]:
    names = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the connection of a probe, closing
            names.append(path.readlink().name)
    return names


def wait_for(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


async def until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def connected(server: EmbeddedValkey) -> AsyncIterator[Redis]:
    client = Redis.from_url(server.url, decode_responses=True, retry=Retry(NoBackoff(), 0))
    try:
        yield client
    finally:
        await client.aclose()


def wait_up(owner: "subprocess.Popen[str]") -> None:
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's right to write everywhere, where the tests have it."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)

"""A directory for an embedded server, the server in it, and others who want the directory."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from csms_redis.redis.embedded import EmbeddedValkey
from csms_redis.redis.embedded import server as server_module
from tests.support.embedded import OWNER, StartOwner, servers, wait_for


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory with a path that leaves room; what is left running in it is killed."""
    path = Path(tempfile.mkdtemp(prefix="csms-"))
    yield path
    for folder, _, _ in os.walk(path):
        for pid in servers(Path(folder)):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(path)


@pytest.fixture
def data_dir(base: Path) -> Path:
    return base / "data"


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(data_dir)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def own(data_dir: Path) -> Iterator[StartOwner]:
    """Start another process that owns the data directory."""
    started: list[subprocess.Popen[str]] = []

    def start(mode: str = "sleep", loop: str = "uvloop") -> "subprocess.Popen[str]":
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(data_dir), mode, loop],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(owner)
        return owner

    yield start
    for owner in started:
        owner.kill()
        owner.communicate()


@pytest.fixture
def orphan(data_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server of nobody's that knows nothing of its parent, nor of the locks."""
    data_dir.mkdir(mode=0o700)
    process = subprocess.Popen(
        [str(server_module._server_binary()), *server_module._ARGUMENTS],
        cwd=data_dir,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )
    wait_for((data_dir / "valkey.sock").exists)
    yield process
    process.kill()
    process.wait()

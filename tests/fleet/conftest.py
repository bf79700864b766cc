"""What the tests of imports and exports share."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import Valkey
from tests.support.transfers import Run, transfer


@pytest.fixture
def run(valkey: Valkey, tmp_path: Path) -> Run:
    """Run a command against an empty Valkey."""

    def start(
        *arguments: str, stdin: str = "", code: int = 0, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        return transfer(tmp_path, valkey.url, *arguments, stdin=stdin, code=code, **settings)

    return start


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    with Redis(unix_socket_path=valkey.socket, decode_responses=True) as client:
        yield client

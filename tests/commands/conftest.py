"""What the tests of single commands share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import Valkey
from tests.support.commands import Done, Run, command


@pytest.fixture
def run(valkey: Valkey, tmp_path: Path) -> Run:
    """Run a command against an empty Valkey; it must end with `code`."""

    def start(*arguments: str, stdin: str = "", code: int = 0) -> Done:
        done = command(tmp_path, {"CSMS_REDIS__URL": valkey.url}, *arguments, stdin=stdin)
        assert done.returncode == code, done.stderr
        return done

    return start


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    with Redis(unix_socket_path=valkey.socket, decode_responses=True) as client:
        yield client

"""A service that is killed in the middle of an import over HTTP: repeated, all is there, alike."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import Valkey, running_valkey
from tests.support import program
from tests.support.service import Service, environment, free_port

STATIONS = 15_000
HASHED = "5en6G6MezRroT3XKqkdPOmY/BfQ6ezc3RsqXcyjLTCs="


@pytest.fixture(scope="module")
def behind() -> Iterator[Valkey]:
    with running_valkey() as valkey:
        yield valkey


def fleet(path: Path) -> None:
    with path.open("w") as rows:
        rows.write("csId,securityProfile,base64SHA256Password,lastUpdated\n")
        rows.writelines(f"k{n},1,{HASHED},2026-01-01T00:00:00Z\n" for n in range(STATIONS))


def stored(redis: Redis) -> set[str]:
    return {str(key) for key in redis.scan_iter("cs:*", count=10_000)}


def started(home: Path, port: int) -> program.Program:
    return program.Program(
        *("import", "stations", "fleet.csv", "--server", f"http://127.0.0.1:{port}"),
        cwd=home,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_service_is_killed(behind: Valkey, tmp_path: Path) -> None:
    """The import goes on with the service that takes its place, and loses no row."""
    fleet(tmp_path / "fleet.csv")
    port = free_port()
    settings = {"CSMS_REDIS__URL": behind.url}
    with Redis(unix_socket_path=behind.socket, decode_responses=True) as redis:
        redis.flushall()
        with Service(tmp_path, settings, port=port) as service:
            service.ready()
            with started(tmp_path, port) as importing:
                while not 0 < len(stored(redis)) < STATIONS:
                    assert importing.poll() is None
                    time.sleep(0.01)
                service.kill()
                assert 0 < len(stored(redis)) < STATIONS
                service.start()
                said, complaint = importing.communicate(timeout=60)
        assert importing.returncode == 0, complaint
        assert f"read {STATIONS}, written {STATIONS}, existing 0, rejected 0" in said.decode()
        check_all(redis)


def test_the_import_is_killed_and_repeated(behind: Valkey, tmp_path: Path) -> None:
    fleet(tmp_path / "fleet.csv")
    port = free_port()
    with Redis(unix_socket_path=behind.socket, decode_responses=True) as redis:
        redis.flushall()
        with Service(tmp_path, {"CSMS_REDIS__URL": behind.url}, port=port) as service:
            service.ready()
            with started(tmp_path, port) as importing:
                while not 0 < len(stored(redis)) < STATIONS:
                    assert importing.poll() is None
                    time.sleep(0.01)
                importing.kill()
            service.kill()
            service.start().ready()
            with started(tmp_path, port) as again:
                said, complaint = again.communicate(timeout=60)
        assert again.returncode == 0, complaint
        assert f"written {STATIONS}," in said.decode()
        check_all(redis)


def check_all(redis: Redis) -> None:
    """All stations are stored, each as its row has it."""
    keys = stored(redis)
    assert keys == {f"cs:k{number}" for number in range(STATIONS)}
    pipeline = redis.pipeline(transaction=False)
    for key in keys:
        pipeline.hgetall(key)
    wanted = {
        "securityProfile": "1",
        "base64SHA256Password": json.dumps(HASHED),
        "registrationStatus": '"Pending"',
        "lastUpdated": '"2026-01-01T00:00:00Z"',
    }
    assert all(record == wanted for record in pipeline.execute())

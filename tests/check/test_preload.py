"""`check` tells whether each process can hold all records."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import Valkey, running_valkey
from tests.support.check_report import findings


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with running_valkey() as running, Redis(unix_socket_path=running.socket) as redis:
        for number in range(20):
            redis.hset(f"cs:{number}", "securityProfile", "1")
        redis.hset("token:ABC", "uid", '"ABC"')
        redis.hset("token:abc", "uid", '"abc"')  # no lookup asks for it
        redis.set("cs:other", "")
        redis.acl_setuser(
            "gate", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-scan"]
        )
        yield running


def test_all_are_held(tmp_path: Path, valkey: Valkey) -> None:
    """And what is no record asks Redis."""
    _, found = findings(tmp_path, valkey.url)

    assert found["preload"] == (
        "warning",
        (
            "1 keys with the name of a record are no hashes: a lookup of their ids always asks "
            "Redis; remove them, or set redis.key_prefix if they are another program's"
        ),
    )


def test_too_many_to_be_held(tmp_path: Path, valkey: Valkey) -> None:
    _, found = findings(tmp_path, valkey.url, {"CSMS_LOOKUP__CACHE_ENTRIES": "20"})

    assert found["rights"][0] == "ok"
    assert found["preload"][0] == "warning"


def test_without_the_right_to_scan(tmp_path: Path, valkey: Valkey) -> None:
    _, found = findings(tmp_path, f"unix://gate:secret@{valkey.socket}")

    assert found["preload"] == (
        "warning",
        (
            "SCAN is refused (NOPERM): no process holds all records, and an outage of Redis turns "
            "away stations that were not looked up before; give the user +scan, or set "
            "lookup.preload = false"
        ),
    )


def test_switched_off(tmp_path: Path, valkey: Valkey) -> None:
    _, found = findings(tmp_path, valkey.url, {"CSMS_LOOKUP__PRELOAD": "false"})

    assert found["preload"] == ("ok", "off: what nobody asked for is read from Redis")

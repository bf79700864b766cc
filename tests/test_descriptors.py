"""How the descriptors are shared out between clients and Redis."""

import resource

import pytest
from structlog.testing import capture_logs

from csms_redis.descriptors import Descriptors
from csms_redis.redis.address import Address
from csms_redis.redis.topology import Topology
from csms_redis.settings import RedisSettings, ServerSettings, Settings

LIMIT = 4096


class Masters(Topology):
    """So many of them."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.masters = tuple(Address(port=port) for port in range(1, number + 1))

    def owner(self, key: bytes) -> Address | None:
        del key
        return None

    def confirmed(self, master: Address) -> float:
        del master
        return 0

    async def look(self) -> None: ...


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this process, as it is raised to."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (LIMIT, LIMIT))


def connections(masters: int, each: int, most: int = 0) -> int:
    settings = Settings(
        redis=RedisSettings(max_connections=each), server=ServerSettings(max_connections=most)
    )
    return Descriptors(Masters(masters), settings).connections


def test_each_master_takes_what_its_writes_may_open() -> None:
    """And three more: to look up, to look up anew, to read the layout."""
    assert connections(1, 32) - connections(5, 32) == 4 * 35
    assert connections(3, 32) - connections(3, 232) == 3 * 200
    assert connections(0, 32) == connections(1, 32) < LIMIT - 32


def test_a_setting_lowers_it_only() -> None:
    assert connections(1, 32, most=100) == 100
    assert connections(1, 32, most=10**6) == connections(1, 32)


def test_clients_keep_a_share_and_the_operator_is_told() -> None:
    """Of a limit that is too low for all."""
    with capture_logs() as logged:
        assert connections(30, 1000) == LIMIT // 4
    (line,) = logged
    assert (line["log_level"], line["descriptors"]) == ("warning", LIMIT)
    assert "LimitNOFILE" in line["event"]

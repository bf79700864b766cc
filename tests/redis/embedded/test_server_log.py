"""Valkey's log."""

import os
from pathlib import Path

from csms_redis.redis.embedded import server_log


class TestServerLog:
    def test_the_log_does_not_grow_without_end(self, base: Path) -> None:
        log = base / "valkey.log"
        log.write_bytes(b"x" * (server_log._LIMIT + 1))
        os.close(server_log.open_log(log))
        assert log.stat().st_size == 0
        assert (base / "valkey.log.1").stat().st_size == server_log._LIMIT + 1

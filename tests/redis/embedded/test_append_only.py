"""Files of records that are broken."""

from pathlib import Path

import pytest

from csms_redis.redis.embedded import EmbeddedError, EmbeddedValkey
from tests.support.embedded import connected, servers


class TestAppendOnly:
    async def test_a_corrupt_file(self, data_dir: Path) -> None:
        server = EmbeddedValkey(data_dir)
        await server.start()
        await server.stop()
        (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
        log.write_bytes(b"nonsense\r\n")
        with pytest.raises(EmbeddedError) as refused:
            await server.start()
        message = str(refused.value)
        assert message.startswith(
            f"the embedded Valkey in {data_dir} did not start: "
            f"Bad file format reading the append only file {log.name}"
        )
        assert message.endswith(f"(log: {data_dir / 'valkey.log'})")
        assert "\n" not in message
        assert servers(data_dir) == []

    async def test_a_torn_last_write_is_no_corruption(self, data_dir: Path) -> None:
        server = EmbeddedValkey(data_dir)
        await server.start()
        async with connected(server) as client:
            await client.set("cs:cs001", "1")
        await server.stop()
        (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
        with log.open("ab") as file:
            file.write(b"*3\r\n$3\r\nSET\r\n$8\r\ncs:c")
        await server.start()
        async with connected(server) as client:
            assert await client.get("cs:cs001") == "1"
        await server.stop()

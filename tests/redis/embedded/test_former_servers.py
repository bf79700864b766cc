"""Servers that a killed owner left behind."""

import fcntl
import signal
import subprocess
from pathlib import Path

import pytest

from csms_redis.redis.embedded import EmbeddedError, EmbeddedValkey, former_servers
from csms_redis.redis.embedded import server as server_module
from tests.support.embedded import connected


class TestFormerServers:
    @pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
    @pytest.mark.parametrize("pid_file", [True, False], ids=["pid-file", "no-pid-file"])
    async def test_an_orphan_is_ended_first(
        self, data_dir: Path, orphan: "subprocess.Popen[bytes]", *, stopped: bool, pid_file: bool
    ) -> None:
        server = EmbeddedValkey(data_dir)
        async with connected(server) as client:
            await client.set("cs:cs001", "1")
        if stopped:
            orphan.send_signal(signal.SIGSTOP)
        if not pid_file:
            (data_dir / "valkey.pid").unlink()

        await server.start()

        assert orphan.wait(5) == 0
        async with connected(server) as client:
            assert await client.get("cs:cs001") == "1"
        await server.stop()

    async def test_an_orphan_that_does_not_end_is_killed(
        self,
        data_dir: Path,
        orphan: "subprocess.Popen[bytes]",
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(former_servers, "ask_to_end", lambda _pid: None)
        monkeypatch.setattr(server_module, "_STOP_GRACE", 0.1)
        server = EmbeddedValkey(data_dir)
        await server.start()
        assert orphan.wait(5) == -signal.SIGKILL
        await server.stop()

    async def test_a_process_that_is_no_server_is_not_touched(self, data_dir: Path) -> None:
        data_dir.mkdir(mode=0o700)
        bystander = subprocess.Popen(["sleep", "60"], cwd=data_dir)
        (data_dir / "valkey.pid").write_text(f"{bystander.pid}\n")
        server = EmbeddedValkey(data_dir)
        await server.start()
        await server.stop()
        assert bystander.poll() is None
        bystander.kill()
        bystander.wait()

    async def test_never_two_servers_when_one_is_out_of_sight(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server in another container of this machine shows only by its lock."""
        monkeypatch.setattr(server_module, "_STOP_GRACE", 0.1)
        monkeypatch.setattr(former_servers, "_GIVE_UP", 0.1)
        data_dir.mkdir(mode=0o700)
        server = EmbeddedValkey(data_dir)
        with (data_dir / "valkey.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(EmbeddedError, match="held by a Valkey server of a former run"):
                await server.start()
        await server.start()
        await server.stop()

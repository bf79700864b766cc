"""One owner at a time, and what is written survives its death."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from csms_redis.redis.embedded import (
    DataDirectoryInUse,
    EmbeddedValkey,
)
from tests.support.embedded import (
    StartOwner,
    alive,
    connected,
    open_files,
    servers,
    valkey_pid,
    wait_for,
    wait_up,
)


class TestOwnership:
    async def test_a_second_owner_is_refused_while_the_first_lives(
        self, data_dir: Path, server: EmbeddedValkey, own: StartOwner
    ) -> None:
        second = own()
        stdout, stderr = await asyncio.to_thread(second.communicate)
        assert stdout == ""
        assert stderr == (
            f"DataDirectoryInUse: redis.data_dir {data_dir} is in use by process {os.getpid()}: "
            "stop that one first, or give this one another redis.data_dir\n"
        )
        assert second.returncode == 1
        assert server.running

    async def test_in_the_same_process_too(self, data_dir: Path, server: EmbeddedValkey) -> None:
        with pytest.raises(DataDirectoryInUse):
            await EmbeddedValkey(data_dir).start()
        with pytest.raises(DataDirectoryInUse):
            await server.start()
        async with connected(server) as client:
            assert await client.ping()

    async def test_the_directory_is_free_after_stop(
        self, server: EmbeddedValkey, own: StartOwner
    ) -> None:
        await server.stop()
        await asyncio.to_thread(wait_up, own())

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def test_it_dies_with_its_owner(self, data_dir: Path, own: StartOwner, loop: str) -> None:
        owner = own(loop=loop)
        wait_up(owner)
        pid = valkey_pid(data_dir)
        owner.kill()
        wait_for(lambda: not alive(pid))

    @pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
    async def test_every_acknowledged_write_survives_the_owners_death(
        self, data_dir: Path, own: StartOwner, *, stopped: bool
    ) -> None:
        acknowledged = 0
        for _ in range(3):
            owner = own("write")
            await asyncio.to_thread(wait_up, owner)
            await asyncio.sleep(random.uniform(0.1, 0.3))
            if stopped:
                os.kill(valkey_pid(data_dir), signal.SIGSTOP)
            owner.kill()
            stdout, _ = await asyncio.to_thread(owner.communicate)
            acknowledged = max(acknowledged, stdout.count("\n"))

            server = EmbeddedValkey(data_dir)
            await server.start()
            assert servers(data_dir) == [valkey_pid(data_dir)]
            async with connected(server) as client:
                keys = [f"write:{number}" for number in range(acknowledged)]
                assert await client.mget(keys) == [str(number) for number in range(acknowledged)]
            await server.stop()
        assert acknowledged > 0

    async def test_the_owners_lock_is_not_inherited(
        self, data_dir: Path, server: EmbeddedValkey
    ) -> None:
        assert server.running
        targets = open_files(valkey_pid(data_dir))
        assert "owner.lock" not in targets
        assert "valkey.lock" in targets

"""The data directory: odd names, long paths, other users."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from csms_redis.redis.embedded import EmbeddedError, EmbeddedValkey
from tests.support.embedded import as_nobody, connected, servers, valkey_pid


class TestPaths:
    @pytest.mark.parametrize(
        "name",
        [
            "two words",
            'it\'s "so"',
            "ladestation-æøå-充電",
            "100%25?a=b#c&d;e",
            "back\\slash+~",
            "-x",
        ],
    )
    async def test_odd_characters(self, base: Path, name: str) -> None:
        server = EmbeddedValkey(base / name)
        await server.start()
        async with connected(server) as client:
            assert await client.ping()
        assert servers(base / name) == [valkey_pid(base / name)]
        await server.stop()

    @pytest.mark.parametrize("name", ["data", "100%25? a=b#ü"])
    async def test_a_long_path_is_reached_from_near(
        self, base: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        near = base / ("long" * 25)
        near.mkdir()
        monkeypatch.chdir(near)
        server = EmbeddedValkey(near / name)
        await server.start()
        assert server.socket == f"{name}/valkey.sock"
        async with connected(server) as client:
            assert await client.ping()
        await server.stop()

    async def test_one_too_long_either_way_is_refused(self, base: Path) -> None:
        data_dir = base / ("long" * 25)
        with pytest.raises(EmbeddedError) as refused:
            await EmbeddedValkey(data_dir).start()
        message = str(refused.value)
        assert f"redis.data_dir {data_dir} is too long for a Unix socket" in message
        assert "107 is the limit" in message
        assert not data_dir.exists()

    @pytest.mark.parametrize("length", [107, 108])
    async def test_the_limit_is_the_kernels(
        self, base: Path, length: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deep = base.joinpath(*"abcdefghi")  # from where no relative path is shorter
        deep.mkdir(parents=True)
        monkeypatch.chdir(deep)
        data_dir = base / ("x" * (length - len(str(base / "y")) + 1 - len("/valkey.sock")))
        server = EmbeddedValkey(data_dir)
        if length == 108:
            with pytest.raises(EmbeddedError, match="has 108 bytes"):
                await server.start()
            with socket.socket(socket.AF_UNIX) as client, pytest.raises(OSError, match="too long"):
                client.connect(server.socket)
            return
        await server.start()
        async with connected(server) as client:
            assert await client.ping()
        await server.stop()


class TestPrivacy:
    async def test_only_this_user_gets_in(self, data_dir: Path, server: EmbeddedValkey) -> None:
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in (data_dir, data_dir / "valkey.sock", data_dir / "valkey.log")
        }
        assert modes == {"data": 0o700, "valkey.sock": 0o700, "valkey.log": 0o600}
        assert server.running

    async def test_an_open_directory_is_closed(self, data_dir: Path) -> None:
        data_dir.mkdir()
        data_dir.chmod(0o755)
        server = EmbeddedValkey(data_dir)
        await server.start()
        await server.stop()
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700

    async def test_a_directory_of_other_things_is_left_alone(self, data_dir: Path) -> None:
        data_dir.mkdir()
        data_dir.chmod(0o755)
        (data_dir / "thesis.txt").touch()
        with pytest.raises(EmbeddedError, match="name a new or empty directory"):
            await EmbeddedValkey(data_dir).start()
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o755


class TestRefusals:
    async def test_a_directory_that_cannot_be_made(self, base: Path) -> None:
        (base / "file").touch()
        with pytest.raises(EmbeddedError) as refused:
            await EmbeddedValkey(base / "file" / "data").start()
        assert str(refused.value) == (
            f"redis.data_dir {base / 'file' / 'data'} cannot be used: {os.strerror(errno.ENOTDIR)}"
        )

    async def test_a_directory_one_may_not_make(self, base: Path) -> None:
        base.chmod(0o555)
        with as_nobody(), pytest.raises(EmbeddedError, match="cannot be used: Permission denied"):
            await EmbeddedValkey(base / "data").start()
        base.chmod(0o700)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")
    async def test_a_directory_of_another_user(self, data_dir: Path) -> None:
        data_dir.mkdir()
        data_dir.parent.chmod(0o755)
        with as_nobody(), pytest.raises(EmbeddedError, match=r"belongs to another user \(uid 0\)"):
            await EmbeddedValkey(data_dir).start()

"""Files that are read again: what fails once is tried again, what hangs holds up nothing."""
# What these tests wait for happens in the watch:
# ruff: noqa: ASYNC110

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from structlog.testing import capture_logs

from csms_redis import files
from csms_redis.access import file_watch
from csms_redis.access.file_watch import FileWatch
from csms_redis.settings import BadSettings

Log: TypeAlias = Sequence[MutableMapping[str, Any]]


class Watched:
    """A file, and what is in use of it."""

    def __init__(self, home: Path) -> None:
        self.file = home / "file"
        self.used: list[bytes] = []
        self.failures = 0  # of the next readings
        self.file.write_bytes(b"1")
        self.watch = FileWatch("it", [self.file], self._read, self.used.append)

    def _read(self) -> bytes:
        if self.failures:
            self.failures -= 1
            raise BadSettings("the disk is away")
        try:
            return files.read(self.file)
        except OSError as error:
            raise BadSettings(str(error.strerror)) from None

    async def until_used(self, content: bytes) -> None:
        async with asyncio.timeout(10):
            while self.used[-1] != content:
                await asyncio.sleep(0.01)


@pytest.fixture
async def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    """Looked at each few milliseconds."""
    monkeypatch.setattr(file_watch, "PERIOD", 0.01)
    monkeypatch.setattr(file_watch, "PATIENCE", 0.1)
    watched = Watched(tmp_path)
    running = asyncio.create_task(watched.watch.run())
    yield watched
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def reasons(logged: Log) -> list[str]:
    return [line["reason"] for line in logged if line["log_level"] == "error"]


async def test_what_could_not_be_read_is_read_again(watched: Watched) -> None:
    """Though it has not changed since; the log has one line."""
    with capture_logs() as logged:
        watched.failures = 5
        watched.file.write_bytes(b"2")
        await watched.until_used(b"2")
    assert reasons(logged) == ["the disk is away"]
    assert watched.used == [b"1", b"2"]


async def test_what_is_no_file_is_refused(watched: Watched) -> None:
    """Nobody waits for a writer of a pipe; the old one stays in use until there is a file again."""
    with capture_logs() as logged:
        watched.file.unlink()
        os.mkfifo(watched.file)
        async with asyncio.timeout(10):
            while "it is no regular file" not in reasons(logged):
                await asyncio.sleep(0.01)
        assert watched.used == [b"1"]
        new = watched.file.with_name("new")
        new.write_bytes(b"2")
        new.replace(watched.file)
        await watched.until_used(b"2")


async def test_what_hangs_holds_up_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file on a mount whose server is gone: said once; another look does not wait for it."""
    real, (waits, never) = files.read, os.pipe()
    hanging: list[threading.Thread] = []

    def hangs(file: Path) -> bytes:
        hanging.append(threading.current_thread())
        os.read(waits, 1)
        return real(file)

    with capture_logs() as logged:
        monkeypatch.setattr(files, "read", hangs)
        async with asyncio.timeout(10):
            while len(hanging) < 3:
                await asyncio.sleep(0.01)
        monkeypatch.setattr(files, "read", real)
        watched.file.write_bytes(b"2")
        watched.watch.look_now()
        await watched.until_used(b"2")
        assert all(thread.is_alive() and thread.daemon for thread in hanging)
    assert set(reasons(logged)) == {f"{watched.file} cannot be read: that takes too long"}
    assert len(reasons(logged)) <= 2  # the other is the answer to whoever wanted a look
    os.close(never)
    for thread in hanging:
        thread.join(10)
    os.close(waits)
    await asyncio.sleep(0.05)
    assert watched.used == [b"1", b"2"]

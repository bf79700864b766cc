"""Servers that a former owner left running in the data directory: they are ended first.

Valkey holds the lock on `valkey.lock`, which it gets as its standard input. However its owner
ended, no other Valkey opens the append-only file before the kernel says that the last one is gone.
"""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import structlog

from csms_redis.redis.embedded.directory import PID_FILE, SERVER_LOCK
from csms_redis.redis.embedded.errors import EmbeddedError
from csms_redis.redis.embedded.ownership import lock_file

_GIVE_UP = 5.0  # seconds after SIGKILL until a server that still runs refuses the start

_log = structlog.get_logger()


async def take_over(data_dir: Path, server_name: str, grace: float) -> int:
    """End every server that a former owner left.

    Args:
        data_dir: the directory in which they run.
        server_name: the name of their program.
        grace: seconds between SIGTERM and SIGKILL.

    Returns:
        The file descriptor of the lock for the next server.

    Raises:
        EmbeddedError: a server holds on, for example out of sight in another container.
    """
    begin = time.monotonic()
    asked: set[int] = set()
    while True:
        orphans = servers_in(data_dir, server_name)
        lock = None if orphans else lock_file(data_dir / SERVER_LOCK)
        if lock is not None:
            return lock
        waited = time.monotonic() - begin
        if waited > grace + _GIVE_UP:
            raise EmbeddedError(
                f"redis.data_dir {data_dir} is held by a Valkey server of a former run that "
                f"cannot be ended from here (process {_described(data_dir, orphans)}): end it"
            )
        for pid in orphans:
            if waited >= grace:
                _send(pid, signal.SIGKILL)
            elif pid not in asked:
                asked.add(pid)
                _log.warning("valkey orphan ended", pid=pid, data_dir=str(data_dir))
                ask_to_end(pid)
        await asyncio.sleep(0.02)


def servers_in(data_dir: Path, server_name: str) -> list[int]:
    """The processes that run that program in that directory; none where there is no /proc."""
    here = data_dir.stat()
    with contextlib.suppress(FileNotFoundError):
        return [
            int(process.name)
            for process in Path("/proc").iterdir()
            if process.name.isdigit() and _is_server(process, here, server_name)
        ]
    return []


def _is_server(process: Path, here: os.stat_result, server_name: str) -> bool:
    try:
        if not os.path.samestat((process / "cwd").stat(), here):
            return False
        # An upgrade replaces the program under a running server.
        return (process / "exe").readlink().name.removesuffix(" (deleted)") == server_name
    except OSError:  # ended meanwhile, or another user's, whose directory this cannot be
        return False


def _described(data_dir: Path, orphans: list[int]) -> str:
    if orphans:
        return ", ".join(map(str, orphans))
    with contextlib.suppress(OSError):
        return f"{(data_dir / PID_FILE).read_text('ascii', 'replace').strip()} or another"
    return "unknown"


def ask_to_end(pid: int) -> None:
    """Send a server SIGTERM, also to one that is stopped."""
    _send(pid, signal.SIGTERM)
    _send(pid, signal.SIGCONT)  # a stopped process takes no other signal


def _send(pid: int, signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)

"""Who owns the data directory: one service, or one command.

The owner holds a lock on `owner.lock` for as long as it lives. Another service is refused then; a
service that meets a command waits until the command has ended.

`valkey.lock` is another lock, which Valkey itself holds: see `former_servers`.
"""

import asyncio
import contextlib
import fcntl
import itertools
import os
import re
import time
from pathlib import Path

import structlog

from csms_redis.redis.embedded.directory import OWNER_LOCK
from csms_redis.redis.embedded.errors import DataDirectoryInUse, unusable

_SERVES = "serve"  # in owner.lock, behind the pid: a service holds the lock, and no command
_PAUSE = 0.1  # seconds between two attempts to become the owner
_SAY_AGAIN = 30.0  # seconds after which the log names the owner once more
_PROGRAM = re.compile(r"(?:^|/)csms[-_]redis(?:/__main__\.py)?$")

_log = structlog.get_logger()


def own(data_dir: Path, role: str = "") -> int:
    """Make this process the owner.

    Args:
        data_dir: the directory, which exists.
        role: what the owner does, for others to read; empty for a command.

    Returns:
        The file descriptor of the lock. The process is the owner until it is closed.

    Raises:
        DataDirectoryInUse: another process is the owner.
        EmbeddedError: the lock's file cannot be used.
    """
    path = data_dir / OWNER_LOCK
    try:
        lock = lock_file(path)
        if lock is not None:
            with contextlib.suppress(OSError):  # a full disk: the lock holds without the pid
                os.ftruncate(lock, 0)
                os.write(lock, f"{os.getpid()}\n{role}\n".encode())
            return lock
        pid, _, role = path.read_text("ascii", "replace").strip().partition("\n")
    except OSError as error:
        raise unusable(data_dir, error) from error
    raise DataDirectoryInUse(
        f"redis.data_dir {data_dir} is in use by {f'process {pid}' if pid else 'a process'}: "
        "stop that one first, or give this one another redis.data_dir",
        owner=pid,
        serves=role == _SERVES,
    )


async def own_after_commands(data_dir: Path) -> int:
    """Make this service the owner, as `own` does, once no command is the owner any more.

    The log names the process that is waited for.

    Raises:
        DataDirectoryInUse: another service is the owner.
        EmbeddedError: the lock's file cannot be used.
    """
    named, named_at = "", 0.0
    while True:
        try:
            lock = own(data_dir, _SERVES)
        except DataDirectoryInUse as in_use:
            if in_use.serves:
                raise
            owner = _describe(in_use.owner)
        else:
            if named:
                _log.info("the data directory is free", data_dir=str(data_dir))
            return lock
        if owner != named or time.monotonic() - named_at > _SAY_AGAIN:
            named, named_at = owner, time.monotonic()
            _log.warning(
                "waiting until the data directory is free", data_dir=str(data_dir), owner=owner
            )
        await asyncio.sleep(_PAUSE)


def disown(lock: int) -> None:
    """Give the directory free for the next owner."""
    # Never unlinked: a second owner could then lock a file that is no longer there.
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
    os.close(lock)


def lock_file(path: Path) -> int | None:
    """Lock a file for this process.

    Returns:
        The file descriptor of the lock; None where another process holds the lock.

    Raises:
        OSError: the file cannot be opened or locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _describe(pid: str) -> str:
    """Name a process for the operator; of its command line, only which command of ours it is."""
    if not pid.isdecimal():
        return "a process"
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        for word, command in itertools.pairwise(words):
            if _PROGRAM.search(word) and command.isalpha():
                return f"process {pid} (csms-redis {command})"
    return f"process {pid}"

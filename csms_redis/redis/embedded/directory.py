"""The data directory: the names of its files, the path of its socket, and who may look inside.

This module does not know who owns the directory; see `ownership`.
"""

import os
import stat
import sys
from pathlib import Path
from typing import Final

from csms_redis.redis.embedded.errors import EmbeddedError, unusable

OWNER_LOCK: Final = "owner.lock"
SERVER_LOCK: Final = "valkey.lock"
SOCKET: Final = "valkey.sock"
PID_FILE: Final = "valkey.pid"
LOG: Final = "valkey.log"
APPEND_ONLY: Final = "appendonlydir"

_SOCKET_PATH_LIMIT = 107 if sys.platform == "linux" else 103  # sun_path without its NUL, bytes


def socket_path(data_dir: Path) -> str:
    """The socket's absolute path if a socket can have it, else the shorter of the two."""
    absolute = str(data_dir / SOCKET)
    if _fits(absolute):
        return absolute
    # From a working directory (always a real path) `..` leads astray only through links.
    relative = os.path.relpath(data_dir.resolve() / SOCKET, Path.cwd())
    return min(absolute, relative, key=_length)


def check_length(data_dir: Path, socket: str) -> None:
    """Refuse a directory whose socket nobody could connect to.

    Raises:
        EmbeddedError: the socket's path is longer than the kernel allows.
    """
    if not _fits(socket):
        raise EmbeddedError(
            f"redis.data_dir {data_dir} is too long for a Unix socket: the path of the socket in "
            f"it has {_length(socket)} bytes and {_SOCKET_PATH_LIMIT} is the limit; name a "
            "shorter directory"
        )


def has_store(data_dir: Path) -> bool:
    """Whether a service or a command has ever had its store in a directory."""
    return any((data_dir / name).exists() for name in (OWNER_LOCK, APPEND_ONLY))


def no_store(data_dir: Path) -> str:
    """What is said where there is no store, and the ways to name one."""
    return (
        f"there is no store in {data_dir}, and no redis.url is set: name a service by --server URL "
        "(or CSMS_SERVER_URL), or a Redis by redis.url (in --config FILE, or CSMS_REDIS__URL); "
        "only csms-redis serve makes a store"
    )


def _length(socket: str) -> int:
    return len(os.fsencode(socket))


def _fits(socket: str) -> bool:
    return _length(socket) <= _SOCKET_PATH_LIMIT


def prepare(data_dir: Path) -> None:
    """Make the directory, or make an existing one private.

    Raises:
        EmbeddedError: the directory cannot be made, belongs to another user, or is open to other
            users and holds other things.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = data_dir.stat()
        if status.st_uid != os.geteuid():
            raise EmbeddedError(
                f"redis.data_dir {data_dir} belongs to another user (uid {status.st_uid}): "
                "name a directory of this service's own"
            )
        if stat.S_IMODE(status.st_mode) & 0o777 != 0o700:
            _check_content(data_dir)
            data_dir.chmod(0o700)
    except (OSError, ValueError) as error:
        raise unusable(data_dir, error) from error


def _check_content(data_dir: Path) -> None:
    """Refuse to close a directory that serves someone else, such as a home or /tmp."""
    names = {entry.name for entry in data_dir.iterdir()} - {"lost+found"}
    if names and not names & {OWNER_LOCK, APPEND_ONLY}:
        raise EmbeddedError(
            f"redis.data_dir {data_dir} is open to other users and holds other things: "
            "name a new or empty directory"
        )

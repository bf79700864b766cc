"""Small files that operators name: secrets, certificates, keys."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

MOST: Final = 2**20
"""The most bytes of such a file; a bundle of all public authorities has a quarter of them."""


def read(file: Path) -> bytes:
    """Read a regular file.

    Raises:
        OSError: the file cannot be read; or it is a directory, a pipe or a device, whose reading
            might never end; or it is larger than `MOST`. The error's `strerror` says which.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        with open(descriptor, "rb", closefd=False) as opened:
            content = opened.read(MOST + 1)
    finally:
        os.close(descriptor)
    if len(content) > MOST:
        raise OSError(errno.EFBIG, f"it is larger than {MOST} bytes")
    return content

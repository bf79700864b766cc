"""Signals that come before the service can take them: while its parts are still imported.

It imports next to nothing itself. The first process of a container has no signal's default action
that ends it, so that SIGTERM would be lost; and a SIGHUP, which is to reload files, would end it.
"""

import os
import signal
from types import FrameType
from typing import NoReturn


def obey() -> None:
    """End at once at SIGTERM and SIGINT, for nothing has begun; go on at SIGHUP."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGHUP, _go_on)


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    del signum, frame
    os._exit(0)


def _go_on(signum: int, frame: FrameType | None) -> None:
    """Do nothing: the files that a reload would read have not been read yet."""
    del signum, frame

"""A command in a terminal of its own, as a person runs it."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
from pathlib import Path
from typing import Self

from tests.support.service import PROGRAM, environment


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests run in the background ignore it


class Terminal:
    """A command in a terminal of its own."""

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        stdout: int | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        self._ours, theirs = pty.openpty()
        self._unread = b""
        self.shown = ""  # all that was seen so far
        self.process = subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=cwd,
            env=environment({"TERM": "xterm-256color"} | (settings or {})),
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 no threads here
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.process.kill()
        os.close(self._ours)

    def expect(self, text: str) -> None:
        """Read until it shows `text`."""
        while text.encode() not in self._unread:
            assert self._read(), f"{text!r} is not in {self._unread!r}"
        _, _, self._unread = self._unread.partition(text.encode())

    def rest(self) -> str:
        """Read until it ends, and give all that was shown."""
        while self._read():
            pass
        return self.shown

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], 20)
        assert ready, f"nothing more within 20 s after {self.shown!r}"
        try:
            data = os.read(self._ours, 1024)
        except OSError:  # its other end is closed
            return False
        self._unread += data
        self.shown += data.decode()
        return bool(data)

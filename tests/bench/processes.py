"""The processes of a run: each on its core, all ended with the run."""

import ctypes
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_GRACE = 5
_START = 60


class CannotRun(Exception):
    """The benchmark cannot go on; the message says why."""


class Processes:
    """Starts processes; leaving the block ends them and removes their directory."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="bench-")
        self.directory = Path(self._directory.name)
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in reversed(self._running):
            end(process)
        self._directory.cleanup()

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        core: int,
        environment: Mapping[str, str],
        ready: Callable[[], bool],
    ) -> subprocess.Popen[bytes]:
        """Start a process on a core and wait until it is ready."""
        log = self.directory / f"{name}.{len(self._running)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env={**_own_environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _settle(core),  # noqa: PLW1509 no threads run here
            )
        self._running.append(process)
        deadline = time.monotonic() + _START
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise CannotRun(f"{name} does not start; it said:\n{said}")
            time.sleep(0.02)
        return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started: asked first, then killed."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Find a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether the port can be connected to."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _settle(core: int) -> None:
    os.sched_setaffinity(0, {core})
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CSMS_")}

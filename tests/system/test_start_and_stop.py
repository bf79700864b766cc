"""The start gives way to signals at each of its steps, and what keeps it waiting is told."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.service import PROGRAM, Service, environment, run, until

JSON = {"CSMS_TELEMETRY__LOG_FORMAT": "json"}
STATION = {"securityProfile": 2}
PATH = "/api/v0/cs/cs001"
AT_THE_END = 20.0  # seconds
WAITS = "waiting until the data directory is free"


@contextmanager
def starting(service: Service) -> Iterator[Service]:
    """A service that was spawned and does not listen yet; nothing is left of it."""
    service.spawn()
    try:
        yield service
    finally:
        service.__exit__(None, None, None)


@contextmanager
def slow_import(home: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A command that has the embedded store, which serve has made, while its input is open."""
    with Service(home):
        pass
    with subprocess.Popen(
        [PROGRAM, "import", "stations", "-", "--format", "jsonl"],
        cwd=home,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:
        try:
            until((home / "data" / "valkey.sock").exists, "it has the store")
            yield command
        finally:
            command.kill()


def events(service: Service, name: str) -> list[dict[str, object]]:
    return [line for line in service.log if line["event"] == name]


def test_a_command_is_waited_for(tmp_path: Path) -> None:
    """The log says for which; a signal ends the waiting; a second service is refused as before."""
    with slow_import(tmp_path) as command:
        service = Service(tmp_path, JSON)
        with starting(service):
            until(lambda: bool(events(service, WAITS)), "the log says so")
            (line,) = events(service, WAITS)
            assert line["owner"] == f"process {command.pid} (csms-redis import)"
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(AT_THE_END) == 0
        with starting(service):
            until(lambda: bool(events(service, WAITS)), "the log says so")
            assert command.stdin is not None
            command.stdin.close()
            until(lambda: bool(events(service, "listening")), "it starts")
            second = run("serve", "--port", "0", cwd=tmp_path)
            assert second.returncode == 1
            assert b"is in use by process" in second.stderr
            assert service.stop() == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_store_that_loads_gives_way(signum: signal.Signals, tmp_path: Path) -> None:
    """Nothing of it is left running."""
    with Service(tmp_path, JSON) as before:
        before.ready()
        before.stop()
    service = Service(tmp_path, JSON)
    with starting(service):
        until(lambda: bool(children(service.process.pid)), "Valkey is started", seconds=30)
        (valkey,) = children(service.process.pid)
        os.kill(valkey, signal.SIGSTOP)
        assert not events(service, "listening")
        service.process.send_signal(signum)
        assert service.process.wait(AT_THE_END) == 0
        assert not Path(f"/proc/{valkey}").exists()
        assert service.log[-1]["event"] == "stopped"


def children(pid: int) -> list[int]:
    """The processes that a process has started, which run a program of their own already."""
    found = []
    for number in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split():
        name = Path(f"/proc/{number}/comm").read_text("ascii").strip()
        found += [int(number)] if name.startswith("valkey") else []
    return found


def test_a_silent_redis_gives_way(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        service = Service(tmp_path, JSON | {"CSMS_REDIS__URL": url, "CSMS_REDIS__TIMEOUT": "60"})
        with starting(service):
            silent.settimeout(AT_THE_END)
            first, _ = silent.accept()
            with first:
                service.process.send_signal(signal.SIGTERM)
                assert service.process.wait(AT_THE_END) == 0


def test_signals_are_taken_before_anything_is_imported(tmp_path: Path) -> None:
    """SIGHUP ends nothing; and a container's first process has no default action for SIGTERM."""
    service = Service(tmp_path, JSON)
    with starting(service):
        status = Path(f"/proc/{service.process.pid}/status")
        maps = Path(f"/proc/{service.process.pid}/maps")

        def caught() -> int:
            return int(re.findall(r"SigCgt:\s*(\w+)", status.read_text("ascii"))[0], 16)

        wanted = sum(1 << signum - 1 for signum in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT))
        until(lambda: caught() & wanted == wanted, "they are caught")
        assert "uvloop" not in maps.read_text("utf-8")
        service.process.send_signal(signal.SIGHUP)
        until(lambda: bool(events(service, "listening")), "it starts")
        assert service.stop() == 0


def advised(service: Service) -> str:
    """The command that a refused start ends its line with."""
    with starting(service):
        assert service.process.wait(AT_THE_END) == 1
        (line,) = [line for line in service.log_text.splitlines() if line.startswith("csms-redis:")]
    return re.split(r"(?:these files|place on): ", line)[1].partition(" (log: ")[0]


@pytest.fixture
def stopped(tmp_path: Path) -> Service:
    """A service that had a station when it ended."""
    service = Service(tmp_path, JSON)
    with service:
        service.ready()
        assert service.request("POST", PATH, STATION).status == 201
        assert service.stop() == 0
    return service


def test_records_without_their_manifest_are_not_passed_over(stopped: Service) -> None:
    """And the command that is advised brings them back."""
    (stopped.data_dir / "appendonlydir" / "appendonly.aof.manifest").unlink()
    command = advised(stopped)
    subprocess.run(["sh", "-c", command], check=True)
    with stopped:
        stopped.ready()
        assert stopped.request("GET", f"{PATH}/auth").json == STATION


def test_a_broken_record_is_cut_off_as_advised(stopped: Service) -> None:
    """By a program that is there; what came before it is kept."""
    (records,) = (stopped.data_dir / "appendonlydir").glob("*.incr.aof")
    with records.open("ab") as file:
        file.write(b"nonsense\r\n" * 10)
    command = advised(stopped)
    subprocess.run(["sh", "-c", command], input=b"y\n", stdout=subprocess.DEVNULL, check=True)
    with stopped:
        stopped.ready()
        assert stopped.request("GET", f"{PATH}/auth").json == STATION


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_to_the_last_moment(signum: signal.Signals, tmp_path: Path) -> None:
    """Whatever comes after the first, the process ends by itself, with the status of a good end."""
    with Service(tmp_path, JSON) as service:
        service.ready()
        service.process.send_signal(signal.SIGTERM)
        while service.process.poll() is None:
            service.process.send_signal(signum)
            time.sleep(0.001)
        assert service.process.returncode == 0
        assert events(service, "stopped")

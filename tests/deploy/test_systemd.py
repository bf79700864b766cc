"""The systemd units."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from csms_redis.settings import ServerSettings, load

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICE = (DEPLOY / "csms-redis.service").read_text("utf-8")
SOCKET = (DEPLOY / "csms-redis.socket").read_text("utf-8")
SEVERAL = (DEPLOY / "csms-redis@.service.d/several.conf").read_text("utf-8")
ANALYZE = shutil.which("systemd-analyze")
MOST_EXPOSED = 1.5  # of 10; what is left is the network, Unix sockets and the descriptors' limit

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def values(unit: str, key: str) -> list[str]:
    """What a unit sets a key to, each time."""
    return re.findall(rf"(?m)^{key}=(.*)$", unit)


def analyze(*arguments: str, home: Path) -> str:
    """Ask systemd about the units, with a program that exists."""
    for name in ("csms-redis.service", "csms-redis@.service"):
        (home / name).write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", SERVICE))
    (home / "csms-redis.socket").write_text(SOCKET)
    (home / "csms-redis@.service.d").mkdir()
    (home / "csms-redis@.service.d/several.conf").write_text(SEVERAL)
    assert ANALYZE is not None
    done = subprocess.run(
        [ANALYZE, *arguments],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@needs_systemd
def test_systemd_takes_them(tmp_path: Path) -> None:
    units = ("./csms-redis.service", "./csms-redis.socket", "./csms-redis@1.service")

    assert analyze("verify", *units, home=tmp_path).strip() == ""


@needs_systemd
def test_the_service_is_confined(tmp_path: Path) -> None:
    said = analyze("security", "--offline=true", "./csms-redis.service", home=tmp_path)
    found = re.search(r"exposure level for \S+: ([\d.]+)", said)

    assert found is not None
    assert float(found[1]) <= MOST_EXPOSED


def test_it_has_time_to_drain() -> None:
    server = ServerSettings()
    [seconds] = values(SERVICE, "TimeoutStopSec")

    assert int(seconds) > server.drain_delay + server.drain_timeout


def test_its_embedded_store_outlives_the_drain() -> None:
    """By default systemd sends SIGTERM to all of a unit's processes."""
    assert values(SERVICE, "KillMode") == ["mixed"]


def test_it_is_started_again_however_often_it_ends() -> None:
    """By default systemd gives up after five starts within ten seconds."""
    unit, _, _ = SERVICE.partition("[Service]")
    assert values(unit, "StartLimitIntervalSec") == ["0"]
    assert values(SERVICE, "Restart") == ["always"]


def test_several_processes_are_one_user_s() -> None:
    """Else the kernel lets only the first of them listen."""
    assert values(SERVICE, "User") == ["csms-redis"]
    assert values(SEVERAL, "Environment") == ["CSMS_SERVER__REUSE_PORT=true"]


def test_its_settings_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    for assignment in values(SERVICE + SEVERAL, "Environment"):
        name, value = assignment.split("=", 1)
        if name != "CSMS_CONFIG":
            monkeypatch.setenv(name, value.replace("%S", "/var/lib"))

    read = load(DEPLOY.parent / "config.toml")

    assert read.redis.data_dir == Path("/var/lib") / values(SERVICE, "StateDirectory")[0]
    assert read.server.reuse_port


def test_the_socket_is_where_the_service_would_listen() -> None:
    server = ServerSettings()

    assert values(SOCKET, "ListenStream") == [f"{server.host}:{server.port}"]
    assert values(SOCKET, "Backlog") == [str(server.backlog)]

"""A name server that does not answer, as a pod meets it: the service says so, and ends at once."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.service import Service, free_port, until

SERVER = "127.0.0.77"
NAME = "redis.invalid"
RESOLV_CONF = f"""
nameserver {SERVER}
search fleet.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
"""
AT_THE_END = 20.0  # seconds; a resolution takes 40


def cannot_have_its_own() -> str | None:
    """Why a process here cannot have a name server of its own."""
    if not shutil.which("unshare") or os.geteuid() != 0:
        return "needs root and unshare(1)"
    tried = subprocess.run(
        ["unshare", "-m", "mount", "--bind", "/etc/hosts", "/etc/resolv.conf"],
        capture_output=True,
        check=False,
    )
    return "may not mount" if tried.returncode else None


WHY = cannot_have_its_own()
pytestmark = pytest.mark.skipif(WHY is not None, reason=str(WHY))


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[list[str]]:
    """Gives a program a name server that takes questions and answers none."""
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(RESOLV_CONF, "ascii")
    mounted = f'mount --bind "{resolv_conf}" /etc/resolv.conf && exec "$@"'
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as mute:
        try:
            mute.bind((SERVER, 53))
        except OSError:
            pytest.skip("the port of name servers is taken")
        yield ["unshare", "-m", "sh", "-c", mounted, "sh"]


def told(service: Service) -> bool:
    return any(
        "is not resolved" in str(line.get("reason")) or "be resolved" in str(line.get("reason"))
        for line in service.log
    )


@pytest.mark.parametrize(
    "url",
    [
        f"redis://{NAME}:6379",
        f"rediss://{NAME}:6379",
        f"redis+sentinel://{NAME}:26379/mymaster",
        f"redis+cluster://{NAME}:6379",
        f"rediss+cluster://{NAME}:6379",
    ],
)
def test_redis_has_a_name(url: str, launcher: list[str], tmp_path: Path) -> None:
    """One thread waits; it is told what is wrong, and nothing else; the end waits for nothing."""
    settings = {"CSMS_REDIS__URL": url, "CSMS_TELEMETRY__LOG_FORMAT": "json"}
    with Service(tmp_path, settings, launcher=launcher) as service:
        until(lambda: told(service), "the log says so")
        threads = len(list(Path(f"/proc/{service.process.pid}/task").iterdir()))
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(AT_THE_END) == 0
    assert threads <= 6, "each attempt has its thread"
    assert "never retrieved" not in service.log_text
    assert "Traceback" not in service.log_text
    assert service.log[-1]["event"] == "stopped"


def test_the_listener_has_a_name(launcher: list[str], tmp_path: Path) -> None:
    """The start waits for it, and gives way to a signal."""
    service = Service(tmp_path, {"CSMS_SERVER__HOST": NAME}, launcher=launcher)
    service.spawn()
    try:
        until(lambda: "Redis reached" in service.log_text, "it started")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(AT_THE_END) == 0
    finally:
        service.__exit__(None, None, None)


def test_the_collector_has_a_name(launcher: list[str], tmp_path: Path) -> None:
    """Its last spans are not sent, and nothing waits for that."""
    pytest.importorskip("opentelemetry.sdk")
    settings = {
        "CSMS_TELEMETRY__OTLP_ENDPOINT": f"http://{NAME}:{free_port()}",
        "CSMS_TELEMETRY__LOG_FORMAT": "json",
    }
    with Service(tmp_path, settings, launcher=launcher) as service:
        service.ready()
        for _ in range(10):
            service.request("GET", "/api/v0/cs/cs001/auth")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(AT_THE_END) == 0

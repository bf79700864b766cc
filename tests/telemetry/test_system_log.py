"""Where the audit's line of a command goes when a person sits at the terminal."""

import io
import json
import logging
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from csms_redis.settings import TelemetrySettings
from csms_redis.telemetry import log
from tests.conftest import Valkey
from tests.support.terminal import Terminal


class _Screen(io.TextIOWrapper):
    """A terminal, as far as a program asks."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """What a terminal shows; of the module alone, for pytest has a standard error of its own."""
    shown = io.BytesIO()
    monkeypatch.setattr(log, "sys", SimpleNamespace(stderr=_Screen(shown)))
    return shown


@pytest.mark.parametrize(("level", "priority"), [(logging.INFO, 86), (logging.WARNING, 84)])
def test_it_goes_to_the_system_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    screen: io.BytesIO,
    level: int,
    priority: int,
) -> None:
    monkeypatch.setattr(log, "SYSTEM_LOG", tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
        system.bind(str(tmp_path / "log"))
        system.settimeout(10)
        log.line(TelemetrySettings(), level, "write", csId="cs1", outcome="done")
        head, _, line = system.recv(65536).partition(b": ")
    assert head == b"<%d>csms-redis" % priority
    assert json.loads(line) == {"event": "write", "csId": "cs1", "outcome": "done"}
    assert screen.getvalue() == b""


def test_where_there_is_none_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screen: io.BytesIO
) -> None:
    monkeypatch.setattr(log, "SYSTEM_LOG", tmp_path / "log")
    log.line(TelemetrySettings(), logging.INFO, "write")
    assert screen.getvalue() == b""


def test_a_person_sees_the_answer_only(valkey: Valkey, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'[redis]\nurl = "{valkey.url}"\n')
    with Terminal("station", "add", "cs1", "--security-profile", "2", cwd=tmp_path) as terminal:
        assert terminal.rest() == "station cs1 is added\r\n"

"""Files on a mount whose server is gone, seen by a real process: reading one never ends.

No such mount can be had here. In the service's process, `os.open` of one path is made to read a
pipe that nobody writes to, in the kernel and for ever, while a file beside it says so.
"""

import signal
from pathlib import Path

import pytest

from csms_redis.access.secret import hash_of
from tests.support.service import Service, until

HANGING = """
import os
_open, _pipe = os.open, os.pipe()
def open(path, *arguments, **options):
    if str(path) == os.environ["HANGING"] and os.path.exists(str(path) + ".hangs"):
        os.read(_pipe[0], 1)
    return _open(path, *arguments, **options)
os.open = open
"""
AT_THE_END = 20.0  # seconds


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """The file of a client's secret."""
    file = tmp_path / "secret"
    file.write_text(hash_of(b"one").hex(), "ascii")
    return file


def of(tmp_path: Path, hanging: Path, **settings: str) -> Service:
    code = tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(HANGING, "ascii")
    environment = {f"CSMS_{name}": value for name, value in settings.items()}
    own = {"PYTHONPATH": str(code), "HANGING": str(hanging), "CSMS_TELEMETRY__LOG_FORMAT": "json"}
    return Service(tmp_path, environment | own)


def hang(file: Path) -> None:
    file.with_name(f"{file.name}.hangs").touch()


def revive(file: Path) -> None:
    file.with_name(f"{file.name}.hangs").unlink()


def clients(file: Path) -> str:
    return f'{{"gw": {{"roles": ["gateway"], "secret_file": "{file}"}}}}'


def test_a_secret_that_hangs(tmp_path: Path, secret: Path) -> None:
    """The log says so once; what was read stays; a look that is wanted finds what is new."""
    with of(tmp_path, secret, AUTH__CLIENTS=clients(secret)) as service:
        hang(secret)

        def told() -> list[str]:
            return [line["reason"] for line in service.log if line["level"] == "error"]

        until(lambda: bool(told()), "the log says so")
        assert told() == [f"{secret} cannot be read: that takes too long"]
        revive(secret)
        secret.write_text(hash_of(b"two").hex(), "ascii")
        service.process.send_signal(signal.SIGHUP)
        until(lambda: any(line["event"] == "reloaded" for line in service.log), "it is read")
        hang(secret)
        assert service.stop() == 0


@pytest.mark.parametrize("setting", ["AUTH__CLIENTS", "REDIS__PASSWORD_FILE"])
def test_a_start_that_hangs_gives_way(setting: str, tmp_path: Path, secret: Path) -> None:
    hang(secret)
    values = {
        "AUTH__CLIENTS": {"AUTH__CLIENTS": clients(secret)},
        "REDIS__PASSWORD_FILE": {
            "REDIS__PASSWORD_FILE": str(secret),
            "REDIS__URL": "redis://127.0.0.1:1",
        },
    }
    service = of(tmp_path, secret, **values[setting])
    service.spawn()
    try:
        until(lambda: len(threads(service)) > 1, "it reads")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(AT_THE_END) == 0
    finally:
        service.__exit__(None, None, None)


def threads(service: Service) -> list[Path]:
    return list(Path(f"/proc/{service.process.pid}/task").iterdir())

"""The image as a container engine builds it: buildah, with a base that stands in for Python's."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from csms_redis import __version__
from tests.conftest import API, Valkey, short_directory, wait_for
from tests.deploy import stand_in
from tests.support.service import free_port, request

ROOT = Path(__file__).parents[2]
NAME = f"docker.io/library/csms-redis:{__version__}"
BASE = "localhost/stand-in:1"
BUILDAH = shutil.which("buildah")
CHROOT = shutil.which("chroot")
LONG = 600  # seconds
USER = "65532:65532"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BUILDAH is None, reason="buildah is not installed: Debian has it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to enter another root directory"),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the image is of Python 3.11"),
]


class Engine:
    """A buildah with images of its own."""

    def __init__(self, home: Path) -> None:
        self._environment = os.environ | {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
        self._places = [f"--root={home}/images", f"--runroot={home}/run"]

    def __call__(self, *words: str | Path) -> str:
        """Give it a command, and return what it prints."""
        assert BUILDAH is not None
        done = subprocess.run(
            [BUILDAH, *self._places, *words],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()


class Built:
    """The image, and a place where its files are."""

    def __init__(self, config: dict[str, Any], root: Path) -> None:
        self.config = config
        self.root = root

    def words(self, *command: str) -> list[str]:
        """A command in its root directory: as its user, without rights, where nobody can write."""
        script = " && ".join(
            [
                f'mount --bind "{self.root}" "{self.root}"',
                f'mount -t proc proc "{self.root}/proc"',
                f'mount -o remount,bind,ro "{self.root}"',
                f'exec {CHROOT} --userspec={USER} --groups= "{self.root}" "$@"',
            ]
        )
        return ["unshare", "--mount", "sh", "-c", script, "sh", *command]

    def environment(self, **settings: str) -> dict[str, str]:
        """What the image sets, and these."""
        own = dict(one.split("=", 1) for one in self.config["Env"])
        return own | {f"CSMS_{name.upper()}": value for name, value in settings.items()}

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return subprocess.run(
            self.words(*self.config["Entrypoint"], *arguments),
            env=self.environment(**settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def places_of_pip() -> list[str]:
    """The files and folders of this machine that its pip is told to use, if any."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    named = {"/etc/pip.conf", *re.findall(r"(?:file://|[ '=])(/[^\s']+)", told)}
    return sorted(name for name in named if Path(name).exists())


@pytest.fixture(scope="module")
def built() -> Iterator[Built]:
    """The image, built as deploy/install.md says for podman and buildah."""
    with short_directory() as home:
        engine = Engine(home)
        stand_in.make(home / "base")
        empty = engine("from", "scratch")
        engine("copy", "--quiet", empty, home / "base", "/")
        path = "PATH=/usr/local/bin:/usr/bin:/bin"
        engine("config", "--env", path, "--env", "LD_LIBRARY_PATH=/usr/local/lib", empty)
        engine("commit", "--quiet", empty, BASE)
        mounts = [f"--volume={place}:{place}:ro" for place in places_of_pip()]
        engine(
            *("build", "--format", "docker", "--file", "deploy/Dockerfile", "--from", BASE),
            *mounts,
            *("--tag", NAME, "."),
        )
        config = json.loads(engine("inspect", "--type", "image", NAME))["Docker"]["config"]
        container = engine("from", NAME)
        yield Built(config, Path(engine("mount", container)))
        engine("umount", container)
        engine("rm", "--all")


class TestImage:
    """What it is."""

    def test_its_configuration(self, built: Built) -> None:
        assert built.config["User"] == USER
        assert built.config["Cmd"] == ["serve"]
        assert list(built.config["ExposedPorts"]) == ["9410/tcp"]
        assert built.config["Labels"]["org.opencontainers.image.version"] == __version__
        # which buildah's own format has no room for
        assert built.config["Healthcheck"]["Test"][0] == "CMD"

    def test_it_says_what_it_needs(self, built: Built) -> None:
        done = built.run("serve")
        assert done.returncode == 1
        assert "name a server in redis.url (CSMS_REDIS__URL)" in done.stdout + done.stderr
        assert "pip" not in done.stdout + done.stderr

    def test_nobody_can_write(self, built: Built) -> None:
        done = built.run("config")
        assert (done.returncode, "[server]" in done.stdout) == (0, True), done.stderr
        assert subprocess.run(
            built.words("/bin/sh", "-c", "echo > /tmp/x"),
            env=built.environment(),
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    """A Valkey on the network."""
    port = free_port()
    with short_directory() as home, Valkey(home, "--port", str(port), "--bind", "127.0.0.1"):
        yield f"redis://127.0.0.1:{port}"


class TestRuns:
    """What it does, as its user on files that cannot be written."""

    @contextmanager
    def serving(self, built: Built, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
        """The image's own command."""
        with subprocess.Popen(
            built.words(*built.config["Entrypoint"], *built.config["Cmd"]),
            env=built.environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def test_check(self, built: Built, redis: str) -> None:
        done = built.run("check", redis__url=redis)
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode in {0, 1}
        assert "PONG" in done.stdout or "redis" in done.stdout

    def test_it_answers_and_ends(self, built: Built, redis: str) -> None:
        port = free_port()
        with self.serving(built, redis__url=redis, server__port=str(port)) as process:
            wait_for(lambda: ready(process, port), "it is ready")
            assert request(port, "POST", f"{API}/cs/a", {"securityProfile": 2}).status == 201
            assert request(port, "GET", f"{API}/cs/a/auth").json == {"securityProfile": 2}
            assert request(port, "GET", f"{API}/cs/b/auth").status == 404
            assert self.healthy(built, port)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        assert not self.healthy(built, port)

    def healthy(self, built: Built, port: int) -> bool:
        """What the image's own health check says."""
        return not subprocess.run(
            built.words(*built.config["Healthcheck"]["Test"][1:]),
            env=built.environment(server__port=str(port)),
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode


def ready(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Whether a service that runs says that it is ready."""
    assert process.poll() is None, process.communicate()[0].decode()
    try:
        return request(port, "GET", "/health/ready").status == 200
    except OSError:
        return False

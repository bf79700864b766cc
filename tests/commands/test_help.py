"""`csms-redis --help`, and what is said of a wrong command line."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from csms_redis import __version__
from tests.support.commands import invoke
from tests.support.service import PROGRAM

COMMANDS = [
    "serve",
    "check",
    "config",
    "hash-password",
    "hash-certificate",
    "openapi",
    "new-secret",
    "import",
    "export",
    "station",
    "token",
    "certificate",
    "refused",
]


def test_a_shell_completes(tmp_path: Path) -> None:
    """As the page for operators says: commands and options."""
    page = (Path(__file__).parents[2] / "deploy" / "operate.md").read_text("utf-8")
    (line,) = re.findall(r"^eval .+$", page, re.MULTILINE)
    settings = {"PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}"}
    asked = "COMP_WORDS=(csms-redis station set-p); COMP_CWORD=2; _csms_redis_completion csms-redis"
    done = subprocess.run(
        ["bash", "-c", f'{line}; {asked}; echo "${{COMPREPLY[@]}}"'],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "set-password", done.stderr


class TestHelp:
    """`--help` says what a command does, and with which options."""

    def test_lists_every_command_whole(self, tmp_path: Path) -> None:
        """Each with one sentence, which is not cut off."""
        result = invoke("--help", cwd=tmp_path)
        listed = dict(
            re.findall(
                r"^  (\S+) {2,}(\S.+)$", result.stdout.decode().split("Commands:")[1], re.MULTILINE
            )
        )
        assert sorted(listed) == sorted(COMMANDS)
        for sentence in listed.values():
            assert sentence.endswith(".")
            assert not sentence.endswith("...")
        assert (result.returncode, result.stderr) == (0, b"")

    @pytest.mark.parametrize(
        ("command", "says"),
        [
            ("serve", ["SIGTERM", "--config", "--host", "--port", "--data-dir", "9410", "CSMS_"]),
            ("check", ["settings", "Redis", "exit code is 1", "--config", "CSMS_CONFIG"]),
            ("hash-password", ["base64SHA256Password", "standard input", "never an argument"]),
            ("hash-certificate", ["FILES...", "padded base64url", "PEM"]),
            ("openapi", ["/api/openapi.json", "JSON"]),
        ],
    )
    def test_of_a_command(self, command: str, says: list[str], tmp_path: Path) -> None:
        """What it does, what it takes and what comes out."""
        result = invoke(command, "--help", cwd=tmp_path)
        text = " ".join(result.stdout.decode().split())
        assert [word for word in says if word not in text] == []
        assert text.startswith(f"Usage: csms-redis {command} [OPTIONS]")
        assert (result.returncode, result.stderr) == (0, b"")

    def test_version(self, tmp_path: Path) -> None:
        """`--version` names the program and its version."""
        result = invoke("--version", cwd=tmp_path)
        assert result.stdout == f"csms-redis, version {__version__}\n".encode()

    @pytest.mark.parametrize(
        "arguments",
        [
            ["no-such-command"],
            ["serve", "--no-such-option"],
            ["serve", "--port", "65536"],
            ["serve", "--port", "x"],
            ["check", "surplus"],
            ["hash-certificate"],
        ],
    )
    def test_wrong_usage_exits_with_2(self, arguments: list[str], tmp_path: Path) -> None:
        """The usage and one line of error on standard error."""
        result = invoke(*arguments, cwd=tmp_path)
        *_, last = result.stderr.decode().splitlines()
        assert last.startswith("Error: ")
        assert "Traceback" not in result.stderr.decode()
        assert (result.returncode, result.stdout) == (2, b"")

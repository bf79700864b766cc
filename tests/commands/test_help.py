"""`csms-redis --help`, and what is said of a wrong command line."""

import re
from pathlib import Path

import pytest

from csms_redis import __version__
from tests.support.commands import invoke

COMMANDS = [
    "serve",
    "check",
    "hash-password",
    "hash-certificate",
    "openapi",
    "new-secret",
    "import",
    "export",
    "station",
    "token",
    "certificate",
]


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
            ("hash-certificate", ["FILES...", "without padding", "padded base64", "PEM"]),
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

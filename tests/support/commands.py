"""Commands of the command line: run, and what they print read."""

import contextlib
import json
import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from click.testing import CliRunner

from csms_redis.cli import main
from tests.support import program
from tests.support.service import environment

TOKEN = (
    *("--country-code", "DE", "--party-id", "TNM", "--issuer", "TheNewMotion"),
    *("--contract-id", "DE8ACC12E46L89"),
)
USER = pwd.getpwuid(os.getuid()).pw_name
Done: TypeAlias = "subprocess.CompletedProcess[str]"
Run: TypeAlias = Callable[..., Done]


def command(home: Path, settings: dict[str, str], *arguments: str, stdin: str = "") -> Done:
    """Run a command as a process of its own."""
    done = program.run_text(*arguments, cwd=home, env=environment(settings), stdin=stdin)
    assert "Traceback" not in done.stderr
    return done


def ran(home: Path, settings: dict[str, str], *words: str, stdin: str = "") -> Done:
    """Run a command in this process, which is sooner."""
    with contextlib.chdir(home):
        result = CliRunner(env=settings).invoke(main, words, input=stdin, prog_name="csms-redis")
    assert isinstance(result.exception, SystemExit | None), result.exc_info
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)


def invoke(*arguments: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command in this process: what `run` does, sooner."""
    with contextlib.chdir(cwd):
        result = CliRunner().invoke(main, arguments, input=stdin, prog_name="csms-redis")
    assert isinstance(result.exception, SystemExit | None)
    return subprocess.CompletedProcess(
        arguments, result.exit_code, result.stdout_bytes, result.stderr_bytes
    )


def complaint(result: subprocess.CompletedProcess[bytes]) -> str:
    """The one line on standard error of a command that printed nothing else."""
    assert result.stdout == b""
    (line,) = result.stderr.decode().splitlines()
    return line


def audit_line(done: Done) -> dict[str, Any]:
    """The one line of the log that a command wrote."""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("{")]
    written: dict[str, Any] = json.loads(line)
    assert written["event"] == "write"
    assert written["user"] == USER
    assert len(written["request_id"]) == 32
    return written


def audited(done: Done, *names: str) -> list[Any]:
    """What that line has under some names."""
    line = audit_line(done)
    return [line.get(name) for name in names]


def records(done: Done) -> list[dict[str, Any]]:
    """What a command printed as JSON Lines."""
    return [json.loads(line) for line in done.stdout.splitlines()]

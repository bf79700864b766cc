"""`csms-redis check`: run, and its report read."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.support.service import PASSWORD, run

SENTINEL_PASSWORD = "s3ntinel:p@ss/w#rd?"


class Line(NamedTuple):
    """One line of the report."""

    level: str
    about: str
    text: str


def check(cwd: Path, url: str, **settings: str) -> tuple[int, list[Line]]:
    """What `check` exits with and what it says."""
    names = {f"CSMS_REDIS__{name.upper()}": value for name, value in settings.items()}
    result: subprocess.CompletedProcess[bytes] = run(
        "check", cwd=cwd, settings={"CSMS_REDIS__URL": url} | names
    )
    assert result.stderr == b""
    report = result.stdout.decode()
    for secret in (PASSWORD, SENTINEL_PASSWORD):
        assert secret not in report
    told = []
    for line in report.splitlines():
        match = re.fullmatch(r"(ok {5}|warning|error {2})  (\S+) +(\S.*)", line)
        assert match is not None, line
        told.append(Line(match[1].strip(), match[2], match[3]))
    return result.returncode, told


def about(told: list[Line], *names: str) -> list[tuple[str, str]]:
    """The levels and texts of what is about these."""
    return [(one.level, one.text) for one in told if one.about in names]


def findings(
    cwd: Path, url: str, settings: Mapping[str, str] | None = None
) -> tuple[int, dict[str, tuple[str, str]]]:
    """What `check` exits with and what it says of each thing."""
    result = run("check", cwd=cwd, settings={"CSMS_REDIS__URL": url} | dict(settings or {}))
    assert result.stderr == b""
    assert PASSWORD not in result.stdout.decode()
    found = {}
    for line in result.stdout.decode().splitlines():
        match = re.fullmatch(r"(ok {5}|warning|error {2})  (\S+) +(\S.*)", line)
        assert match is not None, line
        found[match[2]] = match[1].strip(), match[3]
    return result.returncode, found

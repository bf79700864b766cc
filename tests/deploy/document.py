"""The pages of `deploy`: their sections, and a terminal for what they tell to type."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.examples import Example
from tests.support.service import environment, until

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent


def page(name: str) -> str:
    """One of the pages in `deploy`."""
    return (ROOT / "deploy" / name).read_text("utf-8")


def section(name: str, title: str) -> str:
    """What stands on a page below a title of the second level."""
    text = page(name)
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no section {title}"
    return found[1]


class Terminal:
    """A shell in a directory that has the project's `deploy` and `.venv`.

    Attributes:
        ports: for those that the document has, where it really listens.
    """

    def __init__(self, home: Path, settings: Mapping[str, str], ports: Mapping[int, int]) -> None:
        """Start with the service's settings, as `running_service` takes them."""
        self.ports = dict(ports)
        self._home = home
        self._environment = environment(
            {f"CSMS_{name.upper()}": value for name, value in settings.items()}
        )
        self._environment["PATH"] = f"{PROGRAMS}:{self._environment['PATH']}"
        (home / "deploy").symlink_to(ROOT / "deploy")
        (home / ".venv").symlink_to(PROGRAMS.parent)

    def type(self, example: Example) -> None:
        """Do as the document says; what comes of it is what the document shows."""
        said = self._run(example.command)
        assert example.matches(said), f"{example.command}\n{said}"

    def watch(self, example: Example) -> None:
        """Type it until it shows what the document does."""
        until(lambda: example.matches(self._run(example.command)), f"{example}", seconds=30)

    def _run(self, command: str) -> str:
        for shown, real in self.ports.items():
            command = re.sub(rf"\b{shown}\b", f"{real}", command)
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self._home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout.rstrip("\n")
        for shown, real in self.ports.items():
            said = re.sub(rf"\b{real}\b", f"{shown}", said)
        return said

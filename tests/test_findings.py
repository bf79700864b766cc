"""The form of the scripts in `findings/`, which nothing here runs: they install other software."""

import os
import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "findings"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
FIELDS = ("Software", "Expected", "Seen", "Date", "Users")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_finding_has_the_form_that_the_readme_states(script: Path) -> None:
    text = script.read_text("utf-8")
    shebang, *lines = text.splitlines()
    header = [line for line in lines[: lines.index("set -euo pipefail")] if line != "#"]

    assert shebang == "#!/usr/bin/env bash"
    assert all(line.startswith("# ") for line in header), header
    assert header[0].endswith("."), "the surprise, as one sentence"
    assert tuple(re.findall(r"^# (\w+): +\S", "\n".join(header[1:]), re.MULTILINE)) == FIELDS
    assert re.search(r"^# Date: +\d{4}-\d{2}-\d{2}$", "\n".join(header), re.MULTILINE)
    assert re.search(r"^trap .*EXIT$", text, re.MULTILINE), "removes its folder, also when it fails"
    assert "csms_redis" not in text
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_finding_installs_exact_versions(script: Path) -> None:
    commands = script.read_text("utf-8").replace("\\\n", " ").splitlines()
    installing = [line for line in commands if re.match(r'\S*(npm|pip"?) install ', line)]
    packages = [
        word
        for line in installing
        for word in line.split(" install ")[1].split()
        if not word.startswith(("-", '"'))
    ]

    assert packages
    for package in packages:
        assert re.fullmatch(r"[\w.-]+(==|@)\d[\w.]*", package), package


def test_the_readme_lists_every_finding_once() -> None:
    linked = re.findall(r"\]\(([\w-]+)\.sh\)", (FOLDER / "README.md").read_text("utf-8"))

    assert sorted(linked) == [script.stem for script in SCRIPTS]
    assert linked

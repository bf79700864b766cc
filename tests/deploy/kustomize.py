"""What `kubectl kustomize` makes of a directory."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

Manifest: TypeAlias = dict[str, Any]

COMPONENTS_SINCE = (4, 0)  # kustomize's version; the kubectl of Debian 12 has 2.0


def command() -> list[str]:
    """kustomize, or kubectl with a kustomize that is young enough; the test is skipped without."""
    if program := shutil.which("kustomize"):
        return [program, "build"]
    if program := shutil.which("kubectl"):
        said = subprocess.run(
            [program, "version", "--client"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        version = re.search(r"Kustomize Version: v(\d+)\.(\d+)", said.stdout)
        if version and (int(version[1]), int(version[2])) >= COMPONENTS_SINCE:
            return [program, "kustomize"]
    pytest.skip("kubectl 1.21 or newer, or kustomize, is not installed")


def build(directory: Path) -> "Manifests":
    """Render a directory."""
    done = subprocess.run(
        [*command(), str(directory)],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return Manifests([one for one in yaml.safe_load_all(done.stdout) if one])


@dataclass(frozen=True)
class Manifests:
    """The objects of one rendering."""

    all: list[Manifest]

    def of(self, kind: str) -> list[Manifest]:
        """Those of a kind."""
        return [one for one in self.all if one["kind"] == kind]

    def get(self, kind: str, name: str = "csms-redis") -> Manifest:
        """The one of a kind and a name, with kustomize's hash behind it or not."""
        [found] = [
            one
            for one in self.of(kind)
            if re.fullmatch(rf"{re.escape(name)}(-[a-z0-9]{{10}})?", one["metadata"]["name"])
        ]
        return found

    @property
    def pods(self) -> dict[str, Manifest]:
        """Each workload's pod specification, by its name."""
        return {
            one["metadata"]["name"]: one["spec"]["template"]["spec"]
            for one in self.all
            if "template" in one.get("spec", {})
        }

    @property
    def containers(self) -> dict[str, Manifest]:
        """Every container, by its workload's name and its own."""
        return {
            f"{name}/{container['name']}": container
            for name, pod in self.pods.items()
            for container in [*pod.get("initContainers", []), *pod["containers"]]
        }

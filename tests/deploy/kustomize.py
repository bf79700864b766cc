"""What `kubectl kustomize` makes of a directory."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

Manifest: TypeAlias = dict[str, Any]

WORKLOADS = {"CronJob", "DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet"}

# That of the tests' lock: the one of Debian 12 is too old for components.
KUBECTL = Path(sys.executable).with_name("kubectl")


def build(directory: Path) -> "Manifests":
    """Render a directory."""
    done = subprocess.run(
        [KUBECTL, "kustomize", directory],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
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
        return {name: template["spec"] for name, template in self.templates.items()}

    @property
    def templates(self) -> dict[str, Manifest]:
        """Each workload's template of pods, by its name."""
        found = {}
        for one in self.all:
            spec = one.get("spec", {})
            of_pods = spec["jobTemplate"]["spec"] if one["kind"] == "CronJob" else spec
            if one["kind"] in WORKLOADS:
                found[one["metadata"]["name"]] = of_pods["template"]
        return found

    @property
    def containers(self) -> dict[str, Manifest]:
        """Every container, by its workload's name and its own."""
        return {
            f"{name}/{container['name']}": container
            for name, pod in self.pods.items()
            for container in [*pod.get("initContainers", []), *pod["containers"]]
        }

"""What Helm makes of the chart."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.kustomize import Manifests
from tests.deploy.overlays import DEPLOY

CHART = DEPLOY / "helm/csms-redis"
RENDERER = Path(__file__).parents[1] / "support/helm_renderer.py"
PRODUCTION: dict[str, Any] = yaml.safe_load((CHART / "values-production.yaml").read_text("utf-8"))


@dataclass(frozen=True)
class Release:
    """One installation of the chart."""

    values: dict[str, Any] = field(default_factory=dict)
    name: str = "csms-redis"
    namespace: str = "csms-redis"


@dataclass(frozen=True)
class Rendered:
    """A release's objects and what is said after its installation, or why there are none."""

    manifests: Manifests
    notes: str
    error: str


@dataclass(frozen=True)
class Helm:
    """What Helm's engine said of a chart.

    Attributes:
        engine: its version.
        objections: what its linter says of the chart, strictly.
        releases: by the names that they were asked for by.
        packaged: the first of them, from the chart's archive.
    """

    engine: str
    objections: list[dict[str, Any]]
    releases: dict[str, Rendered]
    packaged: Rendered


def helm(releases: dict[str, Release], archive: Path) -> Helm:
    """Render releases of the chart, the first of them from an archive of it as well.

    Args:
        releases: by a name.
        archive: a directory for the archive.
    """
    assert find_spec("helm_python"), "pip install -r tests/requirements.lock brings Helm's engine"
    asked = {
        "chart": str(CHART),
        "package": str(archive),
        "releases": {name: vars(release) for name, release in releases.items()},
    }
    done = subprocess.run(
        [sys.executable, str(RENDERER)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return Helm(
        engine=answer["engine"],
        objections=answer["lint"]["messages"],
        releases={name: _rendered(one) for name, one in answer["releases"].items()},
        packaged=_rendered(*answer["packaged"].values()),
    )


class _Strict(yaml.SafeLoader):
    """Refuses a key that is there twice: one of the two would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 as it is called
        """Read a mapping.

        Raises:
            yaml.constructor.ConstructorError: it has a key twice.
        """
        made = super().construct_mapping(node, deep)
        if len(made) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key twice", node.start_mark)
        return made


def _rendered(answer: dict[str, Any]) -> Rendered:
    files: dict[str, str] = answer.get("files", {})
    notes = "".join(text for name, text in files.items() if name.endswith("NOTES.txt"))
    manifests: list[dict[str, Any]] = []
    try:
        for name, text in files.items():
            if name.endswith(".yaml"):
                manifests += filter(None, yaml.load_all(text, _Strict))
    except yaml.YAMLError as error:
        return Rendered(Manifests([]), notes, str(error))
    return Rendered(Manifests(manifests), notes, answer.get("error", ""))

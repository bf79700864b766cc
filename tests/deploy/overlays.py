"""The overlays and components of the manifests, and one with the other."""

import shutil
from functools import cache
from pathlib import Path

import yaml

from tests.deploy.kustomize import Manifests, build

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (KUBERNETES / "components").iterdir())
SHOWN = (KUBERNETES / "overlays/production/kustomization.yaml").read_text("utf-8")


@cache
def built(overlay: str) -> Manifests:
    """An overlay as it is."""
    return build(KUBERNETES / "overlays" / overlay)


def with_components(
    overlay: str, home: Path, *components: str, namespace: str = "csms-redis"
) -> Manifests:
    """An overlay with components, as the comment in the production one shows them."""
    shutil.copytree(DEPLOY, home / "deploy", symlinks=True)
    kustomization = home / f"deploy/kubernetes/overlays/{overlay}/kustomization.yaml"
    read = yaml.safe_load(kustomization.read_text("utf-8"))
    for component in components:
        line = f"../../components/{component}"
        assert f"#   - {line}\n" in SHOWN, f"the production overlay does not show {component}"
        if line not in read.setdefault("components", []):
            read["components"].append(line)
    read["namespace"] = namespace
    kustomization.write_text(yaml.safe_dump(read), "utf-8")
    return build(kustomization.parent)

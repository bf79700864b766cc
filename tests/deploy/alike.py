"""Whether Helm and kustomize have made the same objects."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.deploy.helm import Rendered
from tests.deploy.kustomize import Manifest, Manifests


def same(manifests: Manifests) -> dict[str, Manifest]:
    """Objects by kind and name, without what must differ.

    That is what Helm marks its objects with, kustomize's hash in a ConfigMap's name (and the
    chart's checksum in its place), and how the JSON of one setting is laid out.
    """
    return {
        f"{one['kind']}/{_unhashed(one['metadata']['name'])}": _plain(one) for one in manifests.all
    }


def _unhashed(name: str) -> str:
    return re.sub(r"^(csms-redis(?:-environment|-backup)?)-[a-z0-9]{10}$", r"\1", name)


MARKS = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "checksum/settings",
    "helm.sh/chart",
    "helm.sh/resource-policy",
}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        plain = {key: _plain(item) for key, item in value.items() if key not in MARKS}
        for key in ("labels", "matchLabels", "annotations"):
            if plain.get(key) == {}:
                del plain[key]
        if "CSMS_AUTH__CLIENTS" in plain:
            plain["CSMS_AUTH__CLIENTS"] = json.loads(plain["CSMS_AUTH__CLIENTS"])
        return plain
    if isinstance(value, list):
        plain_items = [_plain(item) for item in value]
        by = next((key for key in ("mountPath", "name") if _each_has(value, key)), None)
        return sorted(plain_items, key=lambda item: item[by]) if by else plain_items
    return _unhashed(value) if isinstance(value, str) else value


def _each_has(items: list[Any], key: str) -> bool:
    """Whether items are told apart by it, as volumes are, so that their order means nothing."""
    return all(isinstance(item, dict) and key in item for item in items)


def assert_same(made: Rendered, expected: Manifests) -> None:
    """Hold each object of a release against kustomize's."""
    assert made.error == "", made.error
    ours, theirs = same(made.manifests), same(expected)
    assert set(ours) == set(theirs), sorted(set(ours) ^ set(theirs))
    found = [each for name in theirs for each in differences(ours[name], theirs[name], name)]
    assert found == [], "\n".join(found)


def differences(ours: Any, theirs: Any, path: str) -> Iterator[str]:
    """Where two objects are not the same."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and set(ours) == set(theirs):
        for key, value in theirs.items():
            yield from differences(ours[key], value, f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, value in enumerate(theirs):
            yield from differences(ours[number], value, f"{path}[{number}]")
    elif (type(ours), ours) != (type(theirs), theirs):
        yield f"{path}: {ours!r}, but {theirs!r} of kustomize"

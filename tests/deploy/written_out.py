"""What an API server fills in, drops or writes otherwise, where that makes a difference.

Lists that are compared as a whole (`x-kubernetes-list-type: atomic`) differ from what was applied
as soon as the server fills in a default in one of their items. Then `kubectl diff` or a server-side
apply after a plain one finds a change where there is none. The same goes for what it drops (empty
lists) and for quantities that it writes in another unit.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.deploy.kustomize import Manifest

_UNITS = ["", "Ki", "Mi", "Gi", "Ti"]


def unwritten(manifest: Manifest) -> list[str]:
    """What a server would make otherwise in an object, each with its path."""
    kind = manifest["kind"]
    found = [*_anywhere(manifest, "")]
    if kind in _OF_KIND:
        found += _OF_KIND[kind](manifest["spec"])
    return [f"{kind}/{manifest['metadata']['name']} {path}: {what}" for path, what in found]


def _anywhere(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if value is None or value == []:
        yield path, "is dropped"
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _anywhere(item, f"{path}[{number}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            at = f"{path}.{key}"
            if key == "fieldRef":
                yield from _without([item], at, "apiVersion")
            elif key in {"requests", "limits"}:
                for name, quantity in item.items():
                    yield from _not_canonical(str(quantity), f"{at}.{name}")
            elif key == "sizeLimit":
                yield from _not_canonical(str(item), at)
            yield from _anywhere(item, at)


def _without(items: list[Any], path: str, *keys: str) -> Iterator[tuple[str, str]]:
    for number, item in enumerate(items):
        for key in keys:
            if isinstance(item, dict) and key not in item:
                yield f"{path}[{number}]", f"{key} is filled in"


def _not_canonical(quantity: str, path: str) -> Iterator[tuple[str, str]]:
    if _canonical(quantity) != quantity:
        yield path, f"{quantity} becomes {_canonical(quantity)}"


def _canonical(quantity: str) -> str:
    """The largest unit that leaves a whole number, of those that are used here."""
    found = re.fullmatch(r"(\d+)(m|Ki|Mi|Gi|Ti)?", quantity)
    if found is None:
        return "a whole number and a unit"
    number, unit = int(found[1]), found[2] or ""
    if unit == "m":
        return f"{number // 1000}" if number % 1000 == 0 else quantity
    while unit in _UNITS[1:-1] and number % 1024 == 0:
        number, unit = number // 1024, _UNITS[_UNITS.index(unit) + 1]
    return f"{number}{unit}"


def _deployment(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _without([spec.get("strategy", {})], "strategy", "type")


def _network_policy(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
        yield from _without(rule.get("ports", []), "ports", "protocol")


def _stateful_set(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    claims = spec.get("volumeClaimTemplates", [])
    yield from _without(claims, "volumeClaimTemplates", "apiVersion", "kind", "status")
    for claim in claims:
        yield from _without([claim["spec"]], "volumeClaimTemplates.spec", "volumeMode")


def _claim(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _without([spec], "spec", "volumeMode")


def _route(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _without(spec["parentRefs"], "parentRefs", "group", "kind")
    yield from _without(spec["rules"], "rules", "matches")
    for rule in spec["rules"]:
        yield from _without(rule["backendRefs"], "backendRefs", "group", "kind", "weight")


def _external_secret(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for source in spec["dataFrom"]:
        strategies = ("conversionStrategy", "decodingStrategy", "metadataPolicy")
        yield from _without([source["extract"]], "dataFrom.extract", *strategies)


_OF_KIND: dict[str, Callable[[dict[str, Any]], Iterator[tuple[str, str]]]] = {
    "Deployment": _deployment,
    "NetworkPolicy": _network_policy,
    "StatefulSet": _stateful_set,
    "PersistentVolumeClaim": _claim,
    "HTTPRoute": _route,
    "ExternalSecret": _external_secret,
}

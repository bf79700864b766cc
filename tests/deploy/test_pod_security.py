"""Every pod is admitted where pod security is *restricted*: of each overlay and component."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.overlays import COMPONENTS, KUBERNETES, OVERLAYS, built, with_components
from tests.deploy.pod_security import violations

PODS = {
    "development": {"csms-redis", "csms-redis-backup", "valkey"},
    "production": {"csms-redis", "csms-redis-backup"},
    "production-valkey": {"csms-redis", "csms-redis-backup", "valkey", "sentinel"},
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_of_overlays(overlay: str, tmp_path: Path) -> None:
    with_it = with_components(overlay, tmp_path, "backup")

    assert with_it.pods.keys() == PODS[overlay]
    assert {name: violations(pod) for name, pod in with_it.pods.items()} == {
        name: [] for name in PODS[overlay]
    }


def test_only_one_component_has_pods(tmp_path: Path) -> None:
    """The one that is tried above, so that a new one is not forgotten."""
    others = [component for component in COMPONENTS if component != "backup"]
    made = with_components("production", tmp_path, *others)

    assert made.pods.keys() == {"csms-redis"}


CONTEXT = "securityContext"


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ((CONTEXT, "runAsNonRoot"), None, "container csms-redis: runAsNonRoot"),
        ((CONTEXT, "runAsUser"), 0, "pod: runAsUser 0"),
        ((CONTEXT, "seccompProfile"), None, "container csms-redis: no seccompProfile"),
        ((CONTEXT, "sysctls"), [{"name": "kernel.msgmax", "value": "1"}], "pod: sysctl"),
        ((CONTEXT, "seLinuxOptions"), {"type": "spc_t"}, "pod: seLinuxOptions"),
        ((CONTEXT, "appArmorProfile"), {"type": "Unconfined"}, "pod: appArmorProfile"),
        (("hostNetwork",), True, "pod: hostNetwork"),
        (("volumes", 0), {"name": "host", "hostPath": {"path": "/"}}, "volume host: hostPath"),
        (("containers", 0, CONTEXT, "privileged"), True, "privileged"),
        (("containers", 0, CONTEXT, "allowPrivilegeEscalation"), None, "allowPrivilegeEscalation"),
        (("containers", 0, CONTEXT, "capabilities"), {}, "capabilities are not dropped"),
        (("containers", 0, CONTEXT, "capabilities", "add"), ["SYS_ADMIN"], "are added"),
        (("containers", 0, CONTEXT, "runAsUser"), 0, "container csms-redis: runAsUser 0"),
        (("containers", 0, CONTEXT, "procMount"), "Unmasked", "procMount"),
        (("containers", 0, "ports", 0, "hostPort"), 80, "hostPort"),
        (
            ("containers", 0, "livenessProbe", "httpGet", "host"),
            "10.0.0.1",
            "host of livenessProbe",
        ),
    ],
)
def test_what_is_forbidden_is_seen(path: tuple[str | int, ...], value: object, found: str) -> None:
    pod = deepcopy(built("production").pods["csms-redis"])
    *way, last = path
    at: Any = pod
    for step in way:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    [told] = violations(pod)

    assert found in told


def test_each_check_that_is_left_out_has_its_reason() -> None:
    """Of checkov, which runs by hand."""
    lines = (KUBERNETES / "checkov.yaml").read_text("utf-8").split("skip-check:\n")[1].splitlines()

    assert lines
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("  - "):
            assert before.startswith("  # "), line

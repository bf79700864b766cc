"""The Pod Security Standards' profile *restricted*, with all of *baseline* in it.

Source: kubernetes.io, Concepts, Security, Pod Security Standards, as of Kubernetes 1.37. The fields
of Windows' hosts are left out, but for the one that is forbidden.
"""

from collections.abc import Iterator
from typing import Any

from tests.deploy.kustomize import Manifest

_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
}
_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_SE_LINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SECCOMP = {"RuntimeDefault", "Localhost"}
_HANDLERS = ("postStart", "preStop")
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def violations(pod: Manifest) -> list[str]:
    """What the profile forbids in a pod's specification, with where it stands."""
    found = [*_of_pod(pod), *_context(pod.get("securityContext", {}), "pod")]
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(key, []):
            found += _of_container(container, pod)
    return found


def _of_pod(pod: Manifest) -> Iterator[str]:
    for shared in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(shared):
            yield f"pod: {shared}"
    for volume in pod.get("volumes", []):
        for kind in volume.keys() - {"name"} - _VOLUMES:
            yield f"volume {volume['name']}: {kind}"
    for sysctl in pod.get("securityContext", {}).get("sysctls", []):
        if sysctl["name"] not in _SYSCTLS:
            yield f"pod: sysctl {sysctl['name']}"


def _context(context: dict[str, Any], where: str) -> Iterator[str]:
    """What is forbidden in a pod's context and in a container's."""
    if context.get("runAsUser") == 0:
        yield f"{where}: runAsUser 0"
    if context.get("runAsNonRoot") is False:
        yield f"{where}: runAsNonRoot false"
    if context.get("seccompProfile", {"type": "RuntimeDefault"})["type"] not in _SECCOMP:
        yield f"{where}: seccompProfile"
    if context.get("appArmorProfile", {"type": "RuntimeDefault"})["type"] not in _SECCOMP:
        yield f"{where}: appArmorProfile"
    options = context.get("seLinuxOptions", {})
    if options.get("type", "") not in _SE_LINUX_TYPES or options.get("user") or options.get("role"):
        yield f"{where}: seLinuxOptions"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield f"{where}: hostProcess"


def _of_container(container: Manifest, pod: Manifest) -> Iterator[str]:
    where = f"container {container['name']}"
    own = container.get("securityContext", {})
    both = {**pod.get("securityContext", {}), **own}
    yield from _context(own, where)
    if own.get("privileged"):
        yield f"{where}: privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{where}: allowPrivilegeEscalation"
    if own.get("procMount", "Default") != "Default":
        yield f"{where}: procMount"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"{where}: capabilities are not dropped"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{where}: capabilities are added"
    if both.get("runAsNonRoot") is not True:
        yield f"{where}: runAsNonRoot"
    if both.get("seccompProfile", {}).get("type") not in _SECCOMP:
        yield f"{where}: no seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield f"{where}: hostPort"
    yield from _host_of_handlers(container, where)


def _host_of_handlers(container: Manifest, where: str) -> Iterator[str]:
    """Probes and handlers may not name a host."""
    asked: list[tuple[str, dict[str, Any]]] = [
        *((name, container.get(name, {})) for name in _PROBES),
        *((name, container.get("lifecycle", {}).get(name, {})) for name in _HANDLERS),
    ]
    for name, handler in asked:
        if any(handler.get(kind, {}).get("host") for kind in ("httpGet", "tcpSocket")):
            yield f"{where}: host of {name}"

"""What becomes of an apply: no difference is left, and no pod is taken away.

There is no API server here. What one fills in or drops is held against the names in `written_out`.
"""

import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from csms_redis.settings import Role
from tests.deploy.kustomize import build
from tests.deploy.overlays import DEPLOY, OVERLAYS, built, with_components
from tests.deploy.written_out import unwritten

ROLES = {role.value for role in Role}


class TestWrittenOut:
    """`kubectl diff -k` finds nothing after an apply, a server-side apply no conflict."""

    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_all_is_as_a_server_would_write_it(self, overlay: str) -> None:
        assert [what for one in built(overlay).all for what in unwritten(one)] == []

    @pytest.mark.parametrize(
        ("kind", "name", "path", "value", "found"),
        [
            ("Deployment", "csms-redis", "spec.strategy.type", None, "type is filled in"),
            ("NetworkPolicy", "valkey", "spec.egress", [], "is dropped"),
            (
                "NetworkPolicy",
                "valkey",
                "spec.ingress.0.ports.0.protocol",
                None,
                "protocol is filled in",
            ),
            (
                "StatefulSet",
                "valkey",
                "spec.volumeClaimTemplates.0.kind",
                None,
                "kind is filled in",
            ),
            (
                "StatefulSet",
                "valkey",
                "spec.volumeClaimTemplates.0.apiVersion",
                None,
                "apiVersion is filled in",
            ),
            (
                "StatefulSet",
                "valkey",
                "spec.volumeClaimTemplates.0.spec.volumeMode",
                None,
                "volumeMode is filled in",
            ),
            (
                "StatefulSet",
                "sentinel",
                "spec.template.spec.containers.0.env.0.valueFrom.fieldRef.apiVersion",
                None,
                "apiVersion is filled in",
            ),
            (
                "Deployment",
                "csms-redis",
                "spec.template.spec.containers.0.resources.limits.memory",
                "1024Mi",
                "1024Mi becomes 1Gi",
            ),
        ],
    )
    def test_what_is_not_is_seen(
        self, kind: str, name: str, path: str, value: object, found: str
    ) -> None:
        manifest = deepcopy(built("production-valkey").get(kind, name))
        assert unwritten(manifest) == []
        *way, last = path.split(".")
        at: Any = manifest
        for step in way:
            at = at[int(step)] if step.isdigit() else at[step]
        if value is None:
            del at[last]
        else:
            at[last] = value
        [told] = unwritten(manifest)

        assert told.endswith(found)


class TestReplicas:
    """The autoscaler alone says how many there are."""

    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_no_deployment_has_a_number(self, overlay: str) -> None:
        """One that an apply takes away again becomes 1, until the autoscaler's next look."""
        assert "replicas" not in built(overlay).get("Deployment")["spec"]

    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_an_autoscaler_has(self, overlay: str) -> None:
        """Also where there are no metrics: its bounds hold without."""
        scaler = built(overlay).get("HorizontalPodAutoscaler")["spec"]

        assert scaler["scaleTargetRef"] == {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": built(overlay).get("Deployment")["metadata"]["name"],
        }
        assert 2 <= scaler["minReplicas"] <= scaler["maxReplicas"]

    def test_production_over_development_takes_nothing_away(self) -> None:
        before, after = (
            built(overlay).get("HorizontalPodAutoscaler")["spec"]
            for overlay in ("development", "production")
        )

        assert after["minReplicas"] >= before["maxReplicas"]


class TestNames:
    """What has the namespace in it follows the overlay's."""

    @pytest.mark.parametrize("namespace", ["csms-redis", "other"])
    @pytest.mark.parametrize("overlay", ["production", "production-valkey"])
    def test_in_the_overlay(self, overlay: str, namespace: str, tmp_path: Path) -> None:
        components = ["service-monitor", "backend-tls"]
        if overlay == "production":
            components.append("certificate")
        made = with_components(overlay, tmp_path, *components, namespace=namespace)
        service = f"csms-redis.{namespace}.svc"

        assert {one["metadata"]["namespace"] for one in made.all} == {namespace}
        assert made.get("BackendTLSPolicy")["spec"]["validation"]["hostname"] == service
        [endpoint] = made.get("ServiceMonitor")["spec"]["endpoints"]
        assert endpoint["tlsConfig"]["serverName"] == service
        names = made.get("Certificate")["spec"]["dnsNames"]
        assert names == [
            "csms-redis",
            f"csms-redis.{namespace}",
            service,
            f"{service}.cluster.local",
        ]

    def test_in_an_overlay_over_it(self, tmp_path: Path) -> None:
        """It repeats the transformers, as `secured` says."""
        with_components("production", tmp_path, "service-monitor")
        over = tmp_path / "deploy/kubernetes/overlays/over"
        over.mkdir()
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "other",
            "resources": ["../production"],
            "transformers": ["../../secured"],
        }
        (over / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), "utf-8")
        [endpoint] = build(over).get("ServiceMonitor")["spec"]["endpoints"]

        assert endpoint["tlsConfig"]["serverName"] == "csms-redis.other.svc"

    @pytest.mark.parametrize("overlay", ["production", "production-valkey"])
    def test_components_in_an_overlay_over_it(self, overlay: str, tmp_path: Path) -> None:
        """They are as in the overlay itself, where its transformers are repeated."""
        components = ["backup", "service-monitor"]
        inside = with_components(overlay, tmp_path / "inside", *components)
        shutil.copytree(DEPLOY, tmp_path / "deploy", symlinks=True)
        below = tmp_path / "deploy/kubernetes/overlays"
        read = yaml.safe_load((below / overlay / "kustomization.yaml").read_text("utf-8"))
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "csms-redis",
            "resources": [f"../{overlay}"],
            "components": [f"../../components/{component}" for component in components],
            "transformers": read["transformers"],
        }
        (below / "over").mkdir()
        (below / "over/kustomization.yaml").write_text(yaml.safe_dump(kustomization), "utf-8")

        made = build(below / "over")

        assert made.get("CronJob", "csms-redis-backup") == inside.get(
            "CronJob", "csms-redis-backup"
        )
        assert made.get("ServiceMonitor") == inside.get("ServiceMonitor")

    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_no_placeholder_is_left(self, overlay: str) -> None:
        assert ".namespace" not in yaml.safe_dump_all(
            [one for one in built(overlay).all if one["kind"] != "ConfigMap"]
        )


class TestRoles:
    """Namespaces, clients and pages call roles what the API calls them."""

    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_in_the_network_policy(self, overlay: str) -> None:
        [rule] = built(overlay).get("NetworkPolicy")["spec"]["ingress"]
        [source] = rule["from"]
        [label] = source["namespaceSelector"]["matchExpressions"]

        assert label["key"] == "csms-redis/access"
        assert set(label["values"]) == ROLES

    @pytest.mark.parametrize(
        "page", ["deploy/install.md", "deploy/kubernetes/base/network-policy.yaml"]
    )
    def test_on_pages(self, page: str) -> None:
        text = (DEPLOY.parent / page).read_text("utf-8")
        named = {
            word.rstrip("`.,;)") for word in text.replace("\n", " ").split("csms-redis/access=")[1:]
        }

        assert {name.split()[0].rstrip("`.,;)") for name in named} <= ROLES

    def test_in_clients(self) -> None:
        """Each is called after its one role, and so is the key of its secret."""
        read = yaml.safe_load(
            built("production").get("ConfigMap", "csms-redis-environment")["data"][
                "CSMS_AUTH__CLIENTS"
            ]
        )

        assert read == {
            role: {"roles": [role], "secret_file": f"/run/secrets/csms-redis/{role}"}
            for role in ROLES
        }


@pytest.mark.parametrize("component", ["service-monitor", "prometheus-rule"])
def test_an_operator_s_prometheus_finds_it(component: str, tmp_path: Path) -> None:
    """By the label that the chart kube-prometheus-stack selects by."""
    kind = {"service-monitor": "ServiceMonitor", "prometheus-rule": "PrometheusRule"}[component]
    made = with_components("production", tmp_path, component)

    assert made.get(kind)["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_nothing_is_a_copy() -> None:
    """But what kustomize cannot reach and `refresh.py` makes, which a test compares."""
    dashboards = [*DEPLOY.rglob("dashboard.json")]

    assert [path for path in dashboards if not path.is_symlink()] == [
        DEPLOY / "monitoring/dashboard.json"
    ]
    assert len([path for path in DEPLOY.rglob("backup.sh") if not path.is_symlink()]) == 1

"""The chart: the same objects as kustomize's, by Helm's own engine, without a cluster.

The engine is Helm's Go library as the wheel `helm-python-sdk` carries it.
"""

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from csms_redis import __version__
from csms_redis.settings import Role
from tests.deploy.alike import assert_same
from tests.deploy.custom import validate
from tests.deploy.document import section
from tests.deploy.helm import CHART, PRODUCTION, Helm, Release, helm
from tests.deploy.kustomize import build
from tests.deploy.overlays import COMPONENTS, DEPLOY, built, with_components
from tests.deploy.pod_security import violations
from tests.deploy.written_out import unwritten

VALUES = {  # what has a component of kustomize's, and the chart's name for it
    "service-monitor": "serviceMonitor",
    "prometheus-rule": "prometheusRule",
    "dashboard": "dashboard",
    "http-route": "httpRoute",
    "backend-tls": "backendTLSPolicy",
    "ingress": "ingress",
    "certificate": "certificate",
    "external-secret": "externalSecret",
    "backup": "backup",
}
OFF = {
    "HorizontalPodAutoscaler": "autoscaling",
    "PodDisruptionBudget": "podDisruptionBudget",
    "NetworkPolicy": "networkPolicy",
}
SWITCHES = [*VALUES.values(), *OFF.values()]
PLAIN = [name for name in COMPONENTS if name not in {"backend-tls", "certificate"}]
"""Those that make sense without TLS at the service."""
VERSION = "1.37"  # of Kubernetes


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Values over values, as Helm merges files."""
    made: dict[str, Any] = {}
    for layer in layers:
        for key, value in deepcopy(dict(layer)).items():
            old = made.get(key)
            both = isinstance(old, dict) and isinstance(value, dict)
            made[key] = merged(old, value) if both and old is not None else value
    return made


def with_all(*components: str) -> dict[str, Any]:
    return {VALUES[component]: {"enabled": True} for component in components}


RELEASES = {
    "+all": Release(merged(PRODUCTION, with_all(*COMPONENTS))),
    "base": Release(),
    "production": Release(PRODUCTION),
    **{f"+{name}": Release(merged(PRODUCTION, with_all(name))) for name in COMPONENTS},
    **{f"base+{name}": Release(with_all(name)) for name in PLAIN},
    "base+all": Release(with_all(*PLAIN)),
    "other": Release(
        merged(PRODUCTION, with_all(*COMPONENTS)), name="registry", namespace="charging"
    ),
    **{f"-{kind}": Release({OFF[kind]: {"enabled": False}}) for kind in OFF},
    "fixed": Release({"autoscaling": {"enabled": False}, "replicas": 4}),
    "digest": Release({"image": {"digest": "sha256:" + "ab" * 32}}),
    "numbers": Release(
        {
            "settings": {
                "lookup": {"cache_bytes": 5400000000, "timeout": 0.5, "preload": False},
                "server": {"trusted_proxies": ["10.0.0.0/8"]},
                "redis": {"url": "redis://valkey:6379"},
            }
        }
    ),
    "secret-ca": Release(merged(PRODUCTION, {"redisCA": {"configMap": "", "secret": "ca"}})),
    "unknown": Release({"autoscalling": {"enabled": True}}),
    "unknown-inside": Release({"tls": {"secret": "csms-redis-tls"}}),
    "unknown-section": Release({"settings": {"sever": {"port": 1}}}),
    "wrong-type": Release({"autoscaling": {"minReplicas": "two"}}),
    "wrong-digest": Release({"image": {"digest": "latest"}}),
    "nothing-to-make": Release({"certificate": {"enabled": True}}),
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """All of it, in one run of the engine."""
    return helm(RELEASES, tmp_path_factory.mktemp("archive"))


class TestAsKustomize:
    """Object by object."""

    @pytest.mark.parametrize(
        "components",
        [[], PLAIN, *(pytest.param([one], marks=pytest.mark.slow) for one in PLAIN)],
    )
    def test_base(self, components: list[str], rendered: Helm, tmp_path: Path) -> None:
        """Without TLS and without known clients."""
        case = {0: "base", 1: f"base+{''.join(components)}"}.get(len(components), "base+all")
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "csms-redis",
            "resources": ["../deploy/kubernetes/base"],
            "components": [f"../deploy/kubernetes/components/{one}" for one in components],
        }
        (tmp_path / "deploy").symlink_to(DEPLOY)
        (tmp_path / "over").mkdir()
        (tmp_path / "over/kustomization.yaml").write_text(yaml.safe_dump(kustomization), "utf-8")

        assert_same(rendered.releases[case], build(tmp_path / "over"))

    def test_production(self, rendered: Helm) -> None:
        assert_same(rendered.releases["production"], built("production"))

    @pytest.mark.slow  # `test_all_components` has them together
    @pytest.mark.parametrize("component", COMPONENTS)
    def test_a_component(self, component: str, rendered: Helm, tmp_path: Path) -> None:
        made = rendered.releases[f"+{component}"]

        assert_same(made, with_components("production", tmp_path, component))

    def test_all_components(self, rendered: Helm, tmp_path: Path) -> None:
        made = rendered.releases["+all"]

        assert_same(made, with_components("production", tmp_path, *COMPONENTS))

    def test_a_difference_is_seen(self, rendered: Helm) -> None:
        changed = deepcopy(built("production"))
        changed.get("Deployment")["spec"]["minReadySeconds"] += 1

        with pytest.raises(AssertionError, match=r"Deployment/csms-redis\.spec\.minReadySeconds"):
            assert_same(rendered.releases["production"], changed)


@pytest.mark.parametrize("case", ["other", "fixed", "numbers", "secret-ca"])
def test_what_is_rendered_is_valid(case: str, rendered: Helm) -> None:
    """Beside what is kustomize's, which is valid for older ones too."""
    for manifest in rendered.releases[case].manifests.all:
        validate(manifest, VERSION)
        assert unwritten(manifest) == []


def test_pods_are_restricted(rendered: Helm) -> None:
    pods = rendered.releases["other"].manifests.pods

    assert pods.keys() == {"registry-csms-redis", "registry-csms-redis-backup"}
    assert [what for pod in pods.values() for what in violations(pod)] == []


def test_an_archive_has_the_files_that_are_links(rendered: Helm) -> None:
    """`helm package` puts in what they lead to."""
    assert rendered.packaged == rendered.releases["+all"]


class TestNames:
    """Two releases do not meet, also in one namespace."""

    def test_all_are_named_after_the_release(self, rendered: Helm) -> None:
        made = rendered.releases["other"].manifests
        of_the_store = {"csms-redis", "csms-redis-scrape"}  # the Secrets that values name

        for manifest in made.all:
            metadata = manifest["metadata"]
            assert metadata["namespace"] == "charging"
            if manifest["kind"] == "ExternalSecret":
                assert metadata["name"] in of_the_store
            else:
                assert metadata["name"].startswith("registry-csms-redis")

    def test_selectors_select_the_release_s(self, rendered: Helm) -> None:
        made = rendered.releases["other"].manifests
        deployment = made.get("Deployment", "registry-csms-redis")["spec"]
        service = made.get("Service", "registry-csms-redis")["spec"]
        labels = deployment["template"]["metadata"]["labels"]

        assert service["selector"] == deployment["selector"]["matchLabels"]
        assert service["selector"].items() <= labels.items()
        assert service["selector"]["app.kubernetes.io/instance"] == "registry"

    def test_names_that_callers_check(self, rendered: Helm) -> None:
        made = rendered.releases["other"].manifests
        service = "registry-csms-redis.charging.svc"
        [endpoint] = made.get("ServiceMonitor", "registry-csms-redis")["spec"]["endpoints"]
        policy = made.get("BackendTLSPolicy", "registry-csms-redis")["spec"]

        assert endpoint["tlsConfig"]["serverName"] == service
        assert policy["validation"]["hostname"] == service
        names = made.get("Certificate", "registry-csms-redis")["spec"]["dnsNames"]
        assert service in names

    def test_the_job_is_called_as_alerts_ask_for_it(self, rendered: Helm) -> None:
        made = rendered.releases["other"].manifests
        label = made.get("ServiceMonitor", "registry-csms-redis")["spec"]["jobLabel"]
        service = made.get("Service", "registry-csms-redis")

        assert service["metadata"]["labels"][label] == "csms-redis"


class TestValues:
    """What they change, and that mistakes in them are told."""

    @pytest.mark.parametrize("kind", OFF)
    def test_what_is_off_is_not_there(self, kind: str, rendered: Helm) -> None:
        assert rendered.releases["base"].manifests.of(kind)
        assert not rendered.releases[f"-{kind}"].manifests.of(kind)

    def test_replicas_are_fixed_only_without_autoscaling(self, rendered: Helm) -> None:
        base, fixed, off = (
            rendered.releases[case].manifests.get("Deployment")["spec"]
            for case in ("base", "fixed", "-HorizontalPodAutoscaler")
        )

        assert "replicas" not in base
        assert fixed["replicas"] == 4
        assert "replicas" not in off

    def test_a_digest_wins(self, rendered: Helm) -> None:
        containers = rendered.releases["digest"].manifests.containers

        assert containers["csms-redis/csms-redis"]["image"] == "csms-redis@sha256:" + "ab" * 32

    def test_settings_reach_the_service_as_they_are(self, rendered: Helm) -> None:
        """Large numbers too, which templates write with an exponent if they are let."""
        made = rendered.releases["numbers"].manifests
        environment = made.get("ConfigMap", "csms-redis-environment")["data"]

        assert (
            environment.items()
            >= {
                "CSMS_LOOKUP__CACHE_BYTES": "5400000000",
                "CSMS_LOOKUP__TIMEOUT": "0.5",
                "CSMS_LOOKUP__PRELOAD": "false",
                "CSMS_SERVER__TRUSTED_PROXIES": '["10.0.0.0/8"]',
                "CSMS_REDIS__URL": "redis://valkey:6379",
            }.items()
        )

    def test_a_change_of_a_setting_replaces_the_pods(self, rendered: Helm) -> None:
        base, changed, same_again = (
            rendered.releases[case].manifests.get("Deployment")["spec"]["template"]["metadata"]
            for case in ("base", "numbers", "digest")
        )

        assert base["annotations"] != changed["annotations"]
        assert base["annotations"] == same_again["annotations"]

    def test_the_authority_may_be_in_a_secret(self, rendered: Helm) -> None:
        pod = rendered.releases["secret-ca"].manifests.pods["csms-redis"]
        [volume] = [volume for volume in pod["volumes"] if volume["name"] == "redis-ca"]

        assert volume["secret"]["secretName"] == "ca"
        assert "configMap" not in volume

    @pytest.mark.parametrize(
        ("case", "named"),
        [
            ("unknown", "autoscalling"),
            ("unknown-inside", "secret"),
            ("unknown-section", "sever"),
            ("wrong-type", "minReplicas"),
            ("wrong-digest", "digest"),
            ("nothing-to-make", "tls.secretName"),
        ],
    )
    def test_a_mistake_is_named(self, case: str, named: str, rendered: Helm) -> None:
        made = rendered.releases[case]

        assert made.manifests.all == []
        assert named in made.error

    def test_each_value_is_in_the_schema(self) -> None:
        """And each property of the schema has a value that says what it is for."""
        schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
        values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

        assert schema["additionalProperties"] is False
        assert set(schema["properties"]) - {"global"} == set(values)
        for name in SWITCHES:
            assert set(schema["properties"][name]["properties"]) == set(values[name])


def test_the_page_names_values_that_there_are() -> None:
    text = section("install.md", "Kubernetes")
    [of_helm] = re.findall(r"(?s)^### Helm\n(.*?)^### ", text, re.MULTILINE)
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    files = {"values.yaml", "values-production.yaml", "config.toml"}
    named = [name for name in re.findall(r"`([a-zA-Z.-]+)`", of_helm) if name not in files]

    assert set(SWITCHES) <= set(named)
    for name in named:
        at = values
        for step in name.split("."):
            assert step in at, name
            at = at[step]


class TestNotes:
    """What is said after an installation."""

    def test_what_is_missing_is_said(self, rendered: Helm) -> None:
        notes = rendered.releases["base"].notes

        assert "settings.redis.url" in notes
        assert "settings.auth.clients" in notes
        assert "networkPolicy.egress" in notes
        assert "http://csms-redis.csms-redis.svc:9410/api/v0" in notes

    def test_what_is_there_is_not(self, rendered: Helm) -> None:
        notes = rendered.releases["production"].notes

        assert "settings." not in notes
        assert "networkPolicy.egress" not in notes
        assert "https://csms-redis.csms-redis.svc:9410/api/v0" in notes
        for role in Role:
            assert role.value in notes


def test_helm_s_linter_has_no_objection(rendered: Helm) -> None:
    """But that a chart without a picture could have one."""
    assert [one["error"] for one in rendered.objections] == ["icon is recommended"]
    assert re.fullmatch(r"v4\.\d+\.\d+", rendered.engine)


def test_it_has_the_program_s_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))

    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_nothing_in_it_is_a_copy() -> None:
    """What it shares with the rest are links."""
    files = sorted((CHART / "files").iterdir())

    assert [file.name for file in files] == [
        "alerts.yaml",
        "backup.sh",
        "config.toml",
        "dashboard.json",
    ]
    assert all(file.is_symlink() and file.is_file() for file in files)

"""The Kubernetes manifests: every overlay is rendered, validated and held to a policy."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from csms_redis import __version__
from csms_redis.redis.url import parse
from csms_redis.settings import Role, Settings, load
from tests.deploy.custom import validate
from tests.deploy.kustomize import Manifest, Manifests, build
from tests.deploy.overlays import COMPONENTS, DEPLOY, KUBERNETES, OVERLAYS, built, with_components
from tests.deploy.written_out import unwritten

# of Kubernetes: the oldest that is meant, and the three newest
VERSIONS = ["1.30", "1.35", "1.36", "1.37"]
PROMTOOL = shutil.which("promtool")

Load = Callable[[Manifests], Settings]


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> Manifests:
    """An overlay, rendered."""
    return built(request.param)


@pytest.fixture(scope="module")
def production() -> Manifests:
    return built("production")


@pytest.fixture(scope="module")
def development() -> Manifests:
    return built("development")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    """What the service reads in a pod."""

    def read(manifests: Manifests) -> Settings:
        for name in [name for name in os.environ if name.upper().startswith("CSMS_")]:
            monkeypatch.delenv(name)
        environment = manifests.get("ConfigMap", "csms-redis-environment")["data"]
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert environment["CSMS_CONFIG"] == "/etc/csms-redis/config.toml"
        config = tmp_path / "config.toml"
        config.write_text(manifests.get("ConfigMap")["data"]["config.toml"], "utf-8")
        return load(config)

    return read


# What a replica's memory goes to, in bytes; measured on CPython 3.11, connections after one lookup.
PROCESS = 85 * 2**20
UNKNOWN_ENTRY = 400
CONNECTION, CONNECTION_WITH_TLS = 1_600, 47_000
UNDER_WAY = 64 * 2**20  # at least, for bodies and answers


def service_pod(manifests: Manifests) -> Manifest:
    return manifests.pods["csms-redis"]


class TestSchemas:
    """Kubernetes would take it."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_every_object_is_valid(self, overlay: Manifests, version: str) -> None:
        for manifest in overlay.all:
            validate(manifest, version)

    def test_a_mistake_is_seen(self, development: Manifests) -> None:
        deployment = development.get("Deployment")
        wrong = {**deployment, "spec": {**deployment["spec"], "replica": 2}}

        with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
            kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)

    def test_all_is_in_one_namespace(self, overlay: Manifests) -> None:
        assert {one["metadata"]["namespace"] for one in overlay.all} == {"csms-redis"}

    @pytest.mark.parametrize("component", COMPONENTS)
    def test_components_fit_the_production_overlay(self, component: str, tmp_path: Path) -> None:
        without = {name_of(one) for one in built("production").all}
        with_it = with_components("production", tmp_path, component)
        added = [one for one in with_it.all if name_of(one) not in without]

        assert added
        for manifest in added:
            for version in VERSIONS:
                validate(manifest, version)
            assert unwritten(manifest) == []

    def test_ways_out_that_are_only_shown_are_valid(self, tmp_path: Path) -> None:
        """Those in comments: to a collector, and to NodeLocal DNSCache."""
        shutil.copytree(DEPLOY, tmp_path / "deploy")
        overlay = tmp_path / "deploy/kubernetes/overlays/production"
        file = overlay / "network-policy.yaml"
        file.write_text(re.sub(r"(?m)^    # (- to:|  )", r"    \1", file.read_text("utf-8")))
        policy = build(overlay).get("NetworkPolicy", "csms-redis-to-redis")

        kubernetes_validate.validate(policy, VERSIONS[-1], strict=True)
        assert [[port["port"] for port in way["ports"]] for way in policy["spec"]["egress"]] == [
            [6379, 26379],
            [4318],
            [53, 53],
        ]


def name_of(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


class TestPolicy:
    """What an operator asks for, beside what `test_pod_security` has."""

    def test_nobody_is_root(self, overlay: Manifests) -> None:
        for name, pod in overlay.pods.items():
            context = pod["securityContext"]
            assert context["runAsNonRoot"] is True, name
            assert context["runAsUser"] > 0, name
            assert context["runAsGroup"] > 0, name
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name

    def test_containers_have_no_rights(self, overlay: Manifests) -> None:
        for name, container in overlay.containers.items():
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name

    def test_no_pod_has_a_token(self, overlay: Manifests) -> None:
        assert overlay.get("ServiceAccount")["automountServiceAccountToken"] is False
        for pod in overlay.pods.values():
            assert pod["automountServiceAccountToken"] is False

    def test_images_are_pinned(self, overlay: Manifests) -> None:
        for name, container in overlay.containers.items():
            image = container["image"]
            if name == "csms-redis/csms-redis":  # not published, so that no digest is known
                assert image.endswith(f"csms-redis:{__version__}")
            else:
                assert re.fullmatch(r"[a-z.]+/\S+:\d+\.\d+\.\d+\S*@sha256:[0-9a-f]{64}", image)

    def test_requests_and_limits_are_set(self, overlay: Manifests) -> None:
        for name, container in overlay.containers.items():
            for part in ("requests", "limits"):
                assert container["resources"][part].keys() == {"cpu", "memory"}, name

    def test_probes_are_set(self, overlay: Manifests) -> None:
        for name, container in overlay.containers.items():
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert probe in container, name

    def test_every_workload_is_behind_network_policies(self, overlay: Manifests) -> None:
        policies = overlay.of("NetworkPolicy")
        for workload in [*overlay.of("Deployment"), *overlay.of("StatefulSet")]:
            labels = workload["spec"]["template"]["metadata"]["labels"]
            covered = {
                kind
                for policy in policies
                if policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
                for kind in policy["spec"]["policyTypes"]
            }
            assert covered == {"Ingress", "Egress"}


class TestService:
    """The pods of csms-redis."""

    def test_probes_ask_for_health(self, overlay: Manifests, settings: Load) -> None:
        container = overlay.containers["csms-redis/csms-redis"]
        scheme = "HTTPS" if settings(overlay).server.tls.certificate_file else None
        paths = {
            "startupProbe": "/health/live",
            "livenessProbe": "/health/live",
            "readinessProbe": "/health/ready",
        }

        for probe, path in paths.items():
            asked = container[probe]["httpGet"]
            assert (asked["path"], asked["port"], asked.get("scheme")) == (path, "http", scheme)

    def test_ports_agree(self, overlay: Manifests, settings: Load) -> None:
        port = settings(overlay).server.port

        assert overlay.containers["csms-redis/csms-redis"]["ports"] == [
            {"name": "http", "containerPort": port}
        ]
        assert overlay.get("Service")["spec"]["ports"][0]["port"] == port

    def test_it_listens_to_others(self, overlay: Manifests, settings: Load) -> None:
        assert settings(overlay).server.host == "::"

    def test_selectors_find_its_pods(self, overlay: Manifests) -> None:
        deployment = overlay.get("Deployment")["spec"]
        labels = deployment["template"]["metadata"]["labels"]
        selectors = [
            deployment["selector"]["matchLabels"],
            overlay.get("Service")["spec"]["selector"],
            overlay.get("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
            *(
                constraint["labelSelector"]["matchLabels"]
                for constraint in deployment["template"]["spec"]["topologySpreadConstraints"]
            ),
        ]

        for selector in selectors:
            assert selector.items() <= labels.items()

    def test_each_rollout_is_spread(self, overlay: Manifests) -> None:
        constraints = service_pod(overlay)["topologySpreadConstraints"]

        assert [one["topologyKey"] for one in constraints] == [
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        ]
        for constraint in constraints:
            assert constraint["matchLabelKeys"] == ["pod-template-hash"]

    def test_it_has_time_to_drain(self, overlay: Manifests, settings: Load) -> None:
        server = settings(overlay).server
        container = overlay.containers["csms-redis/csms-redis"]
        before_sigterm = container["lifecycle"]["preStop"]["sleep"]["seconds"]

        assert before_sigterm >= 5
        assert server.drain_delay >= 5
        assert (
            service_pod(overlay)["terminationGracePeriodSeconds"]
            >= before_sigterm + server.drain_delay + server.drain_timeout + 5
        )

    def test_its_memory_suffices_for_what_the_settings_allow(
        self, overlay: Manifests, settings: Load
    ) -> None:
        read = settings(overlay)
        tls = read.server.tls.certificate_file is not None
        limit = overlay.containers["csms-redis/csms-redis"]["resources"]["limits"]["memory"]

        assert read.server.max_connections > 0
        assert int(limit.removesuffix("Mi")) * 2**20 >= sum(
            (
                PROCESS,
                read.lookup.cache_bytes,
                read.lookup.unknown_entries * UNKNOWN_ENTRY,
                read.server.max_connections * (CONNECTION_WITH_TLS if tls else CONNECTION),
                UNDER_WAY,
            )
        )

    def test_a_rollout_takes_nothing_away_first(self, overlay: Manifests) -> None:
        rolling = overlay.get("Deployment")["spec"]["strategy"]["rollingUpdate"]

        assert rolling == {"maxSurge": 1, "maxUnavailable": 0}

    def test_redis_is_named(self, overlay: Manifests, settings: Load) -> None:
        """The image has no embedded store."""
        assert parse(settings(overlay).redis.url.get_secret_value()).hosts

    def test_each_file_that_settings_name_is_mounted(
        self, overlay: Manifests, settings: Load
    ) -> None:
        read = settings(overlay)
        files = [
            *(read.redis.password_file, read.redis.sentinel_password_file, read.redis.tls_ca_file),
            *(read.server.tls.certificate_file, read.server.tls.key_file),
            *(client.secret_file for client in read.auth.clients.values()),
        ]
        mounted = {
            Path(mount["mountPath"])
            for mount in overlay.containers["csms-redis/csms-redis"]["volumeMounts"]
        }

        assert {file.parent for file in files if file is not None} <= mounted
        assert Path("/etc/csms-redis") in mounted

    def test_config_is_the_project_s(self, overlay: Manifests) -> None:
        config = (DEPLOY.parent / "config.toml").read_text("utf-8")

        assert overlay.get("ConfigMap")["data"] == {"config.toml": config}


class TestProduction:
    """What production has more."""

    def test_there_are_three_replicas_at_least(self, production: Manifests) -> None:
        scaler = production.get("HorizontalPodAutoscaler")["spec"]

        assert scaler["minReplicas"] >= 3
        assert scaler["scaleTargetRef"]["name"] == production.get("Deployment")["metadata"]["name"]
        assert "replicas" not in production.get("Deployment")["spec"]

    def test_redis_fails_over_behind_tls(self, production: Manifests, settings: Load) -> None:
        redis = settings(production).redis
        url = parse(redis.url.get_secret_value())

        assert (url.kind, url.tls, redis.tls_check_hostname) == ("sentinel", True, True)
        assert url.password is None
        assert redis.password_file is not None
        assert redis.wait_replicas > 0

    def test_callers_are_known(self, production: Manifests, settings: Load) -> None:
        clients = settings(production).auth.clients

        assert {role for client in clients.values() for role in client.roles} == set(Role)
        assert not any(client.secret_hashes for client in clients.values())

    def test_it_waits_for_its_secrets(self, production: Manifests) -> None:
        secrets = [
            volume["secret"] for volume in service_pod(production)["volumes"] if "secret" in volume
        ]

        assert {secret["secretName"] for secret in secrets} == {"csms-redis", "csms-redis-tls"}
        assert not any(secret.get("optional") for secret in secrets)
        assert {secret["defaultMode"] for secret in secrets} == {0o440}

    def test_no_secret_is_in_the_manifests(self, production: Manifests) -> None:
        assert production.of("Secret") == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_prometheus_asks_as_the_overlay_demands(name: str, settings: Load, tmp_path: Path) -> None:
    manifests = with_components(name, tmp_path, "service-monitor")
    read = settings(manifests)
    [endpoint] = manifests.get("ServiceMonitor")["spec"]["endpoints"]
    [port] = manifests.get("Service")["spec"]["ports"]

    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    if read.server.tls.certificate_file is None:
        assert not {"scheme", "tlsConfig"} & endpoint.keys()
    else:
        assert endpoint["scheme"] == "https"
        assert endpoint["tlsConfig"] == {
            "serverName": "csms-redis.csms-redis.svc",
            "ca": {"secret": {"name": "csms-redis-tls", "key": "ca.crt"}},
        }
    if read.auth.clients:
        assert endpoint["basicAuth"] == {
            key: {"name": "csms-redis-scrape", "key": key} for key in ("username", "password")
        }
    else:
        assert "basicAuth" not in endpoint


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt install prometheus")
def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    manifests = with_components("production", tmp_path, "prometheus-rule")
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(manifests.get("PrometheusRule")["spec"]))
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, "check", "rules", str(rules)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert re.search(r"[1-9]\d* rules found", done.stdout)


def test_development_keeps_its_records(development: Manifests) -> None:
    valkey = development.get("StatefulSet", "valkey")["spec"]

    assert valkey["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert "--appendonly yes" in " ".join(valkey["template"]["spec"]["containers"][0]["args"])


def test_copies_are_fresh() -> None:
    """`deploy/kubernetes/refresh.py` has nothing to do."""
    spec = importlib.util.spec_from_file_location("refresh", KUBERNETES / "refresh.py")
    assert spec is not None
    assert spec.loader is not None
    refresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(refresh)
    stale = [
        str(path.relative_to(DEPLOY))
        for path, text in refresh.copies().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]

    assert stale == [], "run deploy/kubernetes/refresh.py"

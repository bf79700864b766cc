"""The chart under names and values that are odd, wrong or meet one another."""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from csms_redis.settings import Settings
from tests.deploy.custom import validate
from tests.deploy.helm import CHART, PRODUCTION, Helm, Release, helm
from tests.deploy.kustomize import Manifest, Manifests
from tests.deploy.overlays import COMPONENTS, built
from tests.deploy.test_helm import PLAIN, VERSION, merged, with_all
from tests.deploy.written_out import unwritten

ALL = with_all(*COMPONENTS)
DIGEST = "sha256:" + "ab" * 32
LONG = "a-region-with-a-name-that-is-as-long-as-helm-lets-be"  # 53 letters are the most
NAMED = {  # values, release and namespace; YAML takes some of these names for something else
    "digits": ({"fullnameOverride": "registry"}, "123", "456"),
    "words": ({"fullnameOverride": "null", "nameOverride": "true"}, "on", "yes"),
    "number": ({"nameOverride": "1e3"}, "n", "1e3"),
    "dots": ({}, "eu.west", "charging"),
    "long-1": ({}, f"{LONG}1", "charging"),
    "long-2": ({}, f"{LONG}2", "charging"),
    "short": ({}, "x", "y"),
}
NUMBERS = {  # names of other objects that are digits only
    "secrets": {"name": "1"},
    "tls": {"secretName": "2"},
    "redisCA": {"configMap": "3"},
    "priorityClassName": "4",
    "backup": {"storageClassName": "5", "storage": "10", "keepDays": 7},
    "ingress": {"className": "6", "host": "*.registry.example", "tlsSecretName": "7"},
    "serviceMonitor": {"secretName": "8", "labels": {"release": "9"}},
    "externalSecret": {"key": "10", "scrapeKey": "@on: {"},
    "backendTLSPolicy": {"caConfigMap": "11"},
    "imagePullSecrets": [{"name": "12"}],
    "httpRoute": {"hostnames": ["*.registry.example"]},
    "certificate": {"issuerRef": {"name": "13"}},
    "podLabels": {"team": "14", "app.kubernetes.io/part-of": "15"},
    "podAnnotations": {"a": "16", "checksum/settings": "mine"},
    "podDisruptionBudget": {"maxUnavailable": "25%"},
    "image": {"digest": DIGEST, "tag": "1.10"},
}
PLACED = {
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "registry", "operator": "Exists"}],
    "priorityClassName": "high",
    "backup": {"enabled": True},
}


def with_settings(**sections: Mapping[str, Any]) -> Release:
    return Release({"settings": sections})


ODD = {
    **{
        case: Release(merged(PRODUCTION, ALL, values), *at) for case, (values, *at) in NAMED.items()
    },
    "numbers": Release(merged(PRODUCTION, ALL, NUMBERS)),
    "plain": Release(with_all(*PLAIN)),
    "production": Release(PRODUCTION),
    "monitored": Release(merged(PRODUCTION, with_all("service-monitor"))),
    "placed": Release(PLACED),
    "port": with_settings(server={"port": 9500}),
    "drains": with_settings(server={"drain_delay": 20, "drain_timeout": 60.5}),
    "no-drain": with_settings(server={"drain_delay": 0}),
    "route-of-any-host": Release({"httpRoute": {"enabled": True, "hostnames": []}}),
    "both-numbers": Release({"replicas": 4}),
    "tls": Release({"tls": {"secretName": "registry-tls"}}),
    "dual": Release({"service": {"ipFamilyPolicy": "PreferDualStack"}}),
    "connections": with_settings(server={"max_connections": 7}),
}
WRONG: dict[str, tuple[Release, str]] = {  # and what is said
    "digit first": (Release(name="1"), "fullnameOverride"),
    "dotted name": (Release({"fullnameOverride": "a.b"}), "fullnameOverride"),
    "long name": (Release({"fullnameOverride": "a" * 41}), "fullnameOverride"),
    "selected by": (
        Release({"podLabels": {"app.kubernetes.io/name": "x"}}),
        "podLabels: the pods are selected by app.kubernetes.io/name",
    ),
    "password": (
        with_settings(redis={"url": "redis://csms:verysecret@valkey:6379"}),
        "settings.redis.password_file",
    ),
    "password only": (
        with_settings(redis={"url": "rediss+sentinel://:verysecret@a:1,b:2/m"}),
        "settings.redis.password_file",
    ),
    "certificate by settings": (
        with_settings(server={"tls": {"certificate_file": "/run/secrets/csms-redis/tls.crt"}}),
        "tls.secretName",
    ),
    "clients' certificates": (
        Release(
            merged(PRODUCTION, {"settings": {"server": {"tls": {"client_ca_file": "/run/ca"}}}})
        ),
        "no pod would be ready",
    ),
    "TLS to plain pods": (Release({"backendTLSPolicy": {"enabled": True}}), "tls.secretName"),
    "bounds": (
        Release({"autoscaling": {"minReplicas": 11}}),
        "minReplicas is more than maxReplicas",
    ),
    "unknown setting": (with_settings(redis={"wait_replica": 1}), "wait_replica"),
    "tag in the name": (Release({"image": {"repository": "csms-redis:1"}}), "/image/repository"),
    "address for a host": (Release({"ingress": {"host": "https://a.example"}}), "/ingress/host"),
    "unit": (Release({"backup": {"storage": "10GB"}}), "/backup/storage"),
    "memory": (Release({"resources": {"limits": {"memory": "1G1"}}}), "/limits/memory"),
    "schedule": (Release({"backup": {"schedule": "at three"}}), "/backup/schedule"),
    "share": (Release({"podDisruptionBudget": {"maxUnavailable": "one"}}), "/maxUnavailable"),
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """All of it, in one run of the engine."""
    wrong = {case: release for case, (release, _) in WRONG.items()}
    return helm(ODD | wrong, tmp_path_factory.mktemp("archive"))


@pytest.fixture
def made(request: pytest.FixtureRequest, rendered: Helm) -> Manifests:
    """The objects of a case, which is the test's parameter."""
    release = rendered.releases[request.param]
    assert release.error == ""
    return release.manifests


def each(cases: Iterable[str]) -> pytest.MarkDecorator:
    """Give a test the objects of each case."""
    return pytest.mark.parametrize("made", cases, indirect=True)


@each(ODD)
def test_what_is_rendered_is_valid(made: Manifests) -> None:
    for manifest in made.all:
        validate(manifest, VERSION)
        assert unwritten(manifest) == []


@each(ODD)
def test_names_are_what_a_server_takes(made: Manifests) -> None:
    """Names and labels by their rules, which the schemas do not have."""
    for manifest in made.all:
        name, kind = manifest["metadata"]["name"], manifest["kind"]
        if kind == "Service":
            assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name)
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
        assert len(name) <= (52 if kind == "CronJob" else 63)
        for labels in labels_in(manifest):
            for value in labels.values():
                assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", value)


def labels_in(value: Any) -> Iterator[dict[str, str]]:
    """All labels, and what selects by them."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in {"labels", "matchLabels"}:
                yield item
            yield from labels_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from labels_in(item)


@each(["numbers"])
def test_names_that_are_numbers_arrive(made: Manifests) -> None:
    pod = made.pods["csms-redis"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    secrets = made.of("ExternalSecret")

    assert volumes["secrets"]["secret"]["secretName"] == "1"
    assert volumes["server-tls"]["secret"]["secretName"] == "2"
    assert volumes["redis-ca"]["configMap"]["name"] == "3"
    assert pod["priorityClassName"] == "4"
    assert pod["imagePullSecrets"] == [{"name": "12"}]
    assert [one["spec"]["dataFrom"][0]["extract"]["key"] for one in secrets] == ["10", "@on: {"]
    [rule] = made.get("Ingress")["spec"]["rules"]
    assert rule["host"] == "*.registry.example"
    assert made.get("PodDisruptionBudget")["spec"]["maxUnavailable"] == "25%"


@each(["numbers"])
def test_what_values_add_takes_nothing_away(made: Manifests) -> None:
    """Labels of theirs win where nothing hangs on it; the checksum that replaces pods does not."""
    metadata = made.get("Deployment")["spec"]["template"]["metadata"]

    assert metadata["labels"] == {
        "app.kubernetes.io/name": "csms-redis",
        "app.kubernetes.io/instance": "csms-redis",
        "app.kubernetes.io/part-of": "15",
        "team": "14",
    }
    assert metadata["annotations"]["a"] == "16"
    assert re.fullmatch("[0-9a-f]{64}", metadata["annotations"]["checksum/settings"])


@each(["placed"])
def test_the_backup_goes_where_the_service_may(made: Manifests) -> None:
    """Else it waits for a node for ever, where all have a taint."""
    for pod in made.pods.values():
        for key in ("nodeSelector", "tolerations", "priorityClassName"):
            assert pod[key] == PLACED[key]


@each(["port"])
def test_another_port_of_the_pods(made: Manifests) -> None:
    """Whoever calls the Service sees nothing of it."""
    [port] = made.containers["csms-redis/csms-redis"]["ports"]
    [outside] = made.get("Service")["spec"]["ports"]

    assert port == {"name": "http", "containerPort": 9500}
    assert (outside["port"], outside["targetPort"]) == (9410, "http")


@pytest.mark.parametrize(("case", "seconds"), [("plain", 40), ("drains", 96), ("no-drain", 30)])
def test_pods_have_the_time_that_they_are_told_to_take(
    case: str, seconds: int, rendered: Helm
) -> None:
    pod = rendered.releases[case].manifests.pods["csms-redis"]

    assert pod["terminationGracePeriodSeconds"] == seconds


@pytest.mark.parametrize(
    ("case", "most"), [("plain", "50000"), ("tls", "5000"), ("connections", "7")]
)
def test_connections_fit_the_memory(case: str, most: str, rendered: Helm) -> None:
    """One with TLS takes thirty times as much: what TLS alone turns on must not end a pod."""
    environment = rendered.releases[case].manifests.get("ConfigMap", "csms-redis-environment")

    assert environment["data"]["CSMS_SERVER__MAX_CONNECTIONS"] == most


@each(["tls"])
def test_probes_speak_tls_where_the_pods_do(made: Manifests) -> None:
    container = made.containers["csms-redis/csms-redis"]

    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"


@each(["dual"])
def test_a_service_of_both_families(made: Manifests) -> None:
    assert made.get("Service")["spec"]["ipFamilyPolicy"] == "PreferDualStack"


@each(["route-of-any-host"])
def test_a_route_without_hosts(made: Manifests) -> None:
    assert "hostnames" not in made.get("HTTPRoute")["spec"]


@pytest.mark.parametrize("case", ["words", "plain"])
def test_the_job_is_called_as_alerts_ask_for_it(case: str, rendered: Helm) -> None:
    """Whatever the pods are called: an alert on a job that is not there pages somebody."""
    [monitor] = rendered.releases[case].manifests.of("ServiceMonitor")
    [service] = rendered.releases[case].manifests.of("Service")
    [endpoint] = monitor["spec"]["endpoints"]
    job = service["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    for rule in endpoint.get("relabelings", []):
        assert (rule["action"], rule["targetLabel"]) == ("replace", "job")
        job = rule["replacement"]

    assert job == "csms-redis"


def test_a_number_that_has_no_effect_is_told_of(rendered: Helm) -> None:
    assert "replicas has no effect" in rendered.releases["both-numbers"].notes
    assert "replicas has no effect" not in rendered.releases["plain"].notes


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_refused(case: str, rendered: Helm) -> None:
    made, (_, said) = rendered.releases[case], WRONG[case]

    assert made.manifests.all == []
    assert said in made.error
    assert "verysecret" not in made.error


@pytest.mark.parametrize("case", ["production", "monitored"])
def test_production_says_what_it_wants(case: str, rendered: Helm) -> None:
    """What comes from elsewhere, with its keys: a packaged chart has no page beside it."""
    made = rendered.releases[case].manifests
    ours = {one["metadata"]["name"] for one in made.of("ConfigMap")}
    said = dict(
        re.findall(
            r"(?m)^#   (?:Secret|ConfigMap) (\S+) +(.*(?:\n#      .*)*)",
            (CHART / "values-production.yaml").read_text("utf-8"),
        )
    )
    for volume in made.pods["csms-redis"]["volumes"]:
        name = volume.get("secret", {}).get("secretName") or volume["configMap"]["name"]
        assert name in ours | set(said)
    files = re.findall(
        r"/run/secrets/csms-redis/([\w-]+)", str(made.get("ConfigMap", "csms-redis-environment"))
    )
    assert set(files) <= set(re.findall(r"[\w-]+", said["csms-redis"]))
    for monitor in made.of("ServiceMonitor"):
        [endpoint] = monitor["spec"]["endpoints"]
        for one in (*endpoint["basicAuth"].values(), endpoint["tlsConfig"]["ca"]["secret"]):
            assert one["key"] in said[one["name"]]


def test_each_setting_is_in_the_schema() -> None:
    """What is not would be told of by a pod that ends, and not before."""
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    sections = schema["properties"]["settings"]["properties"]

    assert {name: set(section["properties"]) for name, section in sections.items()} == {
        name: set(type(field.default).model_fields) for name, field in Settings.model_fields.items()
    }


class TestNeighbours:
    """Whatever else of this is in the same namespace, nothing of one touches the other."""

    @pytest.fixture
    def installed(self, rendered: Helm) -> dict[str, Manifests]:
        cases = ["digits", "words", "dots", "long-1", "long-2", "short"]
        releases = {case: rendered.releases[case].manifests for case in cases}
        return releases | {"kustomize": built("production")}

    def test_no_selector_finds_pods_of_another(self, installed: dict[str, Manifests]) -> None:
        for (one, ours), (other, theirs) in itertools.permutations(installed.items(), 2):
            for where, selector in selectors(ours):
                for template in theirs.templates.values():
                    found = selects(selector, template["metadata"]["labels"])
                    assert not found, f"{where} of {one} selects pods of {other}"

    def test_each_selector_finds_its_own(self, installed: dict[str, Manifests]) -> None:
        for name, ours in installed.items():
            pods = [template["metadata"]["labels"] for template in ours.templates.values()]
            for where, selector in selectors(ours):
                assert any(selects(selector, labels) for labels in pods), f"{where} of {name}"

    def test_no_object_is_called_as_another_s(self, installed: dict[str, Manifests]) -> None:
        for (_, ours), (_, theirs) in itertools.combinations(installed.items(), 2):
            assert called(ours) & called(theirs) == set()


def called(manifests: Manifests) -> set[tuple[str, str]]:
    """Kinds and names, without the Secrets that values name."""
    made = ((one["kind"], one["metadata"]["name"]) for one in manifests.all)
    return {(kind, name) for kind, name in made if kind != "ExternalSecret"}


def selectors(manifests: Manifests) -> Iterator[tuple[str, Manifest]]:
    """What selects pods, or a Service by its labels, as objects with matchLabels."""
    for one in manifests.all:
        where, spec = f"{one['kind']}/{one['metadata']['name']}", one.get("spec", {})
        if one["kind"] == "Service":
            yield where, {"matchLabels": spec["selector"]}
        if one["kind"] == "NetworkPolicy":
            yield where, spec["podSelector"]
        if one["kind"] in {"Deployment", "PodDisruptionBudget", "StatefulSet"}:
            yield where, spec["selector"]
        if one["kind"] == "Deployment":
            for constraint in spec["template"]["spec"]["topologySpreadConstraints"]:
                yield where, constraint["labelSelector"]


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a selector takes an object with these labels."""
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", [])
    )

"""compose.yaml, and that the files it puts together fit one another."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from csms_redis import __version__
from csms_redis.settings import ServerSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
REPLICAS = [name for name in SERVICES if name.startswith("registry-")]
GRAFANA = DEPLOY / "compose/grafana"
PROMTOOL = shutil.which("promtool")


def parsed(compose: dict[str, Any]) -> PyCompose:
    """As the Compose specification has it; merges are done, as every engine does them.

    Tags before digests are left out: this reader refuses what every engine takes.
    """
    return PyCompose.from_json(re.sub(r":[\w.-]+(?=@sha256:)", "", json.dumps(compose)))


def mounts(service: str) -> dict[str, str]:
    """Where a service's volumes are, and what they are."""
    pairs = [volume.split(":") for volume in SERVICES[service].get("volumes", [])]
    return {pair[1]: pair[0] for pair in pairs}


class TestSpecification:
    """An engine would take it."""

    def test_it_is_valid(self) -> None:
        compose = parsed(COMPOSE)
        compose.validate()

        assert sorted(compose.service_names()) == sorted(SERVICES)

    @pytest.mark.parametrize(
        "mistake", [{"imagee": "x"}, {"ports": {"80": "80"}}, {"depends_on": 3}]
    )
    def test_a_mistake_is_seen(self, mistake: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(mistake)) + "|services|expected|invalid"):
            parsed({**COMPOSE, "services": {"one": {"image": "x", **mistake}}})

    def test_files_are_there(self) -> None:
        sources = [source for service in SERVICES for source in mounts(service).values()]

        for source in sources:
            if source.startswith("."):
                assert (DEPLOY / source).is_file(), source
            else:
                assert source in COMPOSE["volumes"], source

    def test_dependencies_are_there(self) -> None:
        for service in SERVICES.values():
            assert set(service.get("depends_on", [])) <= SERVICES.keys()


class TestPolicy:
    """Confined, pinned, and not open to the network."""

    def test_images_are_pinned(self) -> None:
        for name, service in SERVICES.items():
            if name in REPLICAS:
                assert service["image"] == f"csms-redis:{__version__}"
            else:
                assert re.fullmatch(
                    r"docker\.io/\S+:v?\d+\.\d+\.\d+\S*@sha256:[0-9a-f]{64}", service["image"]
                )

    def test_all_are_confined(self) -> None:
        for name, service in SERVICES.items():
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert "mem_limit" in service, name

    def test_only_this_machine_reaches_them(self) -> None:
        for service in SERVICES.values():
            for port in service.get("ports", []):
                assert port.startswith("127.0.0.1:")


class TestReplicas:
    """Three of the service, alike, that the others know."""

    def test_there_are_three_alike(self) -> None:
        alike = [
            {key: value for key, value in SERVICES[name].items() if key != "networks"}
            for name in REPLICAS
        ]

        assert len(alike) == 3
        assert alike[0] == alike[1] == alike[2]

    def test_they_keep_their_addresses(self) -> None:
        addresses = [SERVICES[name]["networks"]["default"]["ipv4_address"] for name in REPLICAS]
        [subnet] = COMPOSE["networks"]["default"]["ipam"]["config"]

        assert len(set(addresses)) == 3
        assert all(address.startswith(subnet["subnet"][:9]) for address in addresses)

    def test_balancers_and_prometheus_know_them(self) -> None:
        known = [f"{name}:9410" for name in REPLICAS]
        prometheus = yaml.safe_load((DEPLOY / "compose/prometheus.yml").read_text("utf-8"))
        [scraped] = prometheus["scrape_configs"][0]["static_configs"]

        assert scraped["targets"] == known
        for file in ("nginx.conf", "haproxy.cfg"):
            text = (DEPLOY / file).read_text("utf-8")
            assert re.findall(r"(registry-\d:9410)\b", text) == known

    def test_they_have_time_to_drain(self) -> None:
        server = ServerSettings()
        grace = int(SERVICES[REPLICAS[0]]["stop_grace_period"].removesuffix("s"))

        assert grace > server.drain_delay + server.drain_timeout

    def test_nginx_lets_idle_connections_go_first(self) -> None:
        text = (DEPLOY / "nginx.conf").read_text("utf-8")
        [upstream] = re.findall(r"(?s)upstream registry \{(.*?)\n    \}", text)
        [kept] = re.findall(r"\bkeepalive_timeout (\d+);", upstream)

        assert int(kept) < ServerSettings().keepalive_timeout

    def test_nginx_takes_the_bodies_that_they_take(self) -> None:
        text = (DEPLOY / "nginx.conf").read_text("utf-8")

        assert f"client_max_body_size {ServerSettings().max_body // 1024}k;" in text


class TestMonitoring:
    """Prometheus has the rules, Grafana the dashboard."""

    @pytest.mark.skipif(
        PROMTOOL is None, reason="promtool is not installed: apt install prometheus"
    )
    def test_prometheus_takes_its_configuration(self, tmp_path: Path) -> None:
        for target, source in mounts("prometheus").items():
            if target.startswith("/etc/prometheus/"):
                shutil.copy(DEPLOY / source, tmp_path / Path(target).name)
        assert PROMTOOL is not None
        done = subprocess.run(
            [PROMTOOL, "check", "config", str(tmp_path / "prometheus.yml")],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

        assert done.returncode == 0, done.stderr
        assert "rule files found" in done.stdout

    def test_grafana_has_the_dashboard(self) -> None:
        [provider] = yaml.safe_load((GRAFANA / "dashboards.yaml").read_text("utf-8"))["providers"]
        home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])

        assert str(home.parent) == provider["options"]["path"]
        assert mounts("grafana")[str(home)] == "./monitoring/dashboard.json"

    def test_grafana_asks_prometheus(self) -> None:
        [source] = yaml.safe_load((GRAFANA / "datasources.yaml").read_text("utf-8"))["datasources"]

        assert source["type"] == "prometheus"
        assert source["url"].startswith("http://prometheus:")
        assert source["isDefault"] is True

"""The alert rules and the dashboard name what a scrape has; the alerts fire when they should."""

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from csms_redis.lookup.counts import OUTCOMES
from csms_redis.telemetry import metrics
from tests.conftest import running_service, wait_for

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
ALERTS = MONITORING / "alerts.yaml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = [
    panel
    for panel in json.loads((MONITORING / "dashboard.json").read_bytes())["panels"]
    if panel["type"] != "row"
]
QUERIES = [
    *(rule["expr"] for rule in RULES),
    *(target["expr"] for panel in PANELS for target in panel["targets"]),
]
_METRIC = re.compile(r"\b(?:csms|process|python)_\w+")
_SELECTOR = re.compile(r"\b((?:csms|process|python)_\w+)\{([^}]*)\}")
_OF_PROMETHEUS = {"job", "instance"}  # labels that it adds


@pytest.fixture(scope="module")
def scraped() -> Iterator[dict[str, set[str]]]:
    """Each sample's name of a scrape, with its labels."""
    with running_service() as service:
        service.post("/cs/cs001", {"securityProfile": 2})

        def families() -> list[Metric]:
            text = service.request("GET", "/metrics").body.decode()
            return list(text_string_to_metric_families(text))

        # the certificates are counted some seconds after the start
        wait_for(
            lambda: any(family.name == "csms_certificates_expiring" for family in families()),
            "the certificates are counted",
            seconds=60,
        )
        found: dict[str, set[str]] = {}
        for sample in chain.from_iterable(family.samples for family in families()):
            found.setdefault(sample.name, set()).update(sample.labels)
        yield found


def test_every_metric_and_label_exists(scraped: dict[str, set[str]]) -> None:
    """In the alerts and on the dashboard."""
    assert len(PANELS) > 20
    for query in QUERIES:
        names = set(_METRIC.findall(query))
        assert names or "up{" in query
        assert names <= scraped.keys(), query
        for name, labels in _SELECTOR.findall(query):
            asked = set(re.findall(r"(\w+)\s*=", labels))
            assert asked <= scraped[name] | _OF_PROMETHEUS, query


def test_what_lookups_and_writes_become_is_called_as_in_the_queries() -> None:
    known = {*OUTCOMES, *metrics.OUTCOMES}
    for query in QUERIES:
        for values in re.findall(r'outcome=~?"([^"]*)"', query):
            assert set(values.split("|")) <= known


def test_every_metric_is_explained(scraped: dict[str, set[str]]) -> None:
    """One that nobody looks at need not be there: each is in an alert or on the dashboard."""
    looked_at = set(chain.from_iterable(_METRIC.findall(query) for query in QUERIES))
    ours = {
        re.sub(r"_(sum|count)$", "_bucket", name) for name in scraped if name.startswith("csms_")
    }
    assert ours <= looked_at


def test_every_alert_has_its_place_in_the_runbook() -> None:
    runbook = (MONITORING / "README.md").read_text("utf-8")
    headings = re.findall(r"^### (\w+)$", runbook, re.MULTILINE)
    assert headings == [rule["alert"] for rule in RULES]
    for rule in RULES:
        anchor = f"deploy/monitoring/README.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"] == anchor
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


class _Prometheus(http.server.BaseHTTPRequestHandler):
    """Answers each range query with one series."""

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        values = [[float(asked["start"][0]), "1"], [float(asked["end"][0]), "2"]]
        result = [{"metric": {"instance": "a<b"}, "values": values}]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": {"result": result}}).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_the_picture_has_each_panel() -> None:
    """One that is drawn now, and the one that is kept."""
    titles = {
        panel["title"]
        for panel in json.loads((MONITORING / "dashboard.json").read_bytes())["panels"]
    }
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Prometheus) as prometheus:
        thread = threading.Thread(target=prometheus.serve_forever)
        thread.start()
        drawn = subprocess.run(
            [sys.executable, MONITORING / "draw.py", f"http://127.0.0.1:{prometheus.server_port}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        prometheus.shutdown()
        thread.join()
    assert drawn.returncode == 0, drawn.stderr
    for picture in (drawn.stdout, (MONITORING / "dashboard.svg").read_text("utf-8")):
        texts = {text.text for text in ET.fromstring(picture).iter() if text.text}
        assert titles <= texts
    assert "No data" not in drawn.stdout


# Each alert, with the series that make it fire; times are in minutes.

LABELS = 'instance="a",job="csms-redis"'
READY = {f"csms_ready{{{LABELS}}}": "1x120"}


def counters(**outcomes: int) -> dict[str, str]:
    """Lookups, so many a minute by what became of them."""
    return {
        f'csms_lookups_total{{{LABELS},route="cs",outcome="{outcome}"}}': f"0+{each}x120"
        for outcome, each in outcomes.items()
    }


def histogram(name: str, within: int, beyond: int) -> dict[str, str]:
    """So many observations a minute below 0.1 and below 0.25 seconds."""
    return {
        f'{name}_bucket{{{LABELS},le="0.1"}}': f"0+{within}x120",
        f'{name}_bucket{{{LABELS},le="0.25"}}': f"0+{within + beyond}x120",
        f'{name}_bucket{{{LABELS},le="+Inf"}}': f"0+{within + beyond}x120",
    }


def writes(outcome: str, values: str) -> dict[str, str]:
    """Writes by what came of them."""
    return {f'csms_writes_total{{{LABELS},operation="setToken",outcome="{outcome}"}}': values}


def refused(reason: str, values: str) -> dict[str, str]:
    """Requests whose credentials were not enough."""
    return {f'csms_credentials_refused_total{{{LABELS},reason="{reason}"}}': values}


REDIS = f'{LABELS},redis="redis://h:6379/0"'
WELL = {
    f"up{{{LABELS}}}": "1x120",
    **READY,
    **counters(hit=600, read=60, unknown=6, stale=0, error=0),
    f"csms_redis_up{{{REDIS}}}": "1x120",
    f"csms_redis_leased{{{REDIS}}}": "1x120",
    f'csms_whole{{{REDIS},kind="cs"}}': "1x120",
    f"csms_redis_topology_certain{{{LABELS}}}": "1x120",
    f"csms_redis_unread_ratio{{{LABELS}}}": "0x120",
    f"csms_redis_connections_lost_total{{{LABELS}}}": "0x120",
    f"csms_near_cache_max_entries{{{LABELS}}}": "400000x120",
    f"csms_near_cache_evictions_total{{{LABELS}}}": "0x120",
    **histogram("csms_redis_read_seconds", 100, 0),
    **histogram("csms_event_loop_lag_seconds", 100, 0),
    **writes("done", "0+5x120"),
    f"csms_connections_open{{{LABELS}}}": "100x120",
    f"csms_connections_max{{{LABELS}}}": "1000x120",
    f"csms_certificates_expiring{{{LABELS}}}": "0x120",
    f"csms_refused_stations{{{LABELS}}}": "0x120",
    **refused("none", "0x120"),
    **refused("unknown", "0x120"),
    **refused("wrong_secret", "0x120"),
    **refused("wrong_role", "0x120"),
}
ILL: dict[str, dict[str, str]] = {
    "CsmsReplicaDown": {f"up{{{LABELS}}}": "0x120"},
    "CsmsNoReplicaReady": {f"csms_ready{{{LABELS}}}": "0x120"},
    "CsmsReplicaNotReady": {f"csms_ready{{{LABELS}}}": "0x120"},
    "CsmsLookupsFail": counters(error=6),
    "CsmsStaleAnswers": counters(stale=6),
    "CsmsRedisDown": {f"csms_redis_up{{{REDIS}}}": "0x120"},
    "CsmsRedisPartUnread": {f"csms_redis_unread_ratio{{{LABELS}}}": "0.33x120"},
    "CsmsRedisUncertain": {f"csms_redis_topology_certain{{{LABELS}}}": "0x120"},
    "CsmsRedisUnsteady": {f"csms_redis_connections_lost_total{{{LABELS}}}": "0+1x120"},
    "CsmsRedisSlow": histogram("csms_redis_read_seconds", 90, 10),
    "CsmsNothingKept": {f"csms_redis_leased{{{REDIS}}}": "0x120"},
    "CsmsNearCacheTooSmall": {
        **counters(hit=60, read=600),
        f"csms_near_cache_evictions_total{{{LABELS}}}": "0+600x120",
    },
    "CsmsNotWhole": {f'csms_whole{{{REDIS},kind="cs"}}': "0x120"},
    "CsmsManyUnknown": counters(unknown=6000),
    "CsmsWritesFail": writes("unavailable", "0+1x120"),
    "CsmsWritesUnconfirmed": writes("unknown", "0+1x120"),
    "CsmsEventLoopLate": histogram("csms_event_loop_lag_seconds", 90, 10),
    "CsmsManyConnections": {f"csms_connections_open{{{LABELS}}}": "900x120"},
    "CsmsWrongCredentials": refused("unknown", "0+2x120") | refused("wrong_secret", "0+3x120"),
    "CsmsClientsTurnedAway": refused("none", "0+5x120"),
    "CsmsCertificatesExpire": {f"csms_certificates_expiring{{{LABELS}}}": "3x120"},
    "CsmsStationsRefused": {f"csms_refused_stations{{{LABELS}}}": "3x120"},
}
_AT = 92  # minutes


@pytest.fixture
def promtool() -> str:
    """Prometheus' own tool."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool checks the rules and is missing: apt-get install prometheus")
    return found


def test_the_rules_are_valid(promtool: str) -> None:
    checked = subprocess.run(
        [promtool, "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout


def test_each_alert_fires_when_it_should_and_only_then(promtool: str, tmp_path: Path) -> None:
    assert [rule["alert"] for rule in RULES] == list(ILL)
    tests = [given("none", {}, [])]
    for alert, series in ILL.items():
        firing = {alert}
        if "csms_ready" in str(series):
            firing = {"CsmsNoReplicaReady", "CsmsReplicaNotReady"}
        tests.append(given(alert, series, sorted(firing)))
    run_tests(promtool, tmp_path, tests, interval="1m")


def run_tests(promtool: str, home: Path, tests: list[dict[str, Any]], *, interval: str) -> None:
    file = home / "tests.json"
    file.write_text(
        json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": interval, "tests": tests})
    )
    tested = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def given(name: str, series: dict[str, str], firing: list[str]) -> dict[str, Any]:
    """What promtool is to see: these alerts, given a service that is well but for some series."""
    return {
        "name": name,
        "interval": "1m",
        "input_series": [
            {"series": which, "values": values} for which, values in (WELL | series).items()
        ],
        "promql_expr_test": [
            {
                "eval_time": f"{_AT}m",
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "exp_samples": [
                    {"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in firing
                ],
            }
        ],
    }


def test_what_a_rate_shows_is_gone_before_it_pages() -> None:
    """All but what counts events, of which a failover makes few."""
    exempt = {"CsmsRedisUnsteady", "CsmsWrongCredentials"}
    for rule in RULES:
        windows = [minutes(each) for each in re.findall(r"\[(\w+)\]", rule["expr"])]
        if rule["alert"] not in exempt and windows:
            assert minutes(rule["for"]) > max(windows), rule["alert"]


def minutes(duration: str) -> int:
    assert duration.endswith("m")
    return int(duration[:-1])


# A failure as scrapes each 15 seconds see it, from the tenth minute on: of these values it has one
# for each scrape.

BEFORE = 40  # scrapes
FAILOVER, LASTING = 2, 80  # scrapes; a failover of 5 seconds falls into two at most


def gauge(well: int, ill: int, scrapes: int) -> str:
    return f"{well}x{BEFORE} {ill}x{scrapes - 1} {well}x80"


def counter(step: int, scrapes: int) -> str:
    """One that stands still but for the failure."""
    return f"0x{BEFORE} {step}+{step}x{scrapes - 1} {step * scrapes}x80"


def failure(scrapes: int) -> dict[str, str]:
    """Redis is away for so many scrapes."""
    lookups = {
        outcome: f'csms_lookups_total{{{LABELS},route="cs",outcome="{outcome}"}}'
        for outcome in ("hit", "stale", "error")
    }
    return {
        lookups["hit"]: "0+150x200",
        lookups["stale"]: counter(100, scrapes),
        lookups["error"]: counter(30, scrapes),
        f"csms_redis_up{{{REDIS}}}": gauge(1, 0, scrapes),
        f"csms_redis_leased{{{REDIS}}}": gauge(1, 0, scrapes),
        f"csms_redis_topology_certain{{{LABELS}}}": gauge(1, 0, scrapes),
        f"csms_redis_connections_lost_total{{{LABELS}}}": counter(1, FAILOVER),
        **{
            f'csms_redis_read_seconds_bucket{{{LABELS},le="{bound}"}}': (
                f"0+20x{BEFORE} {20 * BEFORE + each}+{20 + each}x{scrapes - 1} "
                f"{20 * (BEFORE + scrapes) + each * scrapes}+20x80"
            )
            for bound, each in (("0.1", 0), ("0.25", 20), ("+Inf", 20))
        },
        **writes("unavailable", counter(5, scrapes)),
        **writes("unknown", counter(5, scrapes)),
    }


@pytest.mark.parametrize("scrapes", [1, FAILOVER, LASTING])
def test_a_failover_pages_nobody_and_what_lasts_does(
    scrapes: int, promtool: str, tmp_path: Path
) -> None:
    paged = []
    if scrapes == LASTING:
        paged = ["LookupsFail", "StaleAnswers", "RedisDown", "RedisUncertain", "RedisSlow"]
        paged += ["WritesFail", "WritesUnconfirmed"]
    seen = 'count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[30m]))'
    test = given("failure", failure(scrapes), [])
    test["interval"] = "15s"
    test["promql_expr_test"] = [
        {
            "eval_time": "29m",
            "expr": seen,
            "exp_samples": [
                {"labels": f'{{alertname="Csms{alert}"}}', "value": 1} for alert in paged
            ],
        }
    ]
    run_tests(promtool, tmp_path, [test], interval="15s")


def test_an_installation_that_is_well_hides_none_that_is_not(promtool: str, tmp_path: Path) -> None:
    def of(namespace: str, series: dict[str, str]) -> dict[str, str]:
        label = f'namespace="{namespace}",instance="{namespace}"'
        return {which.replace('instance="a"', label): values for which, values in series.items()}

    busy = {which: re.sub(r"^0\+(\d+)x", r"0+\g<1>0000x", each) for which, each in WELL.items()}
    alerts = {
        alert: series
        for alert, series in ILL.items()
        if alert in {"CsmsNoReplicaReady", "CsmsLookupsFail", "CsmsManyUnknown", "CsmsWritesFail"}
    }
    tests = []
    for alert, series in alerts.items():
        firing = [alert, "CsmsReplicaNotReady"] if alert == "CsmsNoReplicaReady" else [alert]
        test = given(alert, {}, firing)
        both = of("well", busy) | of("ill", WELL | series)
        test["input_series"] = [
            {"series": which, "values": values} for which, values in both.items()
        ]
        tests.append(test)
    run_tests(promtool, tmp_path, tests, interval="1m")

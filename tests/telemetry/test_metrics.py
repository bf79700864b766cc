"""What a scrape tells, of a service that really runs."""

import asyncio
from collections.abc import Mapping
from itertools import pairwise
from urllib.parse import quote

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from csms_redis.telemetry import metrics
from csms_redis.telemetry.metrics import Histogram, LoopLag
from tests.conftest import Service, StartService, Valkey, wait_for

SECRET = "Str0ng:p@ss"
UID = "RFID-0123-SECRET"
STATION = "station-under-watch"
TOKEN = {
    "countryCode": "DE",
    "partyId": "TNM",
    "uid": UID,
    "type": "RFID",
    "contractId": "DE8ACC12E46L89",
    "issuer": "i",
    "valid": True,
    "cacheMode": "ALWAYS",
}


def scrape(service: Service, accept: str = "") -> str:
    reply = service.request("GET", "/metrics", headers={"Accept": accept} if accept else {})
    assert reply.status == 200
    return reply.body.decode()


def families(service: Service) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(scrape(service))}


def value(service: Service, name: str, labels: Mapping[str, str] | None = None) -> float:
    """The sum of a metric's samples that have these labels."""
    return sum(
        sample.value
        for family in families(service).values()
        for sample in family.samples
        if sample.name == name and (labels or {}).items() <= sample.labels.items()
    )


def lookups(service: Service, route: str, outcome: str) -> float:
    return value(service, "csms_lookups_total", {"route": route, "outcome": outcome})


@pytest.fixture
def own(start_service: StartService, valkey: Valkey) -> Service:
    """A service that nobody else asks."""
    service = start_service(
        redis__url=valkey.url,
        lookup__stale_if_error="60",
        lookup__timeout="1",
        lookup__preload="false",
    )
    wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
    return service


class TestLookups:
    """`csms_lookups_total`: one more for each lookup, by its route and what became of it."""

    @pytest.mark.parametrize(
        ("route", "path", "spelled_otherwise"),
        [
            ("cs", f"/cs/{STATION}/auth", f"/cs/{STATION.replace('s', '%73')}/auth"),
            ("token", f"/token/{UID}", f"/token/{UID.lower()}"),
        ],
    )
    def test_read_once_and_hit_afterwards(
        self, own: Service, route: str, path: str, spelled_otherwise: str
    ) -> None:
        """However a record's id is spelled, and whichever protocol answers."""
        own.post(f"/cs/{STATION}", {"securityProfile": 2})
        own.post("/token", TOKEN)
        assert own.get(path).status == 200
        assert (lookups(own, route, "read"), lookups(own, route, "hit")) == (1, 0)
        assert own.get(path).status == 200
        assert own.get(spelled_otherwise).status == 200
        assert own.request("HEAD", f"/api/v0{path}").status == 200
        with own.raw() as connection:
            connection.send(b"GET /api/v0%b HTTP/1.1\nHost: h\n\n" % path.encode())
            connection.send(b"GET /api/v0%b HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
        assert (lookups(own, route, "read"), lookups(own, route, "hit")) == (1, 3)
        assert value(own, "csms_lookups_total") == 4

    def test_unknown(self, own: Service) -> None:
        """Asked for, remembered, or no id at all."""
        for path in ["/certificate/x", "/token/%00", "/cs/nobody/auth", "/cs/nobody/auth"]:
            assert own.get(path).status == 404
        told = {route: lookups(own, route, "unknown") for route in ("cs", "token", "certificate")}
        assert told == {"cs": 2, "token": 1, "certificate": 1}
        assert value(own, "csms_lookups_total") == 4

    def test_stale_and_error(self, own: Service, valkey: Valkey) -> None:
        """While Redis is away."""
        own.post(f"/cs/{STATION}", {"securityProfile": 2})
        own.get(f"/cs/{STATION}/auth")
        valkey.kill()
        wait_for(lambda: value(own, "csms_redis_up") == 0, "Redis is away")
        assert own.get(f"/cs/{STATION}/auth").status == 200
        assert own.get("/token/x").status == 503
        assert (lookups(own, "cs", "stale"), lookups(own, "token", "error")) == (1, 1)

    def test_reads_are_timed(self, own: Service) -> None:
        for number in range(5):
            own.get(f"/cs/nobody{number}/auth")
        assert value(own, "csms_redis_read_seconds_count") == 5
        assert value(own, "csms_redis_read_seconds_bucket", {"le": "+Inf"}) == 5
        assert 0 < value(own, "csms_redis_read_seconds_sum") < 5


class TestNearCache:
    """What is kept, and why it is dropped."""

    def test_its_size_and_what_changes(self, own: Service) -> None:
        """Redis' invalidations are counted by the service that did not write."""
        own.post(f"/cs/{STATION}", {"securityProfile": 2})
        own.get(f"/cs/{STATION}/auth")
        assert value(own, "csms_near_cache_entries") == 1
        assert 100 < value(own, "csms_near_cache_bytes") < 1000
        before = value(own, "csms_invalidations_total", {"of": "key"})
        own.post(f"/cs/{STATION}", {"securityProfile": 1})
        wait_for(
            lambda: value(own, "csms_invalidations_total", {"of": "key"}) > before, "invalidated"
        )
        assert value(own, "csms_near_cache_entries") == 0

    def test_evictions(self, start_service: StartService) -> None:
        service = start_service(lookup__cache_entries="2", lookup__preload="false")
        wait_for(lambda: value(service, "csms_ready") == 1, "ready")
        for number in range(5):
            service.post(f"/cs/{number}", {"securityProfile": 2})
            service.get(f"/cs/{number}/auth")
        assert value(service, "csms_near_cache_evictions_total") == 3
        assert value(service, "csms_near_cache_max_entries") == 2


class TestRedis:
    """Its masters, and the connections to them."""

    def test_up_and_down_and_up(self, own: Service, valkey: Valkey) -> None:
        redis = {"redis": valkey.url}
        assert value(own, "csms_redis_up", redis) == 1
        assert value(own, "csms_redis_leased", redis) == 1
        assert value(own, "csms_redis_role", redis | {"role": "master"}) == 1
        assert value(own, "csms_redis_connections_total") == 1
        valkey.kill()
        wait_for(lambda: value(own, "csms_redis_up", redis) == 0, "down")
        assert value(own, "csms_ready") == 0
        assert value(own, "csms_redis_leased", redis) == 0
        assert value(own, "csms_redis_role", redis | {"role": "unknown"}) == 1
        assert value(own, "csms_redis_connections_lost_total") == 1
        valkey.start()
        wait_for(lambda: value(own, "csms_redis_up", redis) == 1, "up")
        assert value(own, "csms_redis_connections_total") == 2


class TestWrites:
    """`csms_writes_total`, by what came of them."""

    def test_outcomes(self, own: Service, valkey: Valkey) -> None:
        own.post("/cs/a", {"securityProfile": 2})
        own.post("/cs/a", {"securityProfile": "no"})
        own.post("/nowhere", {})
        own.delete("/certificate/none")
        valkey.freeze()
        own.post("/token", TOKEN)
        valkey.thaw()
        valkey.kill()
        wait_for(lambda: value(own, "csms_redis_up") == 0, "down")
        own.post("/token", TOKEN)
        told = {
            (sample.labels["operation"], sample.labels["outcome"]): sample.value
            for sample in families(own)["csms_writes"].samples
            if sample.name == "csms_writes_total" and sample.value
        }
        assert told == {
            ("registerChargeStation", "done"): 1,
            ("registerChargeStation", "refused"): 1,
            ("none", "refused"): 1,
            ("deleteCertificate", "refused"): 1,
            ("setToken", "unknown"): 1,
            ("setToken", "unavailable"): 1,
        }
        assert value(own, "csms_write_seconds_count") == 6

    def test_none_is_a_number_too(self, own: Service) -> None:
        """So that the first that fails is a rise."""
        first = {"operation": "setToken", "outcome": "unknown"}
        labels = [sample.labels for sample in families(own)["csms_writes"].samples]
        assert first in labels


def test_connections(own: Service) -> None:
    accepted = value(own, "csms_connections_accepted_total")
    with own.raw(), own.raw():
        wait_for(lambda: value(own, "csms_connections_open") == 3, "both, and that of the scrape")
    wait_for(lambda: value(own, "csms_connections_open") == 1, "that of the scrape")
    assert value(own, "csms_connections_accepted_total") >= accepted + 3


def test_no_label_has_an_id_or_a_secret(start_service: StartService, valkey: Valkey) -> None:
    """Nor has anything else that a caller chooses."""
    url = valkey.url.replace("unix://", f"unix://default:{quote(SECRET)}@")
    service = start_service(redis__url=url)
    wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
    service.post(f"/cs/{STATION}", {"securityProfile": 2})
    service.get(f"/cs/{STATION}/auth")
    service.post("/token", TOKEN)
    service.get(f"/token/{UID}")
    service.post(f"/{STATION}", {})
    service.request(STATION.upper(), f"/api/v0/token/{UID}")
    for accept in ("", "application/openmetrics-text"):
        told = scrape(service, accept).lower()
        for secret in (SECRET, STATION, UID):
            assert secret.lower() not in told


def test_names_begin_alike_and_are_explained(own: Service) -> None:
    """But for those of the process and of Python, which go by these names everywhere."""
    for name, family in families(own).items():
        assert name.startswith(("csms_", "process_", "python_gc_"))
        assert family.documentation
    told = families(own)
    assert told["process_resident_memory_bytes"].samples[0].value > 1e6
    assert told["csms_build_info"].samples[0].labels["version"]


def test_openmetrics_for_who_asks(own: Service) -> None:
    told = scrape(own, "application/openmetrics-text; version=1.0.0")
    assert told.endswith("# EOF\n")
    parsed = openmetrics_families(told)  # type: ignore[no-untyped-call]
    assert "csms_lookups" in {family.name for family in parsed}


def test_a_histogram_counts_what_is_not_above_its_bounds() -> None:
    histogram = Histogram((1.0, 2.0))
    for seen in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(seen)
    assert histogram.buckets == [("1.0", 2), ("2.0", 4), ("+Inf", 5)]
    assert (histogram.count, histogram.total) == (5, 14.0)
    assert all(one[1] <= other[1] for one, other in pairwise(histogram.buckets))


async def test_the_lag_is_how_long_others_had_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_INTERVAL", 0.001)
    lag = LoopLag()
    running = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    held = asyncio.get_running_loop().time() + 0.3
    while asyncio.get_running_loop().time() < held:
        pass
    async with asyncio.timeout(10):
        while not lag.seconds.count:  # noqa: ASYNC110 there is no event to wait for
            await asyncio.sleep(0.001)
    running.cancel()
    assert lag.seconds.total > 0.25

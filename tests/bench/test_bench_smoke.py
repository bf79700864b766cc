import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from redis import Redis

from tests.conftest import Valkey

from . import auth_cost, bare_scan, header_cost, import_rate, metrics_cost, stations
from .servers import PEERS, wrk_install

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def _needs_wrk() -> None:
    if install := wrk_install():
        pytest.skip(f"wrk makes the benchmark's load and is missing: {install}")


_QUICK = ("--quick", "--no-assert")


def _run(*arguments: str, module: str = "tests.bench") -> str:
    run = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not run.returncode, run.stdout + run.stderr
    return run.stdout


@pytest.mark.usefixtures("_needs_wrk")
def test_a_case_is_measured_from_end_to_end(tmp_path: Path) -> None:
    """The service and the installed peers answer under load; the report has them all."""
    peers = [name for name in ("nginx", "aiohttp") if not PEERS[name].install]

    said = _run(
        *_QUICK, "--case", "hit", "--peers", ",".join(peers), "--json", str(tmp_path / "report")
    )
    report = orjson.loads((tmp_path / "report").read_bytes())

    rows = report["cases"]["hit"]
    assert {"csms-redis", *peers} == set(rows)
    assert all(
        row["medians"]["cpu_us"] > 0 and not row["medians"]["wrong"] for row in rows.values()
    )
    assert "CPU per lookup / nginx" in said


@pytest.mark.usefixtures("_needs_wrk")
def test_a_new_connection_for_each_lookup_is_one(tmp_path: Path) -> None:
    """Wrk opens a connection for each request that asks to close the one before."""
    _run(*_QUICK, "--case", "new-connection", "--peers", "", "--json", str(tmp_path / "report"))

    report = orjson.loads((tmp_path / "report").read_bytes())

    assert report["cases"]["new-connection"]["csms-redis"]["medians"]["connections"] >= 0.99


@pytest.mark.usefixtures("_needs_wrk")
def test_a_write_is_one_and_is_measured_beside_a_plain_handler(tmp_path: Path) -> None:
    """Redis runs commands for each; both answer 201."""
    arguments = ("--case", "write", "--peers", "aiohttp")
    _run(*_QUICK, *arguments, "--json", str(tmp_path / "report"))

    rows = orjson.loads((tmp_path / "report").read_bytes())["cases"]["write"]

    assert {"csms-redis", "aiohttp"} == set(rows)
    assert all(
        row["medians"]["commands"] >= 1 and not row["medians"]["wrong"] for row in rows.values()
    )


def test_a_client_that_closes_itself_is_measured(tmp_path: Path) -> None:
    """Each lookup has a connection that the service would have kept."""
    arguments = ("--case", "new-connection-kept", "--peers", "")
    _run(*_QUICK, *arguments, "--json", str(tmp_path / "report"))

    row = orjson.loads((tmp_path / "report").read_bytes())["cases"]["new-connection-kept"]

    medians = row["csms-redis"]["medians"]
    assert medians["connections"] >= 1
    assert not medians["wrong"]


def test_the_bare_script_reads_every_station(valkey: Valkey) -> None:
    """And no other key."""
    with Redis(unix_socket_path=valkey.socket) as redis, socket.socket(socket.AF_UNIX) as bare:
        stations.store(redis, first=0, count=2500)
        redis.set("other", "")
        bare.connect(valkey.socket)
        assert bare_scan.scan(bare) == 2500


@pytest.mark.usefixtures("_needs_wrk")
def test_each_station_comes_over_tls_of_its_own(tmp_path: Path) -> None:
    """The service and nginx answer every one of them."""
    peer = "" if PEERS["nginx"].install else "nginx"
    arguments = ("--case", "new-tls-connection", "--peers", peer)
    _run(*_QUICK, *arguments, "--json", str(tmp_path / "report"))

    rows = orjson.loads((tmp_path / "report").read_bytes())["cases"]["new-tls-connection"]

    assert {"csms-redis", peer} - {""} == set(rows)
    assert all(
        row["medians"]["connections"] >= 1 and not row["medians"]["wrong"] for row in rows.values()
    )


@pytest.mark.slow
@pytest.mark.usefixtures("_needs_wrk")
def test_sizes_are_measured() -> None:
    """Records of each kind are stored and connections opened, and each has a size."""
    counts = ("--stations=500", "--tokens=500", "--certificates=50", "--connections=200")
    said = _run(*counts, module="tests.bench.sizes")

    for kind, least in {"stations": 150, "tokens": 250, "certificates": 2500}.items():
        found = re.search(rf"^ +{kind} +\d+ +([\d,]+) +([\d,]+) +[\d,]+ *$", said, re.MULTILINE)
        assert found, said
        assert all(int(size.replace(",", "")) > least for size in found.groups()), said
    for figure in ("kB for each with TLS", "µs for one that is read together with others"):
        assert re.search(rf"^ +[1-9][\d.]* {figure}$", said, re.MULTILINE), said


async def test_the_cost_of_counting_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code without counting answers as the other does, and counts nothing."""
    monkeypatch.setattr(metrics_cost, "HITS", 100)
    monkeypatch.setattr(metrics_cost, "ROUNDS", 2)
    assert len(await metrics_cost.measure()) == 2


async def test_the_cost_of_access_control_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every lookup is a hit, with credentials and without."""
    monkeypatch.setattr(auth_cost, "HITS", 100)
    monkeypatch.setattr(auth_cost, "ROUNDS", 2)
    assert len(await auth_cost.measure()) == 2


async def test_the_cost_of_new_headers_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every lookup is a hit, whether its headers were seen before or not."""
    monkeypatch.setattr(header_cost, "HITS", 100)
    monkeypatch.setattr(header_cost, "ROUNDS", 2)
    assert len(await header_cost.measure()) == 2


@pytest.mark.usefixtures("_needs_wrk")
def test_the_cost_of_listing_who_is_refused_is_measured() -> None:
    """Both services answer each lookup as they should, the one that notes nothing as well."""
    arguments = ("--rounds=1", "--seconds=1", "--case=unknown", "--no-assert")
    said = _run(*arguments, module="tests.bench.refused_cost")

    assert "; 0 wrong; " in said


@pytest.mark.skipif(not shutil.which("redis-cli"), reason="apt-get install redis-tools")
async def test_the_rate_of_an_import_is_measured() -> None:
    """It and redis-cli store the same, which is checked."""
    writers = (import_rate.import_, import_rate.pipe)
    (runs,) = await import_rate.measure(writers, count=500, rounds=1)
    assert all(run.seconds > 0 and run.mib > 1 for run in runs)

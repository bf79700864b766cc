import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from . import metrics_cost
from .servers import PEERS, wrk_install

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def _needs_wrk() -> None:
    if install := wrk_install():
        pytest.skip(f"wrk makes the benchmark's load and is missing: {install}")


def _run(*arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick", "--no-assert", *arguments],
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

    said = _run("--case", "hit", "--peers", ",".join(peers), "--json", str(tmp_path / "report"))
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
    _run("--case", "new-connection", "--peers", "", "--json", str(tmp_path / "report"))

    report = orjson.loads((tmp_path / "report").read_bytes())

    assert report["cases"]["new-connection"]["csms-redis"]["medians"]["connections"] >= 0.99


async def test_the_cost_of_counting_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code without counting answers as the other does, and counts nothing."""
    monkeypatch.setattr(metrics_cost, "HITS", 100)
    monkeypatch.setattr(metrics_cost, "ROUNDS", 2)
    assert len(await metrics_cost.measure()) == 2

"""The registry's and the lookups' suites, and the contract's, on each server that Redis can be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.topologies.software import EACH, VALKEY, Software

SUITES = (
    "tests/registry",
    "tests/redis/acl",
    "tests/redis/test_client.py",
    "tests/redis/test_node.py",
    "tests/redis/test_redirected_writes.py",
    "tests/lookup/test_clients.py",
    "tests/lookup/test_coherence.py",
    "tests/lookup/faults",
    "tests/lookup/reading/test_masters.py",
    "tests/lookup/reading/test_redirections.py",
    "tests/lookup/test_unknown_flood.py",
    "tests/check/test_rights.py",
    "tests/api",
)
ROOT = Path(__file__).parents[1]
OTHERS = [one for one in EACH if one is not VALKEY]  # the ordinary run is on Valkey


@pytest.mark.parametrize("suite", SUITES)
def test_there_is_each_suite(suite: str) -> None:
    """In the ordinary run, which has not the others' servers."""
    assert (ROOT / suite).exists()


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.parametrize("software", OTHERS, ids=lambda software: software.name)
@pytest.mark.parametrize("suite", SUITES)
def test_on_each_server(software: Software, suite: str) -> None:
    """As in the ordinary run, on Valkey."""
    assert software.command
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", suite],
        cwd=ROOT,
        env={**os.environ, "TEST_SERVER": software.name},
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    *_, summary = result.stdout.splitlines() or [""]
    print(f"{software.name}, {suite}: {summary}")  # noqa: T201 the report, with pytest -rP
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr

"""Half an hour of faults: `pytest -m slow tests/faults/test_soak.py -k cluster`, or `-k sentinel`.

`SOAK_MINUTES` makes it shorter; the report of a whole run is kept in `soak-report.md`. `SOAK_NOTE`
is a sentence for that, of the machine.
"""

import os

import pytest

from tests.support.soak.faults import CLUSTER_FAULTS, SENTINEL_FAULTS
from tests.support.soak.report import WHOLE
from tests.support.soak.run import soak
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.sentinels import SentinelGroup

MINUTES = float(os.environ.get("SOAK_MINUTES", f"{WHOLE}"))

pytestmark = pytest.mark.slow


def test_cluster() -> None:
    """Three masters, each with a replica."""
    soak(ClusterGroup(), CLUSTER_FAULTS, topology="Cluster", wait_replicas=1, minutes=MINUTES)


def test_sentinel() -> None:
    """A master and two replicas, watched by three sentinels."""
    soak(SentinelGroup(), SENTINEL_FAULTS, topology="Sentinel", wait_replicas=2, minutes=MINUTES)

"""Clusters that have heard of three masters, and time for a look."""

import pytest

from csms_redis.redis.cluster import Cluster
from tests.support.cluster_nodes import SEED, said, three


@pytest.fixture
def cluster() -> Cluster:
    """One that has heard of a, b, c and d."""
    cluster = Cluster([SEED], timeout=1)
    assert cluster._learn(said(three()))
    return cluster


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a look last as long as a busy machine needs."""
    monkeypatch.setattr("csms_redis.redis.cluster._PHASE", 60.0)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch, patient: None) -> None:
    """Have no second node asked because the first is slow."""
    del patient
    monkeypatch.setattr("csms_redis.redis.cluster._NEXT", 30.0)

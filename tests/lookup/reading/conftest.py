"""A cluster of two masters."""

import pytest

from tests.support.two_masters import Cluster


@pytest.fixture
async def cluster() -> Cluster:
    return Cluster()

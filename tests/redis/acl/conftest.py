"""One Redis for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.support.topologies.standalone import Standalone


@pytest.fixture(scope="module")
def one() -> Iterator[Standalone]:
    with Standalone() as running:
        yield running


@pytest.fixture
def empty(one: Standalone) -> Standalone:
    """Without records."""
    one.node.call("FLUSHALL")
    return one

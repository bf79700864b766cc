"""A page of a listing has what was asked for, unless Redis would work for long to find it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.walking import pages
from tests.conftest import Service
from tests.support.listed import add, add_all, flush


@pytest.fixture
def many_tokens(redis: Any) -> Iterator[None]:
    """So many tokens that what is seldom among them is found by looking at all of them."""
    flush(redis)
    token = {"countryCode": "DE", "valid": True}
    for start in range(0, 50_000, 1000):
        numbers = range(start, start + 1000)
        add_all(redis, {f"token:{number}": token | {"uid": str(number)} for number in numbers})
    yield
    flush(redis)


@pytest.mark.usefixtures("many_tokens")
def test_few_among_many_are_on_one_page(service: Service, redis: Any) -> None:
    """Three stations among 50,000 tokens, and the few tokens that a filter lets through."""
    for number in range(3):
        add(redis, f"cs:few-{number}", {"securityProfile": "2"})
        redis.hset(f"token:{number * 7000}", "valid", "false")

    stations = list(pages(service, "/cs", {"limit": 100}))
    tokens = list(pages(service, "/token", {"limit": 100, "valid": "false"}))

    assert [len(page.json) for page in stations] == [3]
    assert sum(len(page.json) for page in tokens) == 3
    assert len(tokens) < 6  # 50,000 records are read: more than one page's time


@pytest.mark.parametrize("limit", [1, 7, 20, 100])
def test_pages_are_full(service: Service, stations: dict[str, int], limit: int) -> None:
    """Each but the last has what was asked for, with and without filters, among other records."""
    queries: list[dict[str, Any]] = [{}, {"securityProfile": 1}, {"csIdPrefix": "list-2"}]
    for query in queries:
        sizes = [len(page.json) for page in pages(service, "/cs", query | {"limit": limit})]
        assert set(sizes[:-1]) <= {limit}
        assert len(sizes) <= len(stations) / limit + 1


@pytest.mark.usefixtures("many_tokens")
def test_what_redis_does_for_a_page_is_bounded(service: Service, redis: Any) -> None:
    """In small steps, so that lookups are answered between two of them."""
    redis.config_resetstat()

    assert service.get("/cs?limit=100").json == []

    assert 160 <= redis.info("commandstats")["cmdstat_scan"]["calls"] < 200  # 300 keys each


@pytest.mark.usefixtures("many_tokens")
def test_a_search_by_prefix_takes_larger_steps(service: Service, redis: Any) -> None:
    """A person waits for it: a million records are a thousand steps."""
    redis.config_resetstat()

    assert service.get("/cs?limit=100&csIdPrefix=none").json == []

    assert 50 <= redis.info("commandstats")["cmdstat_scan"]["calls"] < 70  # 1,000 keys each

"""The stores that the tests of this folder are run on."""

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis, RedisCluster

from tests.conftest import Valkey, running_valkey
from tests.support.stores import Faulty, Proxy, Store, connected, fake_store, store_at, valkey_store
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.sentinels import SentinelGroup


@pytest.fixture(scope="module")
def module_valkey() -> Iterator[Valkey]:
    """One Valkey for the tests that break nothing."""
    with running_valkey() as running:
        yield running


@pytest.fixture(scope="module")
def module_sentinels() -> Iterator[SentinelGroup]:
    with SentinelGroup() as running:
        yield running


@pytest.fixture(scope="module")
def module_cluster() -> Iterator[ClusterGroup]:
    with ClusterGroup() as running:
        yield running


@pytest.fixture(params=["fakeredis", "valkey", "sentinel", "cluster"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty store."""
    if request.param == "fakeredis":
        making = fake_store()
    elif request.param == "valkey":
        making = valkey_store(request.getfixturevalue("module_valkey"))
    elif request.param == "sentinel":
        group: SentinelGroup = request.getfixturevalue("module_sentinels")
        host, port = group.master().address
        making = store_at(group.url, Redis(host=host, port=port))
    else:
        cluster: ClusterGroup = request.getfixturevalue("module_cluster")
        host, port = cluster.nodes[0].address
        making = store_at(cluster.url, RedisCluster(host=host, port=port))
    async with making as made:
        await made.other.flushall()
        yield made


@pytest.fixture
async def faulty(valkey: Valkey) -> AsyncIterator[Faulty]:
    """A client with one connection, a time-out of 0.3 s, behind a proxy."""
    async with (
        Proxy(valkey.socket) as proxy,
        Redis(unix_socket_path=valkey.socket) as other,
        connected(proxy.socket, timeout=0.3, max_connections=1) as client,
    ):
        yield Faulty(client, proxy, other)

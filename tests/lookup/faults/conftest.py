"""A service whose connection to Redis has faults."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from redis import Redis

from tests.conftest import running_service, running_valkey, wait_for
from tests.support.faulty_site import Site
from tests.support.redis_proxy import redis_proxy


@pytest.fixture
def site() -> Iterator[Site]:
    with ExitStack() as running:
        valkey = running.enter_context(running_valkey("--dbfilename", "dump.rdb"))
        admin = running.enter_context(Redis(unix_socket_path=valkey.socket))
        proxy = running.enter_context(redis_proxy(valkey.socket))
        service = running.enter_context(
            running_service(redis__url=proxy.url, lookup__timeout="0.25", lookup__preload="false")
        )
        site = Site(valkey, admin, proxy, service)
        site.store()
        wait_for(site.is_proved, "the service reaches Redis")
        yield site
        assert "Traceback" not in service.log
        assert not service.events("unexpected error")

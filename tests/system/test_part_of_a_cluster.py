"""Readiness while a shard of a cluster is away: a partial outage never becomes a whole one."""

import re
from http import HTTPStatus

import pytest

from tests.conftest import Reply, Service, running_service, wait_for
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.node import Node

STATIONS = [f"cs{number}" for number in range(30)]
WITHOUT_CACHE = {"lookup__cache_entries": "0"}


def readiness(service: Service) -> Reply:
    return service.request("GET", "/health/ready")


def ready(service: Service) -> bool:
    return readiness(service).status == HTTPStatus.OK


def unread(service: Service) -> float:
    text = service.request("GET", "/metrics").body.decode()
    (value,) = re.findall(r"^csms_redis_unread_ratio (\S+)$", text, re.MULTILINE)
    return float(value)


def fill(cluster: ClusterGroup) -> dict[str, Node]:
    """Store every station; which master has each."""
    masters = {station: cluster.master_of(f"cs:{station}") for station in STATIONS}
    for station, master in masters.items():
        master.call("HSET", f"cs:{station}", "securityProfile", "2")
    return masters


def see_the_others_served(masters: dict[str, Node], service: Service, away: Node) -> None:
    here = [station for station, master in masters.items() if master is not away]
    assert 0 < len(here) < len(masters)
    for station in here:
        assert service.get(f"/cs/{station}/auth").status == HTTPStatus.OK


def is_whole(service: Service) -> bool:
    return bool(readiness(service).json["components"]["redis"] == "OK")


def see_what_is_told(service: Service) -> None:
    redis = str(readiness(service).json["components"]["redis"])
    assert re.match(r"3\d% of the records cannot be read: ", redis)
    assert 0.3 < unread(service) < 0.4


@pytest.mark.parametrize("settings", [{}, WITHOUT_CACHE], ids=["cache", "no cache"])
def test_a_shard_dies(settings: dict[str, str]) -> None:
    """Who runs stays ready, who starts becomes ready; not so when all are away."""
    with ClusterGroup(replicas=0, full_coverage=False) as cluster:
        masters = fill(cluster)
        with running_service(**cluster.settings, **settings) as running:
            wait_for(lambda: ready(running), "ready")
            assert unread(running) == 0
            away = cluster.masters()[1]
            others = [node for node in cluster.masters() if node is not away]
            away.kill()

            def noticed() -> bool:
                reply = readiness(running)
                assert reply.status == HTTPStatus.OK
                return bool(reply.json["components"]["redis"] != "OK")

            wait_for(noticed, "it is noticed")
            see_what_is_told(running)
            wait_for(
                lambda: "fail" in str(others[0].call("CLUSTER", "NODES")).replace("fail?", ""),
                "the cluster says that it is down",
            )
            with running_service(**cluster.settings, **settings) as fresh:
                wait_for(lambda: ready(fresh), "ready", seconds=9)
                see_what_is_told(fresh)
                assert fresh.events("ready with a part of Redis")
                for service in (running, fresh):
                    see_the_others_served(masters, service, away)
                    assert ready(service)
                for node in others:
                    node.kill()
                wait_for(lambda: unread(fresh) == 1, "nothing is read")
                if settings:
                    wait_for(lambda: not ready(fresh), "not ready")
                else:
                    see_the_others_served(masters, fresh, away)
                    assert ready(fresh)
                for node in (away, *others):
                    node.start()
                for service in (running, fresh):
                    wait_for(lambda s=service: is_whole(s), "all is read")  # type: ignore[misc]
                    assert ready(service)
                    assert unread(service) == 0


def test_a_shard_that_only_this_process_misses_is_waited_for() -> None:
    """The cluster believes that it is there: others may reach it, so for a while it is tried."""
    with ClusterGroup(replicas=0, full_coverage=False, node_timeout=60000) as cluster:
        masters = fill(cluster)
        away = cluster.masters()[1]
        away.freeze()
        with running_service(**cluster.settings) as fresh:
            wait_for(lambda: len(fresh.events("Redis reached")) == 2, "the others are reached")
            assert not ready(fresh)
            assert not fresh.events("ready with a part of Redis")
            wait_for(lambda: ready(fresh), "ready")
            see_what_is_told(fresh)
            see_the_others_served(masters, fresh, away)
            away.thaw()
            wait_for(lambda: unread(fresh) == 0, "all is read")

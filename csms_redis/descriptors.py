"""How many connections the limit of descriptors leaves room for, beside what else needs one."""

import resource
from collections.abc import Collection
from typing import Final

import structlog

from csms_redis.lookup.front.connections import Connections
from csms_redis.redis.topology import Topology
from csms_redis.settings import Settings

_MOST: Final = 2**20
_OTHERS: Final = 64
"""For the listener, files, libraries, and some to spare."""

_BESIDE_WRITES: Final = 3
"""Connections to a master: the lookups', the one that takes its place, the layout's."""

_LEAST_SHARE: Final = 1 / 4
"""Of the descriptors that are connections' in any case."""

_log = structlog.get_logger()


def raise_limit() -> int:
    """Raise the limit of descriptors as far as it goes; how many there are then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Descriptors:
    """Shares the descriptors out between connections from clients and those to Redis."""

    def __init__(self, topology: Topology, settings: Settings) -> None:
        """Raise the limit, and leave room for the masters that there will be."""
        self._topology = topology
        self._settings = settings
        self._count = raise_limit()
        self._told = 0

    @property
    def connections(self) -> int:
        """How many clients may be connected now."""
        masters = max(1, len(self._topology.masters))
        for_redis = (
            masters * (self._settings.redis.max_connections + _BESIDE_WRITES)
            + self._topology.own_connections
        )
        least = max(1, int(self._count * _LEAST_SHARE))
        left = self._count - _OTHERS - for_redis
        if left < least and for_redis > self._told:
            self._told = for_redis
            _log.warning(
                "the limit of descriptors is low: raise it (ulimit -n, LimitNOFILE)",
                descriptors=self._count,
                for_redis=for_redis,
                for_clients=least,
            )
        return min(self._settings.server.max_connections or self._count, max(least, left))

    def limit(self, connections: Connections) -> None:
        """Let there be as many connections as there is room for, also when masters come."""

        def share_out(_slots: Collection[int] | None = None) -> None:
            connections.max_connections = self.connections

        share_out()
        self._topology.changed.append(share_out)

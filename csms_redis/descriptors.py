"""How many clients may be connected, by the limit of descriptors and what else needs one."""

import resource
from collections.abc import Collection
from typing import Final

import structlog

from csms_redis.lookup.front.connections import Connections
from csms_redis.redis.topology import Topology
from csms_redis.settings import Settings

_MOST: Final = 2**20
_OTHERS: Final = 64
"""Descriptors for the listener, files and libraries, and some to spare."""

_BESIDE_WRITES: Final = 3
"""Connections to a master beside the writes': the lookups', its replacement, the layout's."""

_LEAST_SHARE: Final = 1 / 4
"""The share of the descriptors that clients' connections get in any case."""

_log = structlog.get_logger()


def raise_limit() -> int:
    """Raise the limit of descriptors as far as it goes.

    Returns:
        The limit then.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Descriptors:
    """Shares the descriptors between clients' connections and those to Redis.

    It says how many clients may be connected; `Connections` keeps their number within that.
    """

    def __init__(self, topology: Topology, settings: Settings) -> None:
        """Raise the limit.

        Args:
            topology: the masters that connections are needed to.
            settings: the limits that the operator has set.
        """
        self._topology = topology
        self._settings = settings
        self._count = raise_limit()
        self._warned_for = 0

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
        if left < least and for_redis > self._warned_for:
            self._warned_for = for_redis
            _log.warning(
                "the limit of descriptors is low: raise it (ulimit -n, LimitNOFILE)",
                descriptors=self._count,
                for_redis=for_redis,
                for_clients=least,
            )
        return min(self._settings.server.max_connections or self._count, max(least, left))

    def limit(self, connections: Connections) -> None:
        """Keep the limit of a registry right, also when there are more masters later."""

        def share_out(_slots: Collection[int] | None = None) -> None:
            connections.max_connections = self.connections

        share_out()
        self._topology.changed.append(share_out)

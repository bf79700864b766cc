"""Counts how lookups end, in plain numbers that a scrape of `/metrics` reads."""

from csms_redis.contract.operations import BASE_PATH
from csms_redis.lookup.targets import ROUTES
from csms_redis.telemetry.metrics import REDIS_SECONDS, Histogram

ROUTE_AT = len(BASE_PATH) + 2
"""The index of the byte in a lookup's target that tells which of the three routes it is.

A list that is indexed by that byte is the cheapest way to count by route.
"""

LETTER_OF = {route.resource: route.before[ROUTE_AT] for route in ROUTES}
"""That byte, by the kind of record."""

OUTCOMES = ("hit", "read", "stale", "unknown", "error")
"""How a lookup ends: answered from the near cache; by Redis; with what may have changed since,
because Redis is away or nobody else confirms its master; with 404; with 503."""


class LookupCounts:
    """Counts lookups by how they ended, and what happened to the connections that answer them."""

    __slots__ = (
        "connected",
        "error",
        "flushes",
        "hit",
        "invalidations",
        "lost",
        "read",
        "read_seconds",
        "stale",
        "unknown",
    )

    def __init__(self) -> None:
        """Start with nothing."""
        # each by the byte at ROUTE_AT
        self.hit = [0] * 256
        self.read = [0] * 256
        self.stale = [0] * 256
        self.unknown = [0] * 256
        self.error = [0] * 256
        self.read_seconds = Histogram(REDIS_SECONDS)  # from the lookup to Redis' reply
        self.invalidations = 0  # keys that Redis said have changed
        self.flushes = 0  # times that it said that any may have
        self.connected = 0  # read connections that were made
        self.lost = 0

    def by_route(self) -> dict[tuple[str, str], int]:
        """All lookups, by their route's name and their outcome."""
        return {
            (route.resource.name, outcome): getattr(self, outcome)[route.before[ROUTE_AT]]
            for route in ROUTES
            for outcome in OUTCOMES
        }


assert len({route.before[ROUTE_AT] for route in ROUTES}) == len(ROUTES)  # noqa: S101 seen at start

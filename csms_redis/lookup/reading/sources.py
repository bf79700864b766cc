"""A connection to a master that is read through, and what was learned through it."""

from math import inf

from csms_redis.lookup.known.near_cache import NearCache
from csms_redis.lookup.known.unknown_cache import UnknownCache
from csms_redis.lookup.reading.lifetimes import Lifetimes
from csms_redis.lookup.reading.read_connection import ReadConnection
from csms_redis.redis.address import Address


class Source:
    """A connection to a master, and what was learned through it.

    It only holds these together: `Lookups` fills and empties it, and a `Link` renews its lease.
    What was learned may be served as fresh until `lease_until`. After that, and once the connection
    is lost, it is stale: served while Redis cannot be read.
    """

    __slots__ = (
        "confirmed_until",
        "connection",
        "fresh",
        "generation",
        "lease_until",
        "lifetimes",
        "master",
        "proved_at",
        "unknown",
    )

    def __init__(
        self,
        master: Address,
        connection: ReadConnection,
        cache: NearCache,
        unknown: UnknownCache,
        lifetimes: Lifetimes | None,
    ) -> None:
        """Begin with nothing learned and no lease."""
        self.master = master
        self.lifetimes = lifetimes
        self.connection = connection
        self.generation = cache.begin()
        self.fresh = self.generation.entries
        self.unknown = unknown
        self.lease_until = 0.0  # what was learned may be served until then (monotonic seconds)
        self.proved_at = 0.0  # when the probe left that last proved the lease (monotonic seconds)
        # from then on (monotonic seconds) what it says may be the word of a former master
        self.confirmed_until = inf

    @property
    def commands(self) -> int:
        """How many commands a read takes now: more ask for the time left, where any has one."""
        lifetimes = self.lifetimes
        return 1 if lifetimes is None else 1 + lifetimes.volatile + lifetimes.fields_volatile

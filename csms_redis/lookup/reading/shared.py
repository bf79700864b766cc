"""What the links to all masters have in common."""

from dataclasses import dataclass

from csms_redis.lookup.lookups import Lookups
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.data_set import DataSet
from csms_redis.registry.layout import Layout
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the `Supervisor` gives each `Link`."""

    lookups: Lookups
    """Told of connections, leases and invalidations."""
    prefix: bytes
    """Of every key."""
    timeout: float
    """Seconds to connect, and then to log in."""
    layout: Layout | None = None
    """Asked before anything is looked up, and told when it may have changed."""
    data_set: DataSet | None = None
    """Told when its identity can be written, or is missing."""

    @property
    def tracked(self) -> list[bytes]:
        """What the keys begin with of whose changes Redis is to tell."""
        records = [kind.key(self.prefix, "") for kind in (STATION, TOKEN, CERTIFICATE)]
        beside = [each.key for each in (self.layout, self.data_set) if each is not None]
        return [*records, *beside]

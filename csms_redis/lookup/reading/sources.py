"""The sources of answers: the connections to the masters, and what was learned through each."""

from math import inf
from time import monotonic

from csms_redis.lookup.counts import LETTER_OF, ROUTE_AT
from csms_redis.lookup.known.near_cache import NearCache
from csms_redis.lookup.known.unknown_cache import UnknownCache
from csms_redis.lookup.known.whole import EVICTED, Whole
from csms_redis.lookup.reading.lifetimes import Lifetimes
from csms_redis.lookup.reading.read_connection import ReadConnection
from csms_redis.redis.address import Address
from csms_redis.redis.own_slots import OwnSlots
from csms_redis.redis.topology import Topology


class Source:
    """A connection to a master, and what was learned through it.

    It only holds the two together: `SourceEvents` makes a source and renews its lease, `Flights`
    fills it.
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
        "own_slots",
        "proved_at",
        "unasked",
        "unknown",
        "wholes",
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
        self.generation = cache.begin(self._evicted)
        self.fresh = self.generation.entries
        # by the byte at ROUTE_AT: how much is known of each kind of record
        self.wholes = {letter: Whole(self.fresh) for letter in LETTER_OF.values()}
        self.own_slots: OwnSlots | None = None  # as the master of a cluster says
        self.unasked = 0  # reads under way that nobody has asked for
        self.unknown = unknown
        self.lease_until = 0.0  # what was learned may be served until then (monotonic seconds)
        self.proved_at = 0.0  # when the probe left that last proved the lease (monotonic seconds)
        # from then on (monotonic seconds) what it says may be the word of a former master
        self.confirmed_until = inf

    @property
    def commands(self) -> int:
        """How many commands a read takes: more than one while records may have a time to live."""
        lifetimes = self.lifetimes
        return 1 if lifetimes is None else 1 + lifetimes.volatile + lifetimes.fields_volatile

    def end_wholes(self, problem: str) -> None:
        """Take note that of no kind all records are known; a scan under way is in vain.

        Args:
            problem: why, for the operator.
        """
        for whole in self.wholes.values():
            whole.end(problem)

    def doubt_wholes(self, problem: str) -> None:
        """Take note that of no kind all records are known; a scan under way goes on.

        Args:
            problem: why, for the operator.
        """
        for whole in self.wholes.values():
            whole.doubted(problem)

    def _evicted(self, target: bytes) -> None:
        self.wholes[target[ROUTE_AT]].doubted(EVICTED)


class Sources:
    """The present sources, one for each master that can be read.

    It finds the source of a key, and what is known of a record by any of them. It neither connects
    nor reads.
    """

    __slots__ = ("_by_master", "_cache", "_stale_if_error", "_topology", "all")

    def __init__(self, topology: Topology, cache: NearCache, stale_if_error: float) -> None:
        """Begin with none.

        Args:
            topology: says which master has a key.
            cache: the answers; each source fills a generation of it.
            stale_if_error: seconds after the last good probe in which a stale answer may be served.
        """
        self.all: tuple[Source, ...] = ()
        """All sources: a tuple, which a hit looks through, and which each change replaces."""
        self._by_master: dict[Address, Source] = {}
        self._topology = topology
        self._cache = cache
        self._stale_if_error = stale_if_error

    def add(self, source: Source) -> None:
        """Take a source up: what belongs to its master is read through it from now on."""
        self._by_master[source.master] = source
        self.all = tuple(self._by_master.values())

    def remove(self, source: Source) -> None:
        """Read through a source no more."""
        del self._by_master[source.master]
        self.all = tuple(self._by_master.values())

    def at(self, master: Address) -> Source | None:
        """The source that reads from a server; None where none does."""
        return self._by_master.get(master)

    @property
    def missing(self) -> list[Address]:
        """The masters that cannot be read."""
        return [master for master in self._topology.masters if master not in self._by_master]

    def of_key(self, key: bytes) -> Source | None:
        """The source of a key's master; None where that cannot be read."""
        master = self._topology.owner(key)
        for source in self.all:
            # to hash an address takes longer than all else here; it nearly always is the very one
            if source.master is master:
                return source
        return None if master is None else self._by_master.get(master)

    def through(self, connection: ReadConnection) -> Source | None:
        """Find the source that has this connection; None if it was removed."""
        for source in self.all:
            if source.connection is connection:
                return source
        return None

    def last_known(self, target: bytes, now: float) -> bytes | None:
        """Find the answer that may be served while Redis cannot be read; None if there is none.

        Args:
            target: the record's canonical target.
            now: monotonic seconds.
        """
        kept = self._cache.stale(target) if self._cache.old else None
        for source in self.all:
            if kept is None and now - source.proved_at <= self._stale_if_error:
                kept = source.fresh.get(target)
        return kept

    def forget(self, target: bytes) -> None:
        """Forget the answer for a record, and also that there is no such record."""
        self._cache.drop(target)
        for source in self.all:
            source.unknown.drop(target)

    def open(self, target: bytes, key: bytes) -> bool:
        """Make the id of a record open (`known.whole`), if all records of its kind were known.

        Args:
            target: the record's canonical target.
            key: the record's key.

        Returns:
            Whether the record is to be read again, so that all records are known again.
        """
        source = self.of_key(key)
        return source is not None and source.wholes[target[ROUTE_AT]].changed(target)

    @property
    def serve_stale(self) -> bool:
        """Whether any answer may be served while Redis cannot be read."""
        oldest = monotonic() - self._stale_if_error
        return self._cache.has_stale() or any(
            source.fresh and source.proved_at >= oldest for source in self.all
        )

    @property
    def unknown_entries(self) -> int:
        """How many ids are remembered to have no record."""
        return sum(len(source.unknown.until) for source in self.all)

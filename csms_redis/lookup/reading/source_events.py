"""Keeps what is known true: connections come and go, keys change, slots move."""

import asyncio
from collections.abc import Collection, Iterable
from math import inf

from csms_redis.lookup import targets
from csms_redis.lookup.counts import ROUTE_AT, LookupCounts
from csms_redis.lookup.known.near_cache import NearCache
from csms_redis.lookup.known.unknown_cache import UnknownCache
from csms_redis.lookup.known.whole import MAY_HAVE_CHANGED, MOVING
from csms_redis.lookup.reading.dispatch import Dispatch
from csms_redis.lookup.reading.flight import Attached
from csms_redis.lookup.reading.flights import Flights
from csms_redis.lookup.reading.following import Following
from csms_redis.lookup.reading.lifetimes import Lifetimes
from csms_redis.lookup.reading.read_connection import ReadConnection
from csms_redis.lookup.reading.sources import Source, Sources
from csms_redis.redis.address import Address
from csms_redis.redis.own_slots import OwnSlots
from csms_redis.redis.topology import Topology
from csms_redis.settings import LookupSettings

_CHUNK, _PAUSE = 500, 0.005  # records looked at in one go, and seconds between two
_REREAD = 100  # records read again in one go


class SourceEvents:
    """Changes what is known when something happens to a source or to a record.

    | event | what was learned through the source |
    |---|---|
    | `connected` | nothing yet, and nothing is fresh before the first `renew` |
    | `renew` | fresh until the lease's end |
    | the lease's end | may be past: Redis is asked first |
    | `lost` | stale: served while Redis cannot be read, and read again (`reread_stale`) |
    | `invalidated`, `forget` | of these records nothing is known, and their flights are detached |
    | `invalidated` with None | nothing is known any more |
    | slots were moved | `drop_disowned` |

    It does not find these events out: a `Link` and the `Supervisor` do.
    """

    def __init__(  # noqa: PLR0913 each is a part of what is known
        self,
        settings: LookupSettings,
        *,
        sources: Sources,
        dispatch: Dispatch,
        attached: Attached,
        flights: Flights,
        cache: NearCache,
        counts: LookupCounts,
        topology: Topology,
        prefix: bytes,
    ) -> None:
        """Begin with no source.

        Args:
            settings: the sizes and times.
            sources: the present sources; they are added and removed here.
            dispatch: the flights that wait for a source.
            attached: the flights that others may join.
            flights: begins the reads of what is stale.
            cache: the answers.
            counts: counts connections, losses and invalidations.
            topology: says which master has a key.
            prefix: what every key begins with.
        """
        self._settings = settings
        self._sources = sources
        self._dispatch = dispatch
        self._attached = attached
        self._flights = flights
        self._cache = cache
        self._counts = counts
        self._topology = topology
        self._prefix = prefix
        self.following = Following(self._reread_open)
        """Reads again what has changed."""
        self.reconnected = asyncio.Event()
        """Is set whenever there is a new connection."""

    def connected(
        self, master: Address, connection: ReadConnection, lifetimes: Lifetimes | None = None
    ) -> None:
        """Read what belongs to a master through this connection from now on.

        Args:
            master: the master.
            connection: a connection whose handshake and first probe have succeeded.
            lifetimes: which of its records may end by themselves; None if no answer is kept.
        """
        settings = self._settings
        unknown = UnknownCache(
            max_entries=settings.unknown_entries if self._cache.max_entries > 0 else 0,
            ttl=settings.unknown_ttl,
        )
        self._sources.add(Source(master, connection, self._cache, unknown, lifetimes))
        self._counts.connected += 1
        self.reconnected.set()
        self._dispatch.send_backlog()

    def masters_changed(self) -> None:
        """Send what waits: there are other masters, and one that can be read may have its keys."""
        self._dispatch.send_backlog()

    def renew(
        self, connection: ReadConnection, *, sent: float, until: float, confirmed_until: float = inf
    ) -> None:
        """Extend the lease of a source, because a probe of its connection has succeeded.

        Args:
            connection: the connection that was probed.
            sent: when the probe left (monotonic seconds).
            until: the end of the lease (monotonic seconds); 0 if Redis does not tell of changes, so
                that nothing may be kept.
            confirmed_until: from when on what is read counts as stale, because nobody else has
                confirmed the master since (monotonic seconds).
        """
        source = self._sources.through(connection)
        if source is not None:
            source.proved_at = sent
            source.lease_until = until
            source.confirmed_until = confirmed_until

    def lost(self, connection: ReadConnection) -> None:
        """Make stale what was read through a connection that has ended."""
        source = self._sources.through(connection)
        if source is None:
            return
        self._sources.remove(source)
        self._counts.lost += 1
        source.lease_until = 0.0
        source.end_wholes("its connection ended")
        self._cache.age(source.generation, source.proved_at)
        # soon: the flights of this connection fail first
        asyncio.get_running_loop().call_soon(self._flights.answer_stale)

    def invalidated(self, connection: ReadConnection, keys: list[bytes] | None) -> None:
        """Forget what Redis says has changed.

        Args:
            connection: the connection that it was said on.
            keys: the keys that have changed; None if all keys of this master may have.
        """
        if keys is None:
            self._counts.flushes += 1
            source = self._sources.through(connection)
            if source is not None:
                source.generation.clear()
                source.unknown.clear()
                source.end_wholes(MAY_HAVE_CHANGED)
            self._cache.clear_old()  # some may have been this master's
            self._attached.detach_from(source)
            return
        self._counts.invalidations += len(keys)
        for key in keys:
            target = targets.of_key(key, self._prefix)
            if target is not None:
                self.forget(target, key)

    def forget(self, target: bytes, key: bytes) -> None:
        """Forget a record that may have changed; read it again if all of its kind were known."""
        self._sources.forget(target)
        self._attached.detach(target)
        if self._sources.open(target, key):
            self.following.add(target)

    def ended(self, target: bytes) -> None:
        """Read a record again that has ended by itself, or of which a field has."""
        key = targets.key_of(target, self._prefix)
        source = self._sources.of_key(key)
        if self._sources.open(target, key) and source is not None:
            lifetimes = source.lifetimes
            # where Redis does not tell when it ends, all that is kept ends within a second
            if lifetimes is not None and lifetimes.told:
                self.following.add(target)

    def slots_changed(self, slots: Collection[int] | None) -> None:
        """Take note that slots have other masters now, which have keys that were not read there.

        Args:
            slots: the slots; None for all.
        """
        owners = None if slots is None else self._topology.masters_of(slots)
        for source in self._sources.all:
            # now, and not with what is looked through in pieces: a wrong 404 turns a station away
            source.unknown.clear()
            if owners is None or source.master in owners:
                source.doubt_wholes(MOVING)

    def own_slots(self, connection: ReadConnection, own: OwnSlots | None) -> None:
        """Take note of which slots a master says that it has; None if it does not say."""
        source = self._sources.through(connection)
        if source is None or not self._topology.clustered:
            return
        before, source.own_slots = source.own_slots, own
        if own is None or own.moving or (before is not None and own != before):
            source.doubt_wholes(MOVING)

    def _reread_open(self, some: Iterable[bytes]) -> None:
        """Read what has changed, unless that was done by now, or its kind is to be read anew."""
        wanted = []
        for target in some:
            source = self._sources.of_key(targets.key_of(target, self._prefix))
            if source is not None and target in source.wholes[target[ROUTE_AT]].open:
                wanted.append(target)
        self._flights.reread(wanted)

    async def drop_disowned(self) -> None:
        """Forget what was read from masters that it does not belong to any more.

        Redis tells of a key's move as of any other change, so this is a second look, and takes its
        time. Where the new master cannot be read yet, as in a failover, it becomes stale instead.
        """
        for source in self._sources.all:
            kept = list(source.fresh)
            for start in range(0, len(kept), _CHUNK):
                if source not in self._sources.all or source.master not in self._topology.masters:
                    break  # it is stale now, and wanted until the next master can be read
                self._drop_disowned_of(source, kept[start : start + _CHUNK])
                await asyncio.sleep(_PAUSE)

    def _drop_disowned_of(self, source: Source, some: list[bytes]) -> None:
        stale = []
        for target in some:
            owner = self._topology.owner(targets.key_of(target, self._prefix))
            if owner == source.master:
                continue
            if owner is not None and self._sources.at(owner) is not None:
                source.generation.drop(target)
            else:
                stale.append(target)
        self._cache.retire(source.generation, stale, source.proved_at)

    async def reread_stale(self) -> None:
        """Read what is stale again where it can be read.

        Nobody told of what was changed or deleted between two connections. Without this it would be
        served once more, when Redis is away or slow the next time.
        """
        stale = self._cache.stale_targets()
        for start in range(0, len(stale), _REREAD):
            self._flights.reread(stale[start : start + _REREAD])
            await asyncio.sleep(_PAUSE)

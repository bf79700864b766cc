"""Keeps the read connection to one master up, and proves that it still speaks for the truth."""

import asyncio
import random
from contextlib import suppress
from time import monotonic

import structlog

from csms_redis.lookup.reading.abilities import Abilities
from csms_redis.lookup.reading.failures import FAILURES, IsReplica, Unconfirmed, reason_of
from csms_redis.lookup.reading.handshake import Handshake, open_connection
from csms_redis.lookup.reading.probe import Probe, refuse_ended
from csms_redis.lookup.reading.read_connection import ReadConnection
from csms_redis.lookup.reading.shared import Shared
from csms_redis.lookup.reading.watches import Watches
from csms_redis.redis.address import Address
from csms_redis.redis.names import blamed
from csms_redis.registry.layout import UnknownLayout

LEASE = 3.0
"""Seconds that a probe holds from when it was sent: one is sent each second, and has two."""

CONFIRMATION = 5.0
"""Seconds for which others' word that this is a master holds.

After that it may be a former one that was cut off together with this process, and what it says is
as old as their last word: it is read on, and counts as stale, until that was `stale_if_error`
seconds ago.
"""

_PROBE_INTERVAL = 1.0  # seconds
_PROBE_TIMEOUT = 2.0  # seconds
_FIRST_DELAY, _LONGEST_DELAY = 0.02, 1.0  # seconds between attempts to connect
_log = structlog.get_logger()


class Link:
    """Connects `Lookups` to one master, again and again.

    A lease proves that the connection is to a master that answers: a `Probe` each second, answered
    within two, and others' word for it within five. What follows for the answers that are known,
    `Lookups.events` decides.

    `run` goes through these states, and begins anew after each failure (`failures.FAILURES`), soon
    at first and then once a second:

    | state | what is done | what is served through it |
    |---|---|---|
    | connecting | `_connect`, then `Handshake.shake` (user, database, tracking) | nothing |
    | proving | the first `_probe`, and the layout's version | nothing |
    | leased | `SourceEvents.connected`; `_probe` each second, and `_renew` | fresh answers |
    | unleased | the same, without tracking: nothing is kept | what is read |
    | doubted | the same, 5 s after others' last word for it | what is read, as stale |
    | failed | the connection is aborted: `SourceEvents.lost` | what was known, as stale |
    """

    def __init__(self, shared: Shared, master: Address) -> None:
        """Connect to a master.

        Args:
            shared: what the links to all masters share.
            master: one of the topology's.
        """
        self.problem: str | None = "has not been reached yet"
        """Why nothing is read through the link, for the operator; None while it is read through."""
        self._lookups = shared.lookups
        self._events = shared.lookups.events
        self._topology = shared.lookups.topology
        self._address = master
        self._timeout = shared.timeout
        self._named = monotonic()  # by others, as a master
        self._doubted = False  # whether nobody confirms that
        self._read_unconfirmed = max(CONFIRMATION, self._lookups.stale_if_error)  # seconds
        self._reported: str | None = None  # the reason that was logged last
        self._abilities = Abilities()
        clustered = self._topology.clustered and self._lookups.caches
        self._watches = Watches(master, shared.layout, shared.data_set, clustered=clustered)
        tracked = shared.tracked if self._lookups.caches else []
        self._handshake = Handshake(master, tracked, self._abilities)
        self._probing = Probe(self._topology, master, shared.tracked[0], self._abilities)

    @property
    def role(self) -> str:
        """What the server said last that it is: master, replica or unknown."""
        return self._probing.role

    @property
    def leased(self) -> bool:
        """Whether what is read through it may be kept."""
        source = self._lookups.sources.at(self._address)
        return source is not None and source.lease_until > monotonic()

    def slots_changed(self) -> None:
        """Believe no more what the master said of times to live, until it is asked again."""
        self._watches.slots_changed()

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        delay = _FIRST_DELAY
        while True:
            started = monotonic()
            left_out = self._abilities.left_out
            try:
                await self._connect_and_hold()
            except FAILURES as failure:
                if self._abilities.left_out != left_out:
                    await asyncio.sleep(_FIRST_DELAY)
                    continue
                self._abilities.ask_everything()
                error = blamed(self._address.host, self._address.port, failure)
                lasted = monotonic() - started
                if lasted > _LONGEST_DELAY or (self.problem is None and lasted > delay):
                    delay = _FIRST_DELAY
                if not isinstance(error, IsReplica):
                    self._probing.role = "unknown"
                self._report_failure(error)
                self._topology.doubt()
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 jitter
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _connect_and_hold(self) -> None:
        self._refuse_unconfirmed()
        watches = self._watches
        watches.begin()
        connection = await self._connect()
        try:
            async with asyncio.timeout(self._timeout):
                tracked = await self._handshake.shake(connection)
            if not tracked:
                watches.keep_nothing()
            sent = await self._probe(connection)
            self._abilities.answered()
            await watches.admit_layout()
            refuse_ended(connection)
            self._events.connected(self._address, connection, watches.lifetimes)
            self._events.own_slots(connection, watches.own_slots)
            self._renew(connection, sent, tracked=tracked)
            self._report_reached(tracked=tracked)
            await self._compare_data_sets(connection)
            watches.reached()
            while True:
                with suppress(TimeoutError):
                    until = min(sent + _PROBE_INTERVAL, self._read_until)
                    async with asyncio.timeout(max(0, until - monotonic())):
                        await connection.ended.wait()
                self._refuse_unconfirmed()
                sent = await self._probe(connection)
                self._events.own_slots(connection, watches.own_slots)
                await watches.refuse_unknown_layout()
                await self._compare_data_sets(connection)
                self._renew(connection, sent, tracked=tracked)
        finally:
            connection.abort()
            watches.end()

    async def _connect(self) -> ReadConnection:
        def protocol() -> ReadConnection:
            return ReadConnection(
                invalidated=self._invalidated,
                caught_up=self._lookups.flights.deliver,
                lost=self._events.lost,
            )

        async with asyncio.timeout(self._timeout):
            return await open_connection(self._address, protocol)

    async def _probe(self, connection: ReadConnection) -> float:
        """Prove that this is a master that reads; when the question left (monotonic seconds)."""
        async with asyncio.timeout(_PROBE_TIMEOUT):
            return await self._probing.prove(connection, self._watches)

    def _invalidated(self, connection: ReadConnection, keys: list[bytes] | None) -> None:
        self._watches.invalidated(connection, keys)
        self._events.invalidated(connection, keys)

    async def _compare_data_sets(self, connection: ReadConnection) -> None:
        """Forget what was known by this connection if it reads another data set now."""
        async with asyncio.timeout(_PROBE_TIMEOUT):
            another = await self._watches.is_another_data_set(connection)
        if another:
            _log.warning(
                "another data set: what was known is forgotten",
                redis=str(self._address),
                reason="its identity differs",
            )
            self._invalidated(connection, None)

    # The lease, and others' word

    def _renew(self, connection: ReadConnection, sent: float, *, tracked: bool) -> None:
        confirmed = self._topology.confirmed(self._address)
        until = min(sent + LEASE, confirmed + CONFIRMATION) if tracked else 0.0
        confirmed_until = self._confirmed + CONFIRMATION
        # one that nobody else takes for the master proves nothing by answering
        self._events.renew(
            connection, sent=min(sent, confirmed), until=until, confirmed_until=confirmed_until
        )
        doubted, self._doubted = self._doubted, confirmed_until <= monotonic()
        if self._doubted and not doubted:
            _log.warning(
                "what Redis answers counts as stale",
                redis=str(self._address),
                reason="nobody else confirms that it is the master",
            )

    @property
    def _confirmed(self) -> float:
        """When others last confirmed that it is a master (monotonic seconds)."""
        return max(self._named, self._topology.confirmed(self._address))

    @property
    def _read_until(self) -> float:
        return self._confirmed + self._read_unconfirmed

    def _refuse_unconfirmed(self) -> None:
        if monotonic() >= self._read_until:
            raise Unconfirmed(
                f"is read no more: for {self._read_unconfirmed:g} s nobody else has confirmed that "
                "it is the master"
            )

    # What the operator is told

    def _report_reached(self, *, tracked: bool) -> None:
        self.problem = None
        self._reported = None
        _log.info(
            "Redis reached",
            redis=str(self._address),
            near_cache=tracked,
            # in all, since the start: what the time without it did to lookups
            stale_answers=self._lookups.stale_answers,
            refused=self._lookups.refused,
        )
        untracked = self._handshake.untracked
        if untracked is not None:
            _log.warning(
                "every lookup is read from Redis, none is kept",
                redis=str(self._address),
                reason=untracked,
            )

    def _report_failure(self, error: BaseException) -> None:
        """Log why the master is not read; once for each reason."""
        refused = isinstance(error, UnknownLayout | Unconfirmed)
        if refused:
            reason = self.problem = str(error)
        else:
            reason = reason_of(error)
            self.problem = f"cannot be reached: {reason}"
        if reason == self._reported:
            return
        self._reported = reason
        if refused:
            _log.error("Redis is not used", redis=str(self._address), reason=reason)
        else:
            _log.warning("Redis cannot be reached", redis=str(self._address), reason=reason)

"""Sends flights: to the key's master, to where the key has gone, or later."""

import asyncio
from collections.abc import Iterator
from math import inf
from typing import Any

from csms_redis.lookup.reading.deadlines import SWEEP
from csms_redis.lookup.reading.flight import Attached, Flight, Ignored, TimeLeft
from csms_redis.lookup.reading.read_connection import ConnectionBroken, ReadError, encode
from csms_redis.lookup.reading.sources import Source, Sources
from csms_redis.redis.address import Address
from csms_redis.redis.topology import Topology

_ELSEWHERE = frozenset(["ASK", "MOVED", "TRYAGAIN"])  # codes of replies of a cluster's node
_MOST_REDIRECTIONS = 5
_ASKING = encode("ASKING")


class Dispatch:
    """Sends flights, and keeps those that cannot be sent now.

    | a flight | is |
    |---|---|
    | whose key's master can be read | sent (`send`) |
    | whose key's master cannot be read | in the backlog, until a connection is there |
    | of which Redis says `MOVED` or `ASK` | sent to the server that is named |
    | of which Redis says `TRYAGAIN`, or whose connection broke | sent again soon |

    Each is sent on `_MOST_REDIRECTIONS` times. It does not know who waits for a flight, nor what
    becomes of the reply: `Flights` does.
    """

    __slots__ = ("_attached", "_max_in_flight", "_soon", "_sources", "_topology", "backlog")

    def __init__(
        self, sources: Sources, topology: Topology, attached: Attached, max_in_flight: int
    ) -> None:
        """Begin with nothing to send.

        Args:
            sources: through which flights are sent.
            topology: told of keys that have moved.
            attached: the flights that others may join.
            max_in_flight: how many may wait to be sent.
        """
        self._sources = sources
        self._topology = topology
        self._attached = attached
        self._max_in_flight = max_in_flight
        self.backlog: dict[Flight, None] = {}
        """The flights that wait for a connection."""
        self._soon: list[Flight] = []  # those to be sent again soon

    def __len__(self) -> int:
        """How many flights wait to be sent."""
        return len(self.backlog) + len(self._soon)

    def __iter__(self) -> Iterator[Flight]:
        """The flights that wait to be sent."""
        return iter([*self.backlog, *self._soon])

    def drop(self, flight: Flight) -> None:
        """Do not send a flight any more."""
        self.backlog.pop(flight, None)

    def send(self, flight: Flight, source: Source) -> None:
        """Send a flight; if its record may have a time to live, ask for the time left first."""
        flight.source = source
        lifetimes = source.lifetimes
        # a detached flight's answer is not kept, and of what ASKING allows there may be one
        if (
            lifetimes is not None
            and (lifetimes.volatile or lifetimes.changed_keys)
            and lifetimes.must_ask(flight.key)
            and flight.attached
        ):
            flight.end = inf
            for question in lifetimes.questions(flight.key, flight.resource.asked):
                source.connection.send(question, TimeLeft(flight, lifetimes))
        source.connection.send(flight.command, flight)

    def send_backlog(self) -> None:
        """Send what waits for a connection that is there now."""
        backlog, self.backlog = self.backlog, {}
        for flight in backlog:
            self._send_or_keep(flight)
        self._send_soon()

    def send_elsewhere(self, flight: Flight, reply: Any) -> bool:
        """Send a flight on, if its reply says that another server, or this one later, has the key.

        Returns:
            Whether it is sent, or will be.
        """
        if isinstance(reply, ConnectionBroken):
            flight.source = None
            return self._send_again(flight)  # as often as there is a connection, in its time
        if not isinstance(reply, ReadError) or reply.code not in _ELSEWHERE:
            return False
        source = flight.source
        flight.source = None
        flight.redirections += 1
        if flight.redirections > _MOST_REDIRECTIONS:
            return False
        to = None if source is None else reply.points_to(source.master)
        if to is not None and reply.code == "ASK":
            # it is not the one that tells of changes until it owns the key
            self._attached.detach(flight.target)
            if self._send_asking(flight, self._topology.canonical(to)):
                return True
        elif to is not None:
            self._topology.moved(flight.key, to)
            if self._send_to_master(flight):
                return True
        return self._send_again(flight)

    def _send_to_master(self, flight: Flight) -> bool:
        source = self._sources.of_key(flight.key)
        if source is not None:
            self.send(flight, source)
        return source is not None

    def _send_asking(self, flight: Flight, to: Address) -> bool:
        source = self._sources.at(to)
        if source is not None:
            source.connection.send(_ASKING, Ignored())
            self.send(flight, source)
        return source is not None

    def _send_again(self, flight: Flight) -> bool:
        """Send a flight when a connection is there, or soon; False where too many wait."""
        if len(self) >= self._max_in_flight:
            return False
        if self._sources.of_key(flight.key) is None:
            self.backlog[flight] = None
            return True
        if not self._soon:
            asyncio.get_running_loop().call_later(SWEEP, self._send_soon)
        self._soon.append(flight)
        return True

    def _send_soon(self) -> None:
        soon, self._soon = self._soon, []
        for flight in soon:
            self._send_or_keep(flight)

    def _send_or_keep(self, flight: Flight) -> None:
        if flight.waits and not self._send_to_master(flight):
            self.backlog[flight] = None

"""A flight: a read of Redis that is under way, and those who wait for it.

What happens to a flight, and who does it:

| when | what | the flight then |
|---|---|---|
| somebody asks for what is not known | `Flights.depart` sends it, or it has to wait | attached |
| somebody else asks for the same | `Flight.join` | attached, with one more who waits |
| a write, an invalidation, Redis says `ASK` | `Attached.detach` | detached: it is not kept |
| a reply arrives | `Flight.replied`, `Flights.landed`, then `deliver` answers | over |
| the reply is `MOVED` or such, or the connection broke | `Dispatch.send_elsewhere` | sent again |
| it cannot be sent, or Redis refuses it | `Flights.give_up`: what was known, or 503 | over |
| one who waits leaves | `Lookups.leave` | attached |
| one has waited long enough | `Deadlines.sweep`, which tells `Lookups` | attached |
| the last of these did, and it was not sent | `Flights.deserted`, `give_up` | over |
"""

from collections.abc import Callable
from math import inf
from typing import Any, Protocol, TypeAlias

from csms_redis.lookup.reading.lifetimes import Lifetimes
from csms_redis.lookup.reading.sources import Source
from csms_redis.registry.resource import Resource

Answered: TypeAlias = Callable[[int, bytes], None]
"""Called with an answer: its status and its tail (`lookup.answers`)."""


class Owner(Protocol):
    """What begins flights, and takes their replies: `Flights`."""

    def landed(self, flight: "Flight", reply: Any) -> None:
        """Take the reply to a flight, or a `ReadError` if no reply came."""


class Flight:
    """A read of Redis under way, and those who wait for it.

    It is itself the place of the first who waits. Nearly all flights have one: an object for each
    who waits would cost a miss about a tenth.
    """

    __slots__ = (
        "_owner",
        "answered",
        "asked",
        "attached",
        "command",
        "deadline",
        "end",
        "joined",
        "key",
        "queue",
        "redirections",
        "resource",
        "source",
        "target",
    )

    def __init__(  # noqa: PLR0913, PLR0917 each is a word about the read
        self,
        owner: Owner,
        resource: Resource,
        target: bytes,
        key: bytes,
        command: bytes,
        asked: float,
    ) -> None:
        """Begin with nobody who waits.

        Args:
            owner: takes the reply.
            resource: which kind of record is read.
            target: of the record, canonical.
            key: of the record in Redis.
            command: reads it, encoded.
            asked: when it began (monotonic seconds).
        """
        self._owner = owner
        self.resource = resource
        self.target = target
        self.key = key
        self.command = command
        self.asked = asked
        self.source: Source | None = None  # through which it was sent last
        self.end = inf  # of what is read (monotonic seconds)
        self.redirections = 0
        self.attached = True  # whether others may join it, and its answer be kept
        self.answered: Answered | None = None  # of the first who waits, while it does
        self.deadline = inf  # of the first (monotonic seconds)
        self.queue: Queue = _NO_QUEUE  # in which the first is
        self.joined: Joiners = _NO_JOINERS  # who came later

    @property
    def waits(self) -> bool:
        """Whether anybody waits."""
        return self.answered is not None or bool(self.joined)

    def join(self, answered: Answered, deadline: float, queue: "Queue") -> "Joined":
        """Make a place for another who waits."""
        place = Joined(self, answered, deadline, queue)
        if self.joined is _NO_JOINERS:
            self.joined = {}
        self.joined[place] = queue[place] = None
        return place

    def end_waiting(self) -> "tuple[Answered | None, Joiners]":
        """Take out all who wait: they are answered now."""
        first = self.answered
        if first is not None:
            self.answered = None
            del self.queue[self]
        joined = self.joined
        if joined:
            self.joined = _NO_JOINERS
            for waiter in joined:
                del waiter.queue[waiter]
        return first, joined

    def replied(self, reply: Any) -> None:
        """Take the reply."""
        self._owner.landed(self, reply)


class Joined:
    """The place of one who waits for a flight that others had asked for."""

    __slots__ = ("answered", "deadline", "flight", "queue")

    def __init__(self, flight: Flight, answered: Answered, deadline: float, queue: "Queue") -> None:
        """Wait for a flight until `deadline` (monotonic seconds), in a queue of such."""
        self.flight = flight
        self.answered = answered
        self.deadline = deadline
        self.queue = queue


Waiter: TypeAlias = Flight | Joined
"""The place of one who waits."""

Queue: TypeAlias = dict[Waiter, None]
"""Those who wait, in the order of their deadlines."""

Joiners: TypeAlias = dict[Joined, None]
"""Those who joined a flight, in the order in which they came."""

_NO_QUEUE: Queue = {}  # stays empty, as the next
_NO_JOINERS: Joiners = {}
_ABSENT = object()


class Ending(Protocol):
    """A read whose record may end."""

    end: float
    """When (monotonic seconds)."""


class TimeLeft:
    """Takes the reply that tells when a flight's record ends; it comes before the record."""

    __slots__ = ("_flight", "_lifetimes")

    def __init__(self, flight: Ending, lifetimes: Lifetimes) -> None:
        """Set the end of `flight`, as `lifetimes` understands the reply."""
        self._flight = flight
        self._lifetimes = lifetimes

    def replied(self, reply: Any) -> None:
        """Take the reply; the first of several ends is the record's."""
        flight = self._flight
        flight.end = min(flight.end, self._lifetimes.end(reply))


class Ignored:
    """Takes a reply that tells nothing, such as that to `ASKING`."""

    def replied(self, reply: Any) -> None:
        """Do nothing."""
        del reply


class Attached:
    """The flights that others may join, and whose answers may be kept."""

    __slots__ = ("by_target",)

    def __init__(self) -> None:
        """Begin with none."""
        self.by_target: dict[bytes, Flight] = {}  # canonical

    def detach(self, target: bytes) -> None:
        """Let nobody join a record's flight any more: what it reads may be past."""
        flight = self.by_target.pop(target, None)
        if flight is not None:
            flight.attached = False

    def detach_from(self, source: Source | None) -> None:
        """Detach the flights that were sent through a source; with None, those not sent."""
        for target, flight in list(self.by_target.items()):
            if flight.source is source:
                self.detach(target)


def leave_queue(waiter: Waiter) -> bool:
    """Take one who waits out of the queue; False for one who was answered before."""
    return waiter.queue.pop(waiter, _ABSENT) is None


def take_place(waiter: Waiter) -> Flight:
    """Make one who waits, and is in no queue any more, wait no more for the flight."""
    if isinstance(waiter, Flight):
        waiter.answered = None
        return waiter
    del waiter.flight.joined[waiter]
    return waiter.flight

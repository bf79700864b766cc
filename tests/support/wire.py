"""A read connection whose other end is the test: bytes in, bytes out, and a clock to turn."""

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis

from csms_redis.contract.errors import Problem
from csms_redis.lookup import targets
from csms_redis.lookup.answers import body_of
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.read_connection import ReadConnection
from csms_redis.lookup.targets import Wanted
from csms_redis.redis.address import Address
from csms_redis.redis.standalone import Standalone
from csms_redis.registry.stations import STATION
from csms_redis.settings import LookupSettings

PROFILE = {1: b'{"securityProfile":1}', 2: b'{"securityProfile":2}'}

TIMEOUT = 0.06
"""Seconds that a lookup waits in `short_lookups`."""
IN_FLIGHT = 20
FOUND = {profile: (200, body) for profile, body in PROFILE.items()}
NOT_FOUND = (404, b"")
AWAY = (503, b"")


def station(cs_id: str) -> Wanted:
    """What a lookup of a station wants."""
    return targets.wanted(STATION, cs_id)


def bulk(value: bytes | None) -> bytes:
    """A bulk string, or RESP3's null."""
    return b"_\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def array(*values: bytes | None, kind: bytes = b"*") -> bytes:
    """An array of bulk strings."""
    return kind + b"%d\r\n" % len(values) + b"".join(map(bulk, values))


def record(profile: int) -> bytes:
    """Redis's reply to the lookup of a station."""
    return array(b"%d" % profile, None, None, b'"Pending"')


NO_RECORD = array(None, None, None, None)


def invalidation(*keys: bytes) -> bytes:
    """Redis's word that keys changed; that all may have, without keys."""
    changed = array(*keys) if keys else b"_\r\n"
    return b">2\r\n" + bulk(b"invalidate") + changed


class FakeTransport(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.aborted, "written to an aborted transport"
        self.written += data

    def abort(self) -> None:
        self.aborted = True


class Wire:
    """One read connection and what was sent over it."""

    def __init__(self, connection: ReadConnection) -> None:
        self.connection = connection
        self.transport = FakeTransport()
        connection.connection_made(self.transport)

    async def sent(self) -> list[list[bytes]]:
        """The commands that were sent since the last call, after what is due was done."""
        for _ in range(3):
            await asyncio.sleep(0)
        reader = hiredis.Reader()
        reader.feed(self.transport.written)
        self.transport.written = b""
        commands: list[list[bytes]] = []
        while (command := reader.gets()) is not False:
            assert isinstance(command, list)
            commands.append(command)
        return commands

    async def asked(self) -> list[bytes]:
        """The keys that were read since the last call."""
        return [command[1] for command in await self.sent()]

    def receive(self, *data: bytes) -> None:
        """Redis sends this, in one piece."""
        self.connection.data_received(b"".join(data))

    def lose(self) -> None:
        """The connection ends."""
        self.connection.connection_lost(None)


MASTER = Address(host="master.test")
LEASE = 3.0
"""Seconds that a proof holds here."""


def make_lookups(settings: LookupSettings, prefix: bytes = b"") -> Lookups:
    """Lookups of one Redis."""
    return Lookups(settings, prefix, Standalone(MASTER))


def short_lookups(**settings: float) -> Lookups:
    """Lookups with a short time-out and few in flight."""
    given = {"timeout": TIMEOUT, "max_in_flight": IN_FLIGHT} | settings
    return make_lookups(LookupSettings.model_validate(given))


def rests(lookups: Lookups) -> bool:
    """Whether nothing is under way."""
    return not (lookups._attached.by_target or lookups._dispatch.backlog)


def wire_of(lookups: Lookups) -> Wire:
    """A connection that `lookups` does not read through yet."""
    return Wire(
        ReadConnection(
            invalidated=lookups.events.invalidated,
            caught_up=lookups.flights.deliver,
            lost=lookups.events.lost,
        )
    )


def connect(
    lookups: Lookups,
    *,
    tracked: bool = True,
    at: float | None = None,
    master: Address = MASTER,
) -> Wire:
    """Give `lookups` a connection that has just been proved, or was at `at`."""
    wire = wire_of(lookups)
    lookups.events.connected(master, wire.connection)
    prove(lookups, wire, at=at, tracked=tracked)
    return wire


def prove(lookups: Lookups, wire: Wire, *, at: float | None = None, tracked: bool = True) -> None:
    """A probe that left now, or at `at`, has succeeded."""
    sent = asyncio.get_running_loop().time() if at is None else at
    lookups.events.renew(wire.connection, sent=sent, until=sent + LEASE if tracked else 0.0)


def lease_of(lookups: Lookups) -> float:
    """Until when the one master is believed."""
    return max((source.lease_until for source in lookups.sources.all), default=0.0)


class Client:
    """Asks, and keeps the answers in their order."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self.answers: list[tuple[int, bytes]] = []

    def ask(self, cs_id: str) -> None:
        """Look a station up."""
        self._lookups.ask(station(cs_id), self._answered)

    def _answered(self, status: int, tail: bytes) -> None:
        body = body_of(tail)
        self.answers.append((status, body if status == 200 else b""))

    async def answered(self, count: int) -> None:
        """Wait until there are so many answers that were not taken yet."""
        await until(lambda: len(self.answers) >= count)

    def take(self) -> list[tuple[int, bytes]]:
        """The answers since the last call: status, and the body of a 200."""
        answers, self.answers = self.answers, []
        return answers


async def fill(client: Client, wire: Wire, cs_id: str, reply: bytes) -> tuple[int, bytes]:
    """Look a station up and let Redis answer."""
    client.ask(cs_id)
    assert await wire.asked() == [b"cs:" + cs_id.encode()]
    wire.receive(reply)
    (answer,) = client.take()
    return answer


class Clock:
    """Stands in for `monotonic`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what must happen at some time, however busy the machine is."""
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def outcome(finding: "asyncio.Task[bytes]") -> Any:
    """A lookup's body, or what it raised."""
    try:
        return await finding
    except Problem as problem:
        return type(problem)

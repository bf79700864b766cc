"""Lists keys by SCAN, one master after another, and proves that it missed none.

SCAN returns each key that is there from the first call to the last
(https://valkey.io/commands/scan/). Two things could make it miss one. A process that was started
anew cannot go on from the cursor of the former one: so each master's run id must stay the same. And
a key could move from a master that is still to be scanned to one that has been: so the slots of
each master must stay the same, as this master itself has them, for it knows first of a move.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient
from csms_redis.redis.connections import Command
from csms_redis.redis.outcomes import Redirected
from csms_redis.redis.own_slots import OwnSlots, read_own_slots
from csms_redis.redis.slots import SLOTS, slot_of

DIGEST_SIZE = 12

_RUN_ID = re.compile(rb"^run_id:(\S+)", re.MULTILINE)
_GLOB = re.compile(rb"([*?\[\]\\^])")
_INFO: Command = ("INFO", "server")
_NODES: Command = ("CLUSTER", "NODES")


def pattern_of(start: bytes) -> bytes:
    """The pattern (`MATCH`) of the keys that begin with `start`."""
    return _GLOB.sub(rb"\\\1", start) + b"*"


class MastersChanged(Exception):
    """A master was restarted or replaced, or a slot was moved: a key may have been missed."""


@dataclass(frozen=True, slots=True)
class _State:
    """What must stay the same at a master while it is scanned, as the master tells it."""

    run_id: bytes
    own: OwnSlots


@dataclass(frozen=True, slots=True)
class _Master:
    address: Address
    state: _State
    ranges: tuple[range, ...]

    def owns(self, key: bytes) -> bool:
        return not self.ranges or any(slot_of(key) in slots for slots in self.ranges)


class Scan:
    """The masters of one moment. They can be scanned until one is restarted, or a slot moves."""

    def __init__(self, redis: RedisClient, masters: Sequence[_Master]) -> None:
        """Scan `masters` in this order; `begin` makes it."""
        self._redis = redis
        self._masters = masters

    @classmethod
    async def begin(cls, redis: RedisClient) -> "Scan":
        """Ask every master for its run id and its slots.

        Raises:
            Unavailable: one cannot be asked, or slots have no master or are just being moved.
        """
        addresses = redis.masters
        if not addresses:
            raise Unavailable("Redis cannot be reached. Try again.")
        states = await asyncio.gather(*(_state(redis, address) for address in addresses))
        masters = sorted(
            (
                _Master(address, state, state.own.ranges if not state.own.moving else ())
                for address, state in zip(addresses, states, strict=True)
            ),
            key=lambda master: (master.state.own.words, master.state.run_id),
        )
        if redis.clustered:
            if any(state.own.moving for state in states):
                raise Unavailable(
                    "Slots are being moved between Redis's masters, and what moves could be "
                    "missed. Try again when that is done."
                )
            if sum(len(slots) for master in masters for slots in master.ranges) != SLOTS:
                raise Unavailable("Not every slot of Redis's cluster has a master. Try again.")
            masters = [master for master in masters if master.ranges]
        return cls(redis, masters)

    @property
    def digest(self) -> bytes:
        """A hash of the masters' run ids and slots: it changes when one of these does."""
        states = (b" ".join((*one.state.own.words, one.state.run_id)) for one in self._masters)
        return blake2b(b"\n".join(states), digest_size=DIGEST_SIZE).digest()

    def __len__(self) -> int:
        """How many masters there are to be scanned."""
        return len(self._masters)

    async def keys(
        self, number: int, cursor: int, *, start: bytes, count: int
    ) -> tuple[int, list[bytes]]:
        """Read some keys of hashes, and the cursor to go on with, which is 0 after the last key.

        Args:
            number: of the master, from 0.
            cursor: 0, or as it was returned.
            start: with which each key begins.
            count: about how many keys Redis looks at, whether they begin with `start` or not.

        Raises:
            Unavailable: the master cannot be read.
            MastersChanged: the master was restarted, or its slots are others.
        """
        # on one connection, so that all are of one process; the state after the keys
        (after, keys), *said = await self._redis.read_at(
            self._masters[number].address,
            [_scan(cursor, start, count), *_state_commands(self._redis)],
        )
        self._refuse_changed(number, said)
        return int(after), self._owned(number, keys)

    async def unproved_keys(
        self, number: int, cursor: int, *, start: bytes, count: int
    ) -> tuple[int, list[bytes]]:
        """As `keys`, without a look at what the master is by now: `prove` must follow.

        To ask for that with each of many small steps would cost Redis more than the keys.
        """
        ((after, keys),) = await self._redis.read_at(
            self._masters[number].address, [_scan(cursor, start, count)]
        )
        return int(after), self._owned(number, keys)

    async def prove(self, number: int) -> None:
        """See to it that a master is what it was, and so was when it gave its keys.

        Raises:
            Unavailable: the master cannot be read.
            MastersChanged: it is not what it was.
        """
        said = await self._redis.read_at(
            self._masters[number].address, _state_commands(self._redis)
        )
        self._refuse_changed(number, said)

    def _refuse_changed(self, number: int, said: Sequence[Any]) -> None:
        if _read_state(said) != self._masters[number].state:
            raise MastersChanged

    def _owned(self, number: int, keys: Sequence[bytes]) -> list[bytes]:
        return [key for key in dict.fromkeys(keys) if self._masters[number].owns(key)]

    async def values(
        self, number: int, keys: Sequence[bytes], fields: Sequence[bytes]
    ) -> list[list[bytes | None]]:
        """Read fields of hashes, all at once; None for a field that is not there.

        Args:
            number: of the master that has them.
            keys: of the hashes; some hundred at most, for Redis does nothing else meanwhile.
            fields: of each.

        Raises:
            Unavailable: the master cannot be read.
            MastersChanged: the master does not have these keys any more.
        """
        commands: list[Command] = [("HMGET", key, *fields) for key in keys]
        if not commands:
            return []
        try:
            return await self._redis.read_at(self._masters[number].address, commands)
        except Redirected:
            raise MastersChanged from None


def _scan(cursor: int, start: bytes, count: int) -> Command:
    return ("SCAN", cursor, "MATCH", pattern_of(start), "COUNT", count, "TYPE", "hash")


async def _state(redis: RedisClient, address: Address) -> _State:
    return _read_state(await redis.read_at(address, _state_commands(redis)))


def _state_commands(redis: RedisClient) -> list[Command]:
    return [_INFO, _NODES] if redis.clustered else [_INFO]


def _read_state(said: Sequence[Any]) -> _State:
    """Read the replies to `_state_commands`."""
    run_id = _RUN_ID.search(said[0])
    if run_id is None:
        raise Unavailable("Redis does not tell its run id. An operator must look at Redis.")
    if len(said) == 1:
        return _State(run_id[1], OwnSlots())
    own = read_own_slots(said[1])
    if own is None:
        raise Unavailable("A node of Redis's cluster does not know itself. Try again.")
    return _State(run_id[1], own)

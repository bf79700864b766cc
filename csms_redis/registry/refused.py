"""The stations that are turned away: what each process has seen, put together through Redis.

All is in one hash, `refused`, with a field for each process, so that it lies in one slot of a
cluster. It is no record and has no time to live: each process writes its own field, at most once a
second, and removes those of processes that wrote nothing for a day. Nobody waits for it: a Redis
that is away, or that does not let the user do it, only makes the list shorter.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from secrets import token_hex
from time import gmtime, strftime, time
from typing import Any

import orjson
from redis.exceptions import RedisError

from csms_redis.contract.errors import Unavailable
from csms_redis.contract.models import RefusedReason
from csms_redis.redis.address import Address
from csms_redis.redis.client import RedisClient
from csms_redis.redis.connections import Command
from csms_redis.redis.outcomes import Redirected
from csms_redis.registry.stations import REJECTED, STATION

REFUSED_KEY = b"refused"
"""The key of the hash, behind the prefix that every key has."""

LATELY = 86_400.0
"""Seconds for which a refusal is remembered."""

MOST_PROCESSES = 100
"""How many fields there are at most."""

_NEW_FIELD = 3600.0  # seconds after which a process takes another name, which says when that was
_AT_ONCE = 100  # records that are read together
_TIMEOUT = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class RefusedId:
    """An id that was refused.

    Attributes:
        id: the csId; of a malformed one what stood in the path.
        malformed: whether no station can have it.
        count: how often it was refused, estimated where many ids were.
        first: when it was refused first (Unix seconds).
        last: when it was refused last.
        client: which client asked last.
    """

    id: str
    malformed: bool
    count: int
    first: float
    last: float
    client: str


def merged(reports: Iterable[Iterable[RefusedId]], now: float) -> list[RefusedId]:
    """Put together what several processes have seen lately."""
    found: dict[tuple[str, bool], RefusedId] = {}
    for report in reports:
        for one in report:
            if one.last < now - LATELY:
                continue
            name = one.id, one.malformed
            other = found.get(name)
            if other is not None:
                latest = max(one, other, key=lambda each: each.last)
                one = replace(  # noqa: PLW2901 it is what both are together
                    latest, count=one.count + other.count, first=min(one.first, other.first)
                )
            found[name] = one
    return list(found.values())


def in_order(refused: Sequence[RefusedId], sort: str) -> list[RefusedId]:
    """Those that came last first, or those that came most often (`RefusedQuery.sort`)."""
    if sort == "lastRefused":
        return sorted(refused, key=lambda one: -one.last)
    return sorted(refused, key=lambda one: (-one.count, -one.last))


def shown_as(one: RefusedId, reason: RefusedReason | None) -> dict[str, Any]:
    """A refused station as the API has it (`RefusedStation`)."""
    return {
        "csId": one.id,
        **({} if reason is None else {"reason": reason}),
        "count": one.count,
        "firstRefused": _date_time(one.first),
        "lastRefused": _date_time(one.last),
        "client": one.client,
    }


def _date_time(seconds: float) -> str:
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(seconds))


class RefusedStore:
    """What processes have seen, in Redis."""

    def __init__(
        self,
        redis: RedisClient,
        prefix: bytes,
        admit: Callable[[Address | None], Awaitable[None]] | None = None,
    ) -> None:
        """Keep it in `redis`, behind the prefix that every key has, once `admit` returns."""
        self._redis = redis
        self._prefix = prefix
        self._admit = admit
        self._key = prefix + REFUSED_KEY
        self._process = token_hex(6)
        self._field = b""
        self._named = 0.0  # when the field got its name
        self._tidied = False  # whether there was a write since then, which removes what is too much

    async def write(self, report: Sequence[RefusedId]) -> bool:
        """Put this process's report in the place of its last one; whether Redis took it."""
        now = time()
        if now - self._named > _NEW_FIELD:
            self._field = f"{int(now)}-{self._process}".encode()
            self._named = now
            self._tidied = False
        value = orjson.dumps([_listed(one) for one in report])
        commands: list[Command] = [("HSET", self._key, self._field, value)]
        if not self._tidied and (gone := self._gone(await self._fields(), now)):
            commands.append(("HDEL", self._key, *gone))
        if await self._ask(commands) is None:
            return False
        self._tidied = True
        return True

    async def read(self) -> list[list[RefusedId]]:
        """The reports of the other processes; fewer, or none, where Redis does not give them."""
        fields = [name for name in await self._fields() if name != self._field]
        reports: list[list[RefusedId]] = []
        for start in range(0, len(fields), 10):
            said = await self._ask([("HMGET", self._key, *fields[start : start + 10])])
            if said is None:
                break
            reports += [_report(value) for value in said[0] if value is not None]
        return reports

    async def with_reasons(
        self, refused: Sequence[RefusedId], most: int
    ) -> list[tuple[RefusedId, RefusedReason | None]]:
        """Why those would be refused now; who would not be, is left out.

        Args:
            refused: the ids.
            most: how many are wanted.

        Returns:
            Each with the reason; None where Redis cannot be asked.
        """
        found: list[tuple[RefusedId, RefusedReason | None]] = []
        for start in range(0, len(refused), _AT_ONCE):
            if len(found) >= most:
                break
            some = refused[start : start + _AT_ONCE]
            reasons = await self._reasons([one.id for one in some if not one.malformed])
            for one in some:
                if one.malformed:
                    found.append((one, "malformed"))
                elif one.id in reasons:
                    found.append((one, reasons[one.id]))
        return found[:most]

    async def _reasons(self, ids: list[str]) -> dict[str, RefusedReason | None]:
        by_master: dict[Address | None, list[str]] = {}
        for id_ in ids:
            owner = self._redis.owner(STATION.key(self._prefix, id_))
            by_master.setdefault(owner, []).append(id_)
        reasons: dict[str, RefusedReason | None] = {}
        for master, some in by_master.items():
            commands: list[Command] = [
                ("HMGET", STATION.key(self._prefix, id_), "securityProfile", "registrationStatus")
                for id_ in some
            ]
            said = await self._read_at(master, commands)
            if said is None:
                reasons |= dict.fromkeys(some)
                continue
            for id_, (profile, status) in zip(some, said, strict=True):
                if profile is None:
                    reasons[id_] = "unknown"
                elif status == REJECTED:
                    reasons[id_] = "blocked"
        return reasons

    async def _read_at(self, master: Address | None, commands: list[Command]) -> list[Any] | None:
        if master is None:
            return None
        try:
            return await self._redis.read_at(master, commands)
        except (Unavailable, Redirected):
            return None

    async def _fields(self) -> list[bytes]:
        said = await self._ask([("HKEYS", self._key)])
        return [] if said is None else list(said[0])

    def _gone(self, fields: list[bytes], now: float) -> list[bytes]:
        """The fields that this process had, of those that wrote nothing for long, of too many."""
        own = f"-{self._process}".encode()
        named = {field: _when(field) for field in fields if field != self._field}
        by_age = sorted(named, key=lambda field: named[field], reverse=True)
        return [
            field
            for place, field in enumerate(by_age, 1)
            if field.endswith(own)
            or place >= MOST_PROCESSES
            or named[field] < now - LATELY - _NEW_FIELD
        ]

    async def _ask(self, commands: list[Command]) -> list[Any] | None:
        """Send commands; None where one is refused, or Redis is away. The log has no line of it."""
        owner = self._redis.owner(self._key)
        if owner is None:
            return None
        try:
            if self._admit is not None:
                await self._admit(owner)
            node = self._redis.node(owner)
            replies = await node.ask(*commands, within=_TIMEOUT, master=True)
        except (Unavailable, Redirected):
            return None
        return None if any(isinstance(reply, RedisError) for reply in replies) else replies


def _when(field: bytes) -> float:
    text = field.partition(b"-")[0]
    return float(text) if text.isdigit() else 0.0


def _listed(one: RefusedId) -> list[Any]:
    return [one.id, one.malformed, one.count, int(one.first), int(one.last), one.client]


def _report(value: bytes) -> list[RefusedId]:
    """Read a report; another program's, or a later version's, is empty."""
    try:
        return [RefusedId(*each) for each in orjson.loads(value) if _is_sound(each)]
    except (orjson.JSONDecodeError, TypeError):
        return []


_TYPES = (str, bool, int, int, int, str)


def _is_sound(each: Any) -> bool:
    return (
        isinstance(each, list)
        and len(each) == len(_TYPES)
        and all(type(value) is type_ for value, type_ in zip(each, _TYPES, strict=True))
    )

"""Which stations are turned away: unknown ones, blocked ones, ids that no station can have.

A refusal costs the lookup the next value of an iterator. Only when that ends is a refusal looked
at; how many values it has follows how many refusals there are, so that a thousand a second are
looked at even in a flood, each for as many as were passed over.
"""

import asyncio
import re
from collections.abc import Iterator
from itertools import repeat
from random import random
from time import monotonic, time
from urllib.parse import quote

from csms_redis.access.addresses import Forwarding
from csms_redis.access.control import AccessControl
from csms_redis.contract.identifiers import decode_segment
from csms_redis.contract.operations import BASE_PATH
from csms_redis.lookup import targets
from csms_redis.lookup.frequent import Frequent
from csms_redis.lookup.front.request_heads import read_head
from csms_redis.registry.refused import LATELY, RefusedId, RefusedStore, merged
from csms_redis.registry.stations import STATION

MOST_LOOKED_AT = 1000
"""Refusals that are looked at in a second, more or less."""

REPORTED = 100
"""How many of the most frequent ids other processes are told of; beside them the latest."""

_LATEST = 50
_TICK = 1.0  # seconds between two reports, at least
_BUSY = 5.0  # seconds between two while refusals go on
_FORGET = 600.0  # seconds after which what is counted of other ids is forgotten
_MOST_ID = 200  # characters
_BEFORE, _AFTER = f"GET {BASE_PATH}/cs/".encode(), b"/auth"
_PLAIN = re.compile(targets.ROUTES[0].plain)  # ids that stand in a path as they are
_MALFORMED = "\0"  # no id of a station begins with it


class RefusedStations:
    """Keeps the ids that were refused here, and tells other processes of them.

    Attributes:
        turns: gives a False for each refusal that is passed over, and ends before the next one that
            is looked at. The front asks it by itself: nothing else is cheaper.
    """

    def __init__(self, access_control: AccessControl) -> None:
        """Know of none.

        Args:
            access_control: knows who sent a request.
        """
        self.turns: Iterator[bool] = iter(())
        self._access_control = access_control
        self._stride = 1  # for how many refusals one stands that is looked at
        self._looked_at = 0  # in this second
        self._seen = Frequent(latest=_LATEST)
        self._changed = False
        self._forgot = monotonic()

    def lately(self) -> int:
        """How many of the ids that are kept were refused within ten minutes."""
        since = time() - _FORGET
        return sum(seen.last >= since for _, seen in self._seen.items())

    def passed(self, request: bytes, transport: asyncio.BaseTransport | None) -> None:
        """Look at a refusal of the front.

        Args:
            request: from its first byte to the end of its head.
            transport: the connection that it came over.
        """
        weight = self._next()
        target_end = request.find(b" HTTP/1.", len(_BEFORE))
        target = request[:target_end]
        if not target.startswith(_BEFORE) or not target.endswith(_AFTER):
            return
        if self._access_control.knows_by_address:
            client = self._access_control.caller(None, transport, Forwarding("", ""))
        else:
            head = read_head(request)
            if isinstance(head, str):  # the front has read it before
                return
            client = self._access_control.caller(head.authorization, transport, head.forwarding)
        self.add(target[len(_BEFORE) : -len(_AFTER)], client, weight)

    def add(self, segment: bytes | str, client: str, weight: int = 1) -> None:
        """Count a refusal.

        Args:
            segment: the id as it stands in the path.
            client: who asked.
            weight: for how many it stands.
        """
        if type(segment) is bytes and _PLAIN.fullmatch(segment):  # a third of the time
            id_: str | None = segment.decode()
        else:
            id_ = STATION.read_id(segment)
        if id_ is None:
            text = decode_segment(segment)
            raw = segment.decode("ascii", "replace") if isinstance(segment, bytes) else segment
            id_ = _MALFORMED + (raw if text is None else quote(text, safe="/:@"))[:_MOST_ID]
        self._seen.add(id_, client, time(), weight)
        self._changed = True

    def report(self) -> list[RefusedId]:
        """The ids that were refused here lately: the most frequent, and the latest."""
        every = [
            RefusedId(
                id_.removeprefix(_MALFORMED),
                id_.startswith(_MALFORMED),
                max(1, seen.count - seen.error),
                seen.first,
                seen.last,
                seen.client,
            )
            for id_, seen in self._seen.items()
        ]
        often = sorted(every, key=lambda one: (-one.count, -one.last))
        lately = sorted(often[REPORTED:], key=lambda one: -one.last)
        return often[:REPORTED] + lately[:_LATEST]

    async def run(self, store: RefusedStore) -> None:
        """Tell other processes, until cancelled: soon, then seldom while refusals go on."""
        written = 0.0
        while True:
            await asyncio.sleep(_TICK)
            self._second()
            now = monotonic()
            if self._changed and now - written >= _BUSY:
                self._changed = False
                written = now
                if not await store.write(self.report()):
                    self._changed = True
            if now - self._forgot >= _FORGET:
                self._forgot = now
                self._seen.forget(time() - LATELY)

    async def everywhere(self, store: RefusedStore) -> list[RefusedId]:
        """What this process and the others have seen; of the others nothing while Redis is away."""
        return merged([self.report(), *await store.read()], time())

    def _next(self) -> int:
        """Count one that is looked at; return for how many it stands."""
        stride = self._stride
        self._looked_at += 1
        if self._looked_at % MOST_LOOKED_AT == 0:  # more than a second may have
            self._stride *= 2
        self._begin_turns()
        return stride

    def _second(self) -> None:
        """A second is over: follow how many refusals there were."""
        there_were = self._looked_at * self._stride
        stride = max(1, there_were // MOST_LOOKED_AT)
        calmer = stride < self._stride
        self._stride = stride
        if calmer:
            self._begin_turns()
        self._looked_at = 0

    def _begin_turns(self) -> None:
        # by chance, for who comes again and again in one order would be missed again and again
        passed_over = int(random() * (2 * self._stride - 1))  # noqa: S311 nothing secret
        self.turns = repeat(False, passed_over)  # noqa: FBT003 what each turn is

"""Which stations are turned away: unknown ones, blocked ones, ids that no station can have.

A refusal costs the lookup the next value of an iterator. Only where that has ended is a refusal
looked at; how many values it has follows how many refusals there are, so that a thousand a second
are looked at even in a flood, each for as many as were passed over. A few in a row are looked at,
and only noted; many together are read and counted then. For one by itself, between lookups, the
processor's caches would have nothing of what that needs.
"""

import asyncio
import re
from collections.abc import Iterator
from itertools import repeat
from random import random
from time import monotonic, time
from urllib.parse import quote

from csms_redis.access.addresses import Forwarding, address_in
from csms_redis.access.control import AccessControl
from csms_redis.contract.identifiers import decode_segment
from csms_redis.contract.operations import BASE_PATH
from csms_redis.lookup import targets
from csms_redis.lookup.frequent import Frequent, Seen
from csms_redis.lookup.front.request_heads import read_head
from csms_redis.registry.refused import LATELY, RefusedId, RefusedStore, merged
from csms_redis.registry.stations import STATION

MOST_LOOKED_AT = 1000
"""Refusals that are looked at in a second, more or less."""

REPORTED = 100
"""How many of the most frequent ids other processes are told of; beside them the latest."""

_IN_A_ROW = 4  # refusals that are looked at one after the other
_TOGETHER = 64  # that are counted together
_LATEST = 50
_TICK = 1.0  # seconds between two reports, at least
_BUSY = 5.0  # seconds between two while refusals go on
_FORGET = 600.0  # seconds after which what is counted of other ids is forgotten
_MOST_ID = 200  # characters
_BEFORE, _AFTER = f"GET {BASE_PATH}/cs/".encode(), b"/auth"
# the lookup of an id that stands in the path as it is
_PLAIN = re.compile(
    b"%b(%b)%b HTTP/1" % (re.escape(_BEFORE), targets.ROUTES[0].plain, re.escape(_AFTER))
)
_NO_PROXY = Forwarding("", "")
_MALFORMED = "\0"  # no id of a station begins with it


class RefusedStations:
    """Keeps the ids that were refused here, and tells other processes of them.

    Attributes:
        turns: gives a False for each refusal that is passed over, and ends before the next ones
            that are looked at. The front asks it by itself: nothing else is cheaper.
    """

    def __init__(self, access_control: AccessControl) -> None:
        """Know of none.

        Args:
            access_control: knows who sent a request.
        """
        self.turns: Iterator[bool] = iter(())
        self._access_control = access_control
        self._noted: list[tuple[bytes, object]] = []  # requests, and who was at the other end
        self._stride = 1  # for how many refusals one stands that is looked at
        self._looked_at = 0  # in this second
        self._there_were = 0  # refusals in this second
        self._second_began = self._noting_began = self._forgot = monotonic()
        self._seen = Frequent(latest=_LATEST)
        self._changed = False

    def lately(self) -> int:
        """How many of the ids that are kept were refused within ten minutes."""
        self._count()
        since = time() - _FORGET
        return sum(seen.last >= since for _, seen in self._seen.items())

    def passed(self, request: bytes, transport: asyncio.BaseTransport | None) -> None:
        """Look at a refusal of the front.

        Args:
            request: from its first byte to the end of its head.
            transport: the connection that it came over.
        """
        # now, for the connection may be closed when they are counted
        self._noted.append((request, transport and transport.get_extra_info("peername")))
        noted = len(self._noted)
        if noted >= _TOGETHER:
            self._keep_pace(self._count())
            self._begin_turns()
        elif noted % _IN_A_ROW == 0:
            self._begin_turns()

    def add(self, segment: bytes | str, client: str) -> None:
        """Count a refusal.

        Args:
            segment: the id as it stands in the path.
            client: who asked.
        """
        self._count()
        self._seen.add(_id_of(segment), client, time())
        self._changed = True

    def report(self) -> list[RefusedId]:
        """The ids that were refused here lately: the most frequent, and the latest."""
        self._count()
        often = sorted(self._seen.items(), key=lambda kept: (-kept[1].least, -kept[1].last))
        lately = sorted(often[REPORTED:], key=lambda kept: -kept[1].last)
        return [_refused(id_, seen) for id_, seen in often[:REPORTED] + lately[:_LATEST]]

    def begin_second(self) -> None:
        """Follow how many refusals there were since this was called last, a second ago."""
        self._count()
        now = monotonic()
        a_second = self._there_were / (now - self._second_began)
        stride = max(1, int(a_second / MOST_LOOKED_AT))
        if stride != self._stride:
            self._stride = stride
            self._begin_turns()
        self._looked_at = self._there_were = 0
        self._second_began = self._noting_began = now

    async def run(self, store: RefusedStore) -> None:
        """Tell other processes, until cancelled: soon, then seldom while refusals go on."""
        written = 0.0
        while True:
            await asyncio.sleep(_TICK)
            self.begin_second()
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

    def _count(self) -> int:
        """Read and count what was noted; return how many refusals that stands for."""
        noted, self._noted = self._noted, []
        there_were = len(noted) * self._stride
        self._looked_at += len(noted)
        self._there_were += there_were
        now = time()
        by_address = self._access_control.knows_by_address
        for request, peername in noted:
            plain = _PLAIN.match(request)
            id_ = _id_in(request) if plain is None else plain[1].decode()
            if id_ is None:
                continue
            authorization, forwarding = None, _NO_PROXY
            if not by_address:
                head = read_head(request)
                if isinstance(head, str):  # the front has read it before
                    continue
                authorization, forwarding = head.authorization, head.forwarding
            client = self._access_control.caller(authorization, address_in(peername), forwarding)
            self._seen.add(id_, client, now, self._stride)
            self._changed = True
        return there_were

    def _keep_pace(self, there_were: int) -> None:
        """Look at fewer for the rest of this second, where enough were looked at.

        Args:
            there_were: refusals since it was called last.
        """
        now = monotonic()
        if self._looked_at >= MOST_LOOKED_AT:
            a_second = there_were / max(now - self._noting_began, 1e-6)
            self._stride = max(self._stride, int(a_second / MOST_LOOKED_AT))
        self._noting_began = now

    def _begin_turns(self) -> None:
        # by chance, for who comes again and again in one order would be missed again and again
        most = 2 * (self._stride - 1) * _IN_A_ROW + 1
        self.turns = repeat(False, int(random() * most))  # noqa: S311, FBT003 nothing secret; each turn's value


def _id_in(request: bytes) -> str | None:
    """The id in a lookup of a station; None for another lookup."""
    target = request[: request.find(b" HTTP/1.", len(_BEFORE))]
    if not target.startswith(_BEFORE) or not target.endswith(_AFTER):
        return None
    return _id_of(target[len(_BEFORE) : -len(_AFTER)])


def _id_of(segment: bytes | str) -> str:
    """The id that stands in a path; of a malformed one what stands there, and a mark."""
    id_ = STATION.read_id(segment)
    if id_ is not None:
        return id_
    text = decode_segment(segment)
    raw = segment.decode("ascii", "replace") if isinstance(segment, bytes) else segment
    return _MALFORMED + (raw if text is None else quote(text, safe="/:@"))[:_MOST_ID]


def _refused(id_: str, seen: Seen) -> RefusedId:
    return RefusedId(
        id_.removeprefix(_MALFORMED),
        id_.startswith(_MALFORMED),
        max(1, seen.least),
        seen.first,
        seen.last,
        seen.client,
    )

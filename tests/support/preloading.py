"""A process that reads all records, from a Redis that the test plays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase

from csms_redis.lookup import targets
from csms_redis.lookup.known.whole import Whole
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.preload import Preload
from csms_redis.registry.resource import Resource
from csms_redis.registry.stations import STATION
from csms_redis.settings import LookupSettings
from tests.support.fake_redis import MASTER as HELLO
from tests.support.wire import PROFILE, Client, Wire, array, bulk, connect, make_lookups, until

FOUND = {profile: (200, body) for profile, body in PROFILE.items()}
NOT_FOUND = (404, b"")
REJECTED = array(b"1", None, None, b'"Rejected"')
BLANK = {b"HELLO": HELLO, b"PTTL": b":-1\r\n", b"HPTTL": array(), b"CLUSTER": b"$0\r\n\r\n"}


class Site:
    """Lookups, their connection to a Redis that the test plays, and what that has."""

    def __init__(self, lookups: Lookups, wire: Wire) -> None:
        self.lookups = lookups
        self.wire = wire
        self.client = Client(lookups)
        self.source = lookups.sources.all[-1]
        self.records: dict[bytes, bytes] = {}
        self.refuses: dict[bytes, bytes] = {}  # replies by command
        self.asked: list[list[bytes]] = []  # commands that were answered
        self.page = 1000  # keys of one SCAN
        self.preload = lookups.preload(lambda: False)

    @property
    def stations(self) -> Whole:
        return self.whole(STATION)

    def whole(self, resource: Resource) -> Whole:
        return self.source.wholes[targets.wanted(resource, "")[2][9]]

    def reply(self, command: list[bytes]) -> bytes:
        """What Redis answers."""
        if command[0] in self.refuses:
            return self.refuses[command[0]]
        if command[0] == b"SCAN":
            pattern = command[3].decode().replace("\\", "")
            keys = sorted(key for key in self.records if fnmatchcase(key.decode(), pattern))
            start = int(command[1])
            after = start + self.page
            cursor = b"0" if after >= len(keys) else b"%d" % after
            return b"*2\r\n" + bulk(cursor) + array(*keys[start:after])
        if command[0] == b"HMGET":
            missing = array(*[None] * (len(command) - 2))
            return self.records.get(command[1], missing)
        return BLANK.get(command[0], b"+OK\r\n")

    async def serve(self, *, before: bytes = b"") -> None:
        """Answer all that is asked until nothing is; of `before`, and later, nothing."""
        while commands := await self.wire.sent():
            for number, command in enumerate(commands):
                if before and command[0] == before:
                    self.held = commands[number:]
                    return
                self.asked.append(command)
                self.wire.receive(self.reply(command))

    held: list[list[bytes]]
    """What was asked and is not answered yet."""

    def answer_held(self) -> None:
        """Answer that."""
        for command in self.held:
            self.wire.receive(self.reply(command))
        self.held = []

    async def lookup(self, cs_id: str) -> tuple[int, bytes] | None:
        """Look a station up; None where Redis was asked, which does not answer yet."""
        self.client.ask(cs_id)
        answers = self.client.take()
        return answers[0] if answers else None

    async def follow(self) -> None:
        """Let what changed be read again."""
        await until(lambda: not self.lookups.events.following.waiting)
        await self.serve()


@asynccontextmanager
async def preloading(
    site: Site, *, ready: bool = False, preload: Preload | None = None
) -> AsyncIterator[Preload]:
    """Read all records of the site while the block runs."""
    preload = preload or site.lookups.preload(lambda: ready)
    assert preload is not None
    task = asyncio.create_task(preload.run(site.source))
    try:
        yield preload
        if task.done():
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def make_site(**settings: float) -> Site:
    lookups = make_lookups(LookupSettings.model_validate({"timeout": 5, **settings}))
    return Site(lookups, connect(lookups))

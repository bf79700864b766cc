"""Where a command's records are: in Redis itself, or with a service, which it asks over HTTP."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
)
from time import time
from typing import Any, Protocol

from csms_redis.commands.audit import audited
from csms_redis.contract.doubts import Doubt
from csms_redis.contract.errors import Problem
from csms_redis.contract.models import RegistrationStatus
from csms_redis.contract.queries import MAX_REFUSED
from csms_redis.redis.client import RedisClient
from csms_redis.registry.certificates import Certificates
from csms_redis.registry.connected import connected
from csms_redis.registry.data_set import DataSet
from csms_redis.registry.listing import Page
from csms_redis.registry.records import RecordStore
from csms_redis.registry.refused import RefusedStore, in_order, merged, shown_as
from csms_redis.registry.resource import Record, Written, now
from csms_redis.registry.stations import Stations
from csms_redis.registry.tokens import Tokens
from csms_redis.rows.kinds import Kind
from csms_redis.settings import ApiSettings, Settings


class Records(Protocol):
    """The records of one kind: `registry`'s Stations, Tokens or Certificates, or `remote`'s."""

    async def get(self, record_id: str, /) -> bytes | None:
        """Read a record as JSON; None if there is none."""

    async def page(self, query: Any, /) -> Page:
        """Read one page of a listing."""

    async def delete(self, record_id: str, /) -> bool:
        """Remove a record; return whether there was one."""


class StationRecords(Records, Protocol):
    """The stations, and what only they have."""

    async def doubts(self, cs_id: str, /) -> list[Doubt]:
        """What is doubtful about how a station is authenticated."""

    async def set_status(self, cs_id: str, status: RegistrationStatus, /) -> bool:
        """Set a station's `registrationStatus`; whether there is such a station."""

    async def set_password(self, cs_id: str, base64_sha256: str, /) -> bool:
        """Set a station's credential; whether there is such a station."""


class Registry(Protocol):
    """What is asked of a place, while it is open."""

    @property
    def stations(self) -> StationRecords: ...

    @property
    def tokens(self) -> Records: ...

    @property
    def certificates(self) -> Records: ...

    async def store_all(
        self, kind: Kind, records: Sequence[Record], *, only_new: bool
    ) -> Sequence[Written | Problem]:
        """Store records; for each what became of it, or why it was not stored."""

    def every(
        self, kind: Kind, names: Sequence[str]
    ) -> AsyncIterator[tuple[str, dict[str, Any]] | None]:
        """Read all records of a kind."""

    async def refused(self) -> list[dict[str, str | int]]:
        """The stations that would be refused now, as the API has them; most frequent first."""


class Place(ABC):
    """Where records are. It opens what a command asks, and knows what is allowed there.

    Attributes:
        api: what is allowed.
        prefix: of the keys of records that are made for this place.
        together: how many records are best stored at once.
    """

    api: ApiSettings
    prefix: bytes
    together: int

    @abstractmethod
    def opened(self) -> AbstractAsyncContextManager[Registry]:
        """Connect until the block ends."""

    @abstractmethod
    def importing(self) -> AbstractAsyncContextManager[Registry]:
        """As `opened`, for an import."""

    @abstractmethod
    def now(self) -> bytes:
        """The `lastUpdated`, as JSON, of an imported row that has none."""

    @abstractmethod
    def audited(self, command: str, operation: str) -> AbstractContextManager[dict[str, Any]]:
        """Write a line of the audit when the block ends, unless the service writes it."""


class RedisPlace(Place):
    """The Redis of the settings."""

    together = 500

    def __init__(self, settings: Settings) -> None:
        self.api = settings.api
        self.prefix = settings.redis.key_prefix.encode()
        self._settings = settings

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Registry]:
        async with connected(self._settings.redis) as redis:
            yield _RedisRegistry(redis, self.prefix, self.api)

    @asynccontextmanager
    async def importing(self) -> AsyncIterator[Registry]:
        async with connected(self._settings.redis) as redis:
            # A copy of a data set that is imported into is a data set of its own.
            await DataSet(redis, self.prefix).renew()
            yield _RedisRegistry(redis, self.prefix, self.api)

    def now(self) -> bytes:
        return now()

    def audited(self, command: str, operation: str) -> AbstractContextManager[dict[str, Any]]:
        return audited(self._settings, command, operation)


class _RedisRegistry:
    """What a connected Redis is asked."""

    def __init__(self, redis: RedisClient, prefix: bytes, api: ApiSettings) -> None:
        self.stations = Stations(redis, prefix)
        self.tokens = Tokens(redis, prefix)
        self.certificates = Certificates(redis, prefix)
        self._store = RecordStore(redis, prefix)
        self._refused = RefusedStore(redis, prefix)
        self._strict = api.strict

    async def store_all(
        self, kind: Kind, records: Sequence[Record], *, only_new: bool
    ) -> Sequence[Written | Problem]:
        del kind
        return await self._store.store_all(records, only_new=only_new, strict=self._strict)

    def every(
        self, kind: Kind, names: Sequence[str]
    ) -> AsyncIterator[tuple[str, dict[str, Any]] | None]:
        return self._store.every(kind.resource, names)

    async def refused(self) -> list[dict[str, str | int]]:
        every = in_order(merged(await self._refused.read(), time()), "count")
        found = await self._refused.with_reasons(every, MAX_REFUSED)
        return [shown_as(one, reason) for one, reason in found]

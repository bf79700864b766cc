"""The records of one kind over a service's API: what `registry` has of the same names."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from csms_redis.contract.doubts import DOUBTS_HEADER, Doubt
from csms_redis.contract.errors import NotFound
from csms_redis.contract.models import RegistrationStatus
from csms_redis.contract.queries import CertificateQuery, Query, StationQuery, TokenQuery
from csms_redis.registry.listing import Page
from csms_redis.remote.session import Session

_CURSOR = re.compile(r"[?&]cursor=([A-Za-z0-9_-]+)")
_DOTS = {".": "%2E", "..": "%2E%2E"}  # RFC 3986, 5.2.4: a client would leave them out of a path


class _Records:
    """The records of one kind.

    Attributes:
        path: of their listing.
    """

    path: str

    def __init__(self, session: Session) -> None:
        """Ask for them over a session."""
        self._session = session

    async def delete(self, record_id: str) -> bool:
        """Remove a record; whether there was one."""
        return await self._change("DELETE", record_id)

    async def _page(self, query: Query) -> Page:
        given = {"limit": query.limit, **query.filters}
        if query.cursor is not None:
            given["cursor"] = query.cursor
        answer = await self._session.get(self.path, _as_text(given))
        found = _CURSOR.search(answer.headers.get("Link", ""))
        records = [orjson.dumps(record) for record in orjson.loads(answer.body)]
        return Page(records, found[1] if found else None)

    async def _change(
        self, method: str, record_id: str, below: str = "", body: object = None
    ) -> bool:
        data = None if body is None else orjson.dumps(body)
        try:
            await self._session.send(method, f"{self._of(record_id)}{below}", body=data)
        except NotFound:
            return False
        return True

    def _of(self, record_id: str) -> str:
        return f"{self.path}/{_DOTS.get(record_id) or quote(record_id, safe='')}"


class RemoteStations(_Records):
    """Charge stations, as `registry.stations.Stations` has them."""

    path = "/cs"

    async def get(self, cs_id: str) -> bytes | None:
        """What is known of a station, without its credential, as JSON."""
        try:
            return (await self._session.get(self._of(cs_id))).body
        except NotFound:
            return None

    async def doubts(self, cs_id: str) -> list[Doubt]:
        """What is doubtful about how a station is authenticated."""
        answer = await self._session.get(self._of(cs_id))
        named = {name.strip() for name in answer.headers.get(DOUBTS_HEADER, "").split(",")}
        return [doubt for doubt in Doubt if doubt.value in named]

    async def page(self, query: StationQuery) -> Page:
        """A page of stations."""
        return await self._page(query)

    async def set_status(self, cs_id: str, status: RegistrationStatus) -> bool:
        """Set a station's `registrationStatus`; whether there is such a station."""
        body = {"registrationStatus": status}
        return await self._change("PUT", cs_id, "/registrationStatus", body)

    async def set_password(self, cs_id: str, base64_sha256: str) -> bool:
        """Set a station's credential and nothing else; whether there is such a station."""
        return await self._change(
            "PUT", cs_id, "/password", {"base64SHA256Password": base64_sha256}
        )


class RemoteTokens(_Records):
    """Tokens, as `registry.tokens.Tokens` has them."""

    path = "/token"

    async def get(self, uid: str) -> bytes | None:
        """A token by its uid, as JSON."""
        found = await self._page(TokenQuery.read([("uid", uid)]))
        return found.records[0] if found.records else None

    async def page(self, query: TokenQuery) -> Page:
        """A page of tokens."""
        return await self._page(query)


class RemoteCertificates(_Records):
    """Client certificates, as `registry.certificates.Certificates` has them."""

    path = "/certificate"

    async def get(self, hash_: str) -> bytes | None:
        """The details of a certificate, as JSON."""
        found = await self._page(CertificateQuery.read([("certificateHash", hash_)]))
        return found.records[0] if found.records else None

    async def page(self, query: CertificateQuery) -> Page:
        """A page of certificates' details."""
        return await self._page(query)


def _as_text(query: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
    }

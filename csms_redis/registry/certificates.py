"""Client certificates: `certificate:{hash}`, the hash in padded base64url as gateways send it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import orjson

from csms_redis.contract.certificates import (
    ClientCertificate,
    InvalidCertificate,
    certificate_hash,
    read_pem,
)
from csms_redis.contract.errors import Unavailable
from csms_redis.contract.models import Certificate, moment
from csms_redis.contract.queries import CertificateQuery
from csms_redis.contract.shown import CertificateSummary
from csms_redis.redis.client import RedisClient
from csms_redis.redis.scan import MastersChanged, Scan
from csms_redis.registry.listing import MOST_AT_ONCE, Listing, Page, Values
from csms_redis.registry.resource import (
    Record,
    Resource,
    delete,
    if_json,
    json_object,
    lookup_fields,
    now,
    store,
)

CERTIFICATE = Resource(
    name="certificate",
    called="certificate",
    canonical=certificate_hash,
    fields=lookup_fields(Certificate),
)

SOON = timedelta(days=30)

_SHOWN = lookup_fields(CertificateSummary)
_STORED = _SHOWN[1:]  # the hash is in the key only
_NOT_AFTER = _STORED.index(b"notAfter")
_READ_AT_ONCE = 100
_PEMS_AT_ONCE = 10  # each has up to 64 KiB
_PAUSE = 0.005  # seconds between two looks at Redis
_EVERY = 300.0  # seconds from one count to the next
_SOONER = 10.0  # seconds to the first count, and to the next try after one that failed


def certificate_record(
    prefix: bytes, certificate: ClientCertificate, *, updated: bytes | None = None
) -> Record:
    """A certificate as it is stored, and beside it what it says of itself, for listings.

    Args:
        prefix: what every key begins with.
        certificate: the certificate.
        updated: the record's `lastUpdated`, as JSON; None for now.
    """
    fields = Certificate(certificate=certificate.pem).hash_fields() | _details(certificate)
    fields[b"lastUpdated"] = updated or now()
    return Record(CERTIFICATE.key(prefix, certificate.hash), fields)


class Expiry(NamedTuple):
    """How many certificates run out, and of how many nobody can say when.

    Attributes:
        soon: that run out before a moment.
        unreadable: whose `notAfter` cannot be read.
    """

    soon: int
    unreadable: int


class Certificates:
    """The certificates in Redis."""

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Keep the certificates in `redis`; every key begins with `prefix`."""
        self._redis = redis
        self._prefix = prefix
        self._listing = Listing(redis, prefix, CERTIFICATE, _read)

    async def upload(self, certificate: ClientCertificate) -> None:
        """Keep a certificate under its hash.

        Raises:
            Conflict: the key has something else than a record; nothing was changed.
            Unavailable: nothing was changed.
            OutcomeUnknown: the certificate may have been stored.
        """
        await store(self._redis, certificate_record(self._prefix, certificate))

    async def delete(self, hash_: str) -> bool:
        """Remove a certificate; whether there was one.

        Raises:
            Unavailable: nothing was changed.
            OutcomeUnknown: the certificate may have been removed.
        """
        return await delete(self._redis, CERTIFICATE.key(self._prefix, hash_))

    async def get(self, hash_: str) -> bytes | None:
        """The details of a certificate, as JSON.

        None for an unknown certificate, and for a record that is not this service's.

        Raises:
            Unavailable: it cannot be read.
        """
        key = CERTIFICATE.key(self._prefix, hash_)
        values = await self._redis.read(key, "HMGET", key, b"certificate", *_STORED)
        pem, *stored = values
        if pem is None:
            return None
        if stored[_NOT_AFTER] is None:
            stored = _with_details(stored, pem)
        return if_json(_show(hash_, stored))

    async def page(self, query: CertificateQuery) -> Page:
        """A page of certificates' details.

        Raises:
            BadRequest: the cursor does not belong to this listing.
            Gone: the masters that the cursor refers to have changed.
            Unavailable: Redis cannot be read.
        """
        before = query.expires_before
        if query.certificateHash is not None:
            found = await self.get(query.certificateHash)
            is_one = found is not None and (before is None or _runs_out_before(found, before))
            return Page([found] if found is not None and is_one else [], None)

        def show(hash_: str, values: Values) -> bytes | None:
            if before is not None and not _expires_before(values, before):
                return None
            return _show(hash_, values)

        return await self._listing.page(query, show)

    async def count_expiring(self, before: datetime) -> Expiry:
        """Count the certificates that run out before a moment, those that have run out among them.

        Redis is asked for little at once, so it takes a second for each 100,000 records of any
        kind.

        Raises:
            Unavailable: Redis cannot be read, or its masters have changed meanwhile.
        """
        scan = await Scan.begin(self._redis)
        start = CERTIFICATE.key(self._prefix, "")
        expiring: set[bytes] = set()  # SCAN may give a key twice
        unreadable: set[bytes] = set()
        try:
            for number in range(len(scan)):
                cursor: int | None = None
                while cursor != 0:
                    cursor, keys = await scan.keys(
                        number, cursor or 0, start=start, count=MOST_AT_ONCE
                    )
                    for first in range(0, len(keys), _READ_AT_ONCE):
                        some = keys[first : first + _READ_AT_ONCE]
                        read = zip(some, await _read(scan, number, some), strict=True)
                        for key, values in read:
                            if values[_NOT_AFTER] is None:
                                unreadable.add(key)
                            elif _expires_before(values, before):
                                expiring.add(key)
                        await asyncio.sleep(_PAUSE)
                    await asyncio.sleep(_PAUSE)
        except MastersChanged:
            raise Unavailable("Redis's masters have changed meanwhile.") from None
        return Expiry(len(expiring), len(unreadable))


class ExpiringCertificates:
    """How many certificates run out soon, counted anew now and then."""

    def __init__(self, certificates: Certificates) -> None:
        """Count no certificate yet; `run` counts those of `certificates`."""
        self._certificates = certificates
        self.number: Expiry | None = None
        """Those that have expired or expire within `SOON`; None until they were counted once."""

    async def run(self) -> None:
        """Count every few minutes until cancelled; while Redis is away the last number stands."""
        pause = _SOONER
        while True:
            await asyncio.sleep(pause)
            try:
                self.number = await self._certificates.count_expiring(datetime.now(UTC) + SOON)
                pause = _EVERY
            except Unavailable:
                pause = min(2 * pause, _EVERY)


async def _read(scan: Scan, number: int, keys: list[bytes]) -> list[list[bytes | None]]:
    """The details of some certificates; parsed where a certificate was stored without details."""
    found = await scan.values(number, keys, _STORED)
    bare = [at for at, values in enumerate(found) if values[_NOT_AFTER] is None]
    for start in range(0, len(bare), _PEMS_AT_ONCE):
        some = bare[start : start + _PEMS_AT_ONCE]
        pems = await scan.values(number, [keys[at] for at in some], [b"certificate"])
        for at, (pem,) in zip(some, pems, strict=True):
            found[at] = _with_details(found[at], pem)
    return found


def _show(hash_: str, values: Values) -> bytes:
    return json_object(_SHOWN, [orjson.dumps(hash_), *values])


def _with_details(stored: Values, pem: bytes | None) -> list[bytes | None]:
    """The stored values of a certificate, replaced by the details that the PEM text has."""
    details = _parse(pem)
    return [details.get(name, value) for name, value in zip(_STORED, stored, strict=True)]


def _parse(pem: bytes | None) -> dict[bytes, bytes]:
    if pem is None:
        return {}
    try:
        return _details(read_pem(orjson.loads(pem)))
    except (orjson.JSONDecodeError, AttributeError, InvalidCertificate):
        return {}  # not written by this service


def _details(certificate: ClientCertificate) -> dict[bytes, bytes]:
    return {name.encode(): orjson.dumps(value) for name, value in certificate.details.items()}


def _runs_out_before(details: bytes, before: datetime) -> bool:
    """Whether a certificate, whose details are JSON, runs out before a moment."""
    try:
        return moment(orjson.loads(details)["notAfter"]) < before
    except (KeyError, ValueError, TypeError):
        return False  # not written by this service


def _expires_before(values: Values, before: datetime) -> bool:
    stored = values[_NOT_AFTER]
    try:
        return stored is not None and moment(orjson.loads(stored)) < before
    except (ValueError, TypeError):
        return False  # not written by this service

"""The kinds of record that can be imported and exported, and how a row becomes a record."""

from abc import ABC, abstractmethod
from datetime import UTC
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import orjson

from csms_redis.contract.certificates import check_certificate
from csms_redis.contract.doubts import Doubt, of_password, refuse_any
from csms_redis.contract.errors import BadRequest
from csms_redis.contract.models import (
    Certificate,
    ChargeStationAuth,
    ChargeStationRegistration,
    Token,
    moment,
)
from csms_redis.contract.passwords import base64_sha256, bytes_of_hex
from csms_redis.contract.station_ids import check_station_id
from csms_redis.registry.certificates import CERTIFICATE, certificate_record
from csms_redis.registry.resource import Record, Resource
from csms_redis.registry.stations import STATION, station_record
from csms_redis.registry.tokens import TOKEN, token_record
from csms_redis.settings import ApiSettings

CREDENTIAL = "base64SHA256Password"
PASSWORD = "password"  # noqa: S105 a column's name
_KEY = "authorizationKey"
_CS_ID, _AUTH, _STATUS, _UPDATED = "csId", "auth", "registrationStatus", "lastUpdated"
_HIDDEN = "***"


class Checked(NamedTuple):
    """A row that passed the check.

    Attributes:
        record: what is to be stored.
        doubts: what is doubtful about it; none when strict.
    """

    record: Record
    doubts: tuple[Doubt, ...]


class Kind(ABC):
    """A kind of record, as a file has it.

    It names the columns and checks rows. It neither reads files nor stores records.

    Attributes:
        resource: how records of this kind are stored.
        columns: all the columns that a file may have.
        required: the columns that a file must have.
        exported: the properties of an export, in order; the first is the id, if it is a property.
        integers: the columns whose values are whole numbers.
        booleans: the columns whose values are true or false.
        public: the columns whose values may be repeated in a file of rejects.
    """

    resource: ClassVar[Resource]
    columns: ClassVar[tuple[str, ...]]
    required: ClassVar[tuple[str, ...]]
    exported: ClassVar[tuple[str, ...]]
    integers: ClassVar[frozenset[str]] = frozenset()
    booleans: ClassVar[frozenset[str]] = frozenset()
    public: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def check(
        self, data: dict[str, Any], *, api: ApiSettings, prefix: bytes, now: bytes
    ) -> Checked:
        """Check a row as the API checks a request's body, and make a record of it.

        Args:
            data: the row's properties.
            api: the settings of the API, which say what is allowed.
            prefix: what every key begins with.
            now: the `lastUpdated`, as JSON, of a row that has none.

        Raises:
            BadRequest: the row is refused; the error says why, and never shows the value.
        """

    def without_secrets(self, data: dict[str, Any]) -> dict[str, Any]:
        """What may be shown of a row: a secret may be in any column but a public one."""
        return {
            name: value if name in self.public else _HIDDEN
            for name, value in data.items()
            if name in self.columns
        }


class StationKind(Kind):
    """Charge stations, with their credentials."""

    resource = STATION
    exported = (
        _CS_ID,
        "securityProfile",
        CREDENTIAL,
        "invalidUsernameAllowed",
        _STATUS,
        _UPDATED,
    )
    columns = (*exported, PASSWORD, _KEY)
    required = (_CS_ID, "securityProfile")
    integers = frozenset({"securityProfile"})
    booleans = frozenset({"invalidUsernameAllowed"})
    public = frozenset({_CS_ID})

    def check(
        self, data: dict[str, Any], *, api: ApiSettings, prefix: bytes, now: bytes
    ) -> Checked:
        """As `Kind` says; a password or a key is hashed, and a listing's `auth` is read."""
        rest = _without_auth(data)
        cs_id = rest.pop(_CS_ID, None)
        if not isinstance(cs_id, str):
            cs_id = ""
        about_id = check_station_id(cs_id, strict=api.strict, any_station_id=api.any_station_id)
        status = rest.pop(_STATUS, None)
        if status is not None:
            ChargeStationRegistration.check({_STATUS: status}, strict=api.strict)
        updated = _last_updated(rest.pop(_UPDATED, None), now)
        about_password = _hash_password(rest)
        if api.strict:
            refuse_any(about_password)
        auth = ChargeStationAuth.check(rest, strict=api.strict)
        record = station_record(
            prefix,
            cs_id,
            auth,
            status=None if status is None else orjson.dumps(status),
            updated=updated,
        )
        return Checked(record, (*about_id, *about_password, *auth.doubts()))


class TokenKind(Kind):
    """Authorization tokens."""

    resource = TOKEN
    exported = columns = tuple(Token.model_fields)
    required = ("uid",)
    booleans = frozenset({"valid"})
    public = frozenset(columns)

    def check(
        self, data: dict[str, Any], *, api: ApiSettings, prefix: bytes, now: bytes
    ) -> Checked:
        """As `Kind` says."""
        token = Token.check(data, strict=api.strict)
        updated = _last_updated(token.lastUpdated, now)
        doubts = () if api.strict else tuple(token.doubts())
        return Checked(token_record(prefix, token, updated=updated), doubts)


class CertificateKind(Kind):
    """Client certificates of stations."""

    resource = CERTIFICATE
    exported = columns = ("certificate", _UPDATED)
    required = ("certificate",)

    def check(
        self, data: dict[str, Any], *, api: ApiSettings, prefix: bytes, now: bytes
    ) -> Checked:
        """As `Kind` says."""
        rest = dict(data)
        updated = _last_updated(rest.pop(_UPDATED, None), now)
        certificate = Certificate.check(rest, strict=api.strict)
        read = check_certificate(certificate.certificate, strict=api.strict)
        return Checked(certificate_record(prefix, read, updated=updated), read.doubts)


def _hash_password(data: dict[str, Any]) -> tuple[Doubt, ...]:
    """Put the hash of a station's password or key in its place; what is doubtful about it."""
    given = [name for name in (PASSWORD, _KEY, CREDENTIAL) if data.get(name) is not None]
    if len(given) > 1:
        raise BadRequest(f"There may be a {given[0]} or a {given[1]}, not both.")
    password, key = data.pop(PASSWORD, None), data.pop(_KEY, None)
    for name, value in ((PASSWORD, password), (_KEY, key)):
        if value is not None and not isinstance(value, str):
            raise BadRequest(f"{name}: input should be a valid string.")
        if value == "":
            raise BadRequest(f"{name} is empty.")
    if key is not None:
        try:
            data[CREDENTIAL] = base64_sha256(bytes_of_hex(key))
        except ValueError as error:
            raise BadRequest(f"{_KEY} {error}.") from None
    if password is None:
        return ()
    data[CREDENTIAL] = base64_sha256(password.encode())
    return tuple(of_password(password.encode()))


def _without_auth(data: dict[str, Any]) -> dict[str, Any]:
    """Put a station's properties on one level: the API's listing has some of them in `auth`."""
    rest = dict(data)
    auth = rest.pop(_AUTH, None)
    if auth is None:
        return rest
    if not isinstance(auth, dict):
        raise BadRequest(f"{_AUTH}: input should be an object.")
    if rest.keys() & auth.keys():
        raise BadRequest(f"A property is there twice, in {_AUTH} and beside it.")
    return rest | auth


def _last_updated(text: Any, now: bytes) -> bytes:
    """Read a row's `lastUpdated`; an import keeps that of an export."""
    if text is None:
        return now
    if not isinstance(text, str):
        raise BadRequest(f"{_UPDATED}: input should be a valid string.")
    try:
        return _stored_moment(text)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{_UPDATED}: {error}.") from None


@lru_cache(1024)  # many rows of a file have the same moment
def _stored_moment(text: str) -> bytes:
    utc = moment(text).astimezone(UTC).replace(microsecond=0, tzinfo=None)
    return f'"{utc.isoformat()}Z"'.encode()


KINDS: dict[str, Kind] = {
    "stations": StationKind(),
    "tokens": TokenKind(),
    "certificates": CertificateKind(),
}

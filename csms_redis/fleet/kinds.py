"""The kinds of record that can be imported and exported, and how a row becomes a record."""

from abc import ABC, abstractmethod
from datetime import UTC
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import orjson

from csms_redis.contract.certificates import InvalidCertificate, read_pem
from csms_redis.contract.errors import BadRequest
from csms_redis.contract.models import (
    Certificate,
    ChargeStationAuth,
    ChargeStationRegistration,
    Token,
    moment,
)
from csms_redis.contract.passwords import base64_sha256
from csms_redis.contract.station_ids import check_station_id
from csms_redis.registry.certificates import CERTIFICATE, certificate_record
from csms_redis.registry.resource import Record, Resource
from csms_redis.registry.stations import STATION, station_record
from csms_redis.registry.tokens import TOKEN, token_record
from csms_redis.settings import ApiSettings

CREDENTIAL = "base64SHA256Password"
PASSWORD = "password"  # noqa: S105 a column's name
_CS_ID, _AUTH, _STATUS, _UPDATED = "csId", "auth", "registrationStatus", "lastUpdated"
_HIDDEN = "***"


class Checked(NamedTuple):
    """A row that passed the check.

    Attributes:
        record: what is to be stored.
        doubts: what the contract allows in the row, but no gateway can use; a sentence each.
    """

    record: Record
    doubts: tuple[str, ...]


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
    columns = (*exported, PASSWORD)
    required = (_CS_ID, "securityProfile")
    integers = frozenset({"securityProfile"})
    booleans = frozenset({"invalidUsernameAllowed"})
    public = frozenset({_CS_ID})

    def check(
        self, data: dict[str, Any], *, api: ApiSettings, prefix: bytes, now: bytes
    ) -> Checked:
        """As `Kind` says; a plaintext password is hashed, and a listing's `auth` is read."""
        rest = _without_auth(data)
        cs_id = rest.pop(_CS_ID, None)
        if not isinstance(cs_id, str):
            cs_id = ""
        doubts = check_station_id(cs_id, strict=api.strict, any_station_id=api.any_station_id)
        status = rest.pop(_STATUS, None)
        if status is not None:
            ChargeStationRegistration.check({_STATUS: status}, strict=api.strict)
        updated = _last_updated(rest.pop(_UPDATED, None), now)
        password = rest.pop(PASSWORD, None)
        if password is not None:
            if rest.get(CREDENTIAL) is not None:
                raise BadRequest(f"There may be a {PASSWORD} or a {CREDENTIAL}, not both.")
            if not isinstance(password, str):
                raise BadRequest(f"{PASSWORD}: input should be a valid string.")
            if not password:
                raise BadRequest(f"{PASSWORD} is empty.")
            rest[CREDENTIAL] = base64_sha256(password.encode())
        auth = ChargeStationAuth.check(rest, strict=api.strict)
        record = station_record(
            prefix,
            cs_id,
            auth,
            status=None if status is None else orjson.dumps(status),
            updated=updated,
        )
        return Checked(record, (*doubts, *auth.doubts()))


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
        # A contractId that is not an eMAID is no doubt: OCPI allows it, and lookups find it.
        return Checked(token_record(prefix, token, updated=updated), ())


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
        try:
            read = read_pem(certificate.certificate)
        except InvalidCertificate as invalid:
            raise BadRequest(f"{str(invalid)[0].upper()}{str(invalid)[1:]}.") from None
        return Checked(certificate_record(prefix, read, updated=updated), ())


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

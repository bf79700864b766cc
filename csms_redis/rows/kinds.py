"""The kinds of record that can be imported and exported, and how a row becomes a record."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC
from functools import lru_cache
from types import MappingProxyType
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
    TokenAsGiven,
    moment,
)
from csms_redis.contract.passwords import base64_sha256, bytes_of_hex
from csms_redis.contract.shown import CertificateSummary
from csms_redis.contract.station_ids import check_station_id
from csms_redis.registry.certificates import CERTIFICATE, certificate_record
from csms_redis.registry.resource import Record, Resource
from csms_redis.registry.stations import STATION, station_record
from csms_redis.registry.tokens import TOKEN, token_record
from csms_redis.rows import ocpi
from csms_redis.settings import ApiSettings

CREDENTIAL = "base64SHA256Password"
PASSWORD = "password"  # noqa: S105 a column's name
_KEY = "authorizationKey"
UPDATED = "lastUpdated"
_CS_ID, _AUTH, _STATUS = "csId", "auth", "registrationStatus"
_HIDDEN = "***"
_FIRST_WORD = re.compile(r"\w+")
_NO_SECRET = re.compile(r"[A-Za-z]{0,16}|[-+0-9.,:/TZ ]{1,32}")


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
        ids: the columns whose values are ids, of which each digit counts.
        secrets: the columns whose values are never shown.
        optional: the columns that NULL takes away.
        aliases: what others call a column, and its name here.
        left_out: what others have, and this program has no place for.
        meant: names that are none of a column, but probably stand for one.
        nested: the columns that are objects, in JSON.
        newest_stays: whether of several rows with one id the one with the newest `lastUpdated`
            stays; else, and among rows without one, the later.
    """

    resource: ClassVar[Resource]
    columns: ClassVar[tuple[str, ...]]
    required: ClassVar[tuple[str, ...]]
    exported: ClassVar[tuple[str, ...]]
    integers: ClassVar[frozenset[str]] = frozenset()
    booleans: ClassVar[frozenset[str]] = frozenset()
    ids: ClassVar[frozenset[str]] = frozenset()
    secrets: ClassVar[frozenset[str]] = frozenset()
    optional: ClassVar[frozenset[str]] = frozenset()
    aliases: ClassVar[Mapping[str, str]] = {}
    left_out: ClassVar[frozenset[str]] = frozenset()
    meant: ClassVar[Mapping[str, str]] = {}
    nested: ClassVar[frozenset[str]] = frozenset()
    newest_stays: ClassVar[bool] = False

    @abstractmethod
    def check(
        self, data: dict[str, Any], *, api: ApiSettings, prefix: bytes, now: bytes, whole: bool
    ) -> Checked:
        """Check a row as the API checks a request's body, and make a record of it.

        Args:
            data: the row's properties; None for one that is to go.
            whole: whether the record has what the row says and nothing else.
            api: the settings of the API, which say what is allowed.
            prefix: what every key begins with.
            now: the `lastUpdated`, as JSON, of a row that has none.

        Raises:
            BadRequest: the row is refused; the error says why, and never shows the value.
        """

    def without_secrets(self, data: dict[str, Any]) -> dict[str, Any]:
        """What may be shown of a row: all but its secrets."""
        return {
            name: _HIDDEN if name in self.secrets else value
            for name, value in data.items()
            if name in self.columns
        }

    def column_of(self, reason: str) -> str:
        """The column that a reason begins with; empty if it is about none."""
        word = _FIRST_WORD.match(reason)
        return word[0] if word and word[0] in self.columns else ""

    def removed(self, data: dict[str, Any]) -> tuple[bytes, ...]:
        """The properties that a row takes away."""
        return tuple(
            name.encode() for name, value in data.items() if value is None and name in self.optional
        )


class StationKind(Kind):
    """Charge stations, with their credentials."""

    resource = STATION
    exported = (
        _CS_ID,
        "securityProfile",
        CREDENTIAL,
        "invalidUsernameAllowed",
        _STATUS,
        UPDATED,
    )
    columns = (*exported, PASSWORD, _KEY)
    required = (_CS_ID, "securityProfile")
    integers = frozenset({"securityProfile"})
    booleans = optional = frozenset({"invalidUsernameAllowed"})
    ids = frozenset({_CS_ID})
    secrets = frozenset({CREDENTIAL, PASSWORD, _KEY})
    aliases = MappingProxyType({_AUTH: _AUTH})
    nested = frozenset({_AUTH})
    meant = MappingProxyType(
        {
            "status": _STATUS,
            "state": _STATUS,
            "registration": _STATUS,
            "profile": "securityProfile",
            "pass": PASSWORD,
            "passwd": PASSWORD,
            "pwd": PASSWORD,
            "secret": PASSWORD,
            "passwordHash": CREDENTIAL,
            "hash": CREDENTIAL,
            "authKey": _KEY,
            "key": _KEY,
        }
    )

    def without_secrets(self, data: dict[str, Any]) -> dict[str, Any]:
        """As `Kind` says; nothing where a secret may have slipped into another column."""
        shown = super().without_secrets(data)
        rest = (value for name, value in shown.items() if name not in self.secrets | {_CS_ID})
        slipped = any(isinstance(value, str) and not _NO_SECRET.fullmatch(value) for value in rest)
        return dict.fromkeys(shown, _HIDDEN) if slipped else shown

    def check(
        self, data: dict[str, Any], *, api: ApiSettings, prefix: bytes, now: bytes, whole: bool
    ) -> Checked:
        """As `Kind` says; a password or a key is hashed, and a listing's `auth` is read."""
        rest = _without_auth(data)
        removed: tuple[bytes, ...] = ()
        if None in rest.values():
            removed, rest = self.removed(rest), _without_nulls(rest)
        cs_id = rest.pop(_CS_ID, None)
        if not isinstance(cs_id, str):
            raise BadRequest(f"{_CS_ID} {'is missing' if cs_id is None else 'must be a text'}.")
        about_id = check_station_id(cs_id, strict=api.strict, any_station_id=api.any_station_id)
        status = rest.pop(_STATUS, None)
        if status is not None:
            ChargeStationRegistration.check({_STATUS: status}, strict=api.strict)
        updated = _last_updated(rest.pop(UPDATED, None), now)
        about_password = _hash_password(rest)
        if api.strict:
            refuse_any(about_password)
        # whether the station has a password already is known when it is stored
        perhaps = not whole and CREDENTIAL not in rest and rest.get("securityProfile") in {0, 1}
        if perhaps and api.strict and not rest.keys() <= ChargeStationAuth.model_fields.keys():
            raise BadRequest("The row has a property that is not known.")
        auth = ChargeStationAuth.check(rest, strict=api.strict and not perhaps)
        record = station_record(
            prefix,
            cs_id,
            auth,
            status=None if status is None else orjson.dumps(status),
            updated=updated,
            partial=not whole,
            removed=removed,
        )
        about_auth = () if perhaps else auth.doubts()
        return Checked(record, (*about_id, *about_password, *about_auth))


class TokenKind(Kind):
    """Authorization tokens."""

    resource = TOKEN
    exported = columns = tuple(Token.model_fields)
    required = tuple(name for name, field in Token.model_fields.items() if field.is_required())
    booleans = frozenset({"valid"})
    ids = frozenset({"uid", "contractId", "groupId", "visualNumber"})
    optional = frozenset({"visualNumber", "groupId", "languageCode"})
    aliases = MappingProxyType(ocpi.NAMES | {ocpi.OLD_CONTRACT_ID: "contractId"})
    left_out = ocpi.LEFT_OUT
    meant = MappingProxyType(
        {
            "lang": "languageCode",
            "visual": "visualNumber",
            "visualNo": "visualNumber",
        }
    )
    newest_stays = True

    def check(
        self, data: dict[str, Any], *, api: ApiSettings, prefix: bytes, now: bytes, whole: bool
    ) -> Checked:
        """As `Kind` says."""
        removed: tuple[bytes, ...] = ()
        if None in data.values():
            removed, data = self.removed(data), _without_nulls(data)
        token = TokenAsGiven.check(data, strict=api.strict)
        updated = _last_updated(token.lastUpdated, now)
        doubts = () if api.strict else tuple(token.doubts())
        record = token_record(prefix, token, updated=updated, partial=not whole, removed=removed)
        return Checked(record, doubts)


class CertificateKind(Kind):
    """Client certificates of stations."""

    resource = CERTIFICATE
    exported = columns = ("certificate", UPDATED)
    required = ("certificate",)
    secrets = frozenset({"certificate"})  # it may be a private key
    left_out = frozenset(CertificateSummary.model_fields) - {UPDATED}

    def check(
        self, data: dict[str, Any], *, api: ApiSettings, prefix: bytes, now: bytes, whole: bool
    ) -> Checked:
        """As `Kind` says; a certificate is always whole, for its key is its hash."""
        del whole
        rest = _without_nulls(data)
        updated = _last_updated(rest.pop(UPDATED, None), now)
        if "certificate" not in rest:
            raise BadRequest(
                "certificate is missing: a listing tells of certificates, but does not have them; "
                "import what csms-redis export writes."
            )
        certificate = Certificate.check(rest, strict=api.strict)
        read = check_certificate(certificate.certificate, strict=api.strict)
        return Checked(certificate_record(prefix, read, updated=updated), read.doubts)


def _hash_password(data: dict[str, Any]) -> tuple[Doubt, ...]:
    """Put the hash of a station's password or key in its place; what is doubtful about it."""
    if PASSWORD not in data and _KEY not in data:
        return ()
    given = [name for name in (PASSWORD, _KEY, CREDENTIAL) if data.get(name) is not None]
    if len(given) > 1:
        raise BadRequest(f"{given[0]} and {given[1]} exclude each other; give one of them.")
    password, key = data.pop(PASSWORD, None), data.pop(_KEY, None)
    for name, value in ((PASSWORD, password), (_KEY, key)):
        if value is not None and not isinstance(value, str):
            raise BadRequest(f"{name} must be a text.")
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


def _without_nulls(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _without_auth(data: dict[str, Any]) -> dict[str, Any]:
    """Put a station's properties on one level: the API's listing has some of them in `auth`."""
    rest = dict(data)
    auth = rest.pop(_AUTH, None)
    if auth is None:
        return rest
    if not isinstance(auth, dict):
        raise BadRequest(f"{_AUTH}: must be an object.")
    if rest.keys() & auth.keys():
        raise BadRequest(f"A property is there twice, in {_AUTH} and beside it.")
    return rest | auth


def _last_updated(text: Any, now: bytes) -> bytes:
    """Read a row's `lastUpdated`; an import keeps that of an export."""
    if text is None:
        return now
    if not isinstance(text, str):
        raise BadRequest(f"{UPDATED} must be a text.")
    try:
        return _stored_moment(text)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{UPDATED}: {error}.") from None


@lru_cache(1024)  # many rows of a file have the same moment
def _stored_moment(text: str) -> bytes:
    utc = moment(text).astimezone(UTC).replace(microsecond=0, tzinfo=None)
    return f'"{utc.isoformat()}Z"'.encode()


KINDS: dict[str, Kind] = {
    "stations": StationKind(),
    "tokens": TokenKind(),
    "certificates": CertificateKind(),
}

"""The query parameters of listings. All of them are additions to the contract."""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from csms_redis.contract import emaid
from csms_redis.contract.certificates import certificate_hash
from csms_redis.contract.errors import BadRequest
from csms_redis.contract.identifiers import station_id, token_uid
from csms_redis.contract.models import DateTime, RegistrationStatus, explain, moment

MAX_LIMIT = 100  # records of one page
MAX_OFFSET = 10_000  # records that a listing may leave out at its beginning
MAX_REFUSED = 1000  # refused stations of one answer
MAX_WRITES = 1000  # audit lines of one answer
MAX_CURSOR = 4096  # characters
_MOST_SHOWN = 64  # characters of a parameter's name

_INTEGER = re.compile(r"-?[0-9]{1,9}")
_HASH = re.compile(r"[A-Za-z0-9+/_-]{43}=?|[0-9A-Fa-f]{64}", re.ASCII)
_FLAGS = {"true": True, "false": False}


def _integer(text: Any) -> Any:
    if isinstance(text, str):
        if not _INTEGER.fullmatch(text):
            raise ValueError("must be a whole number")
        return int(text)
    return text


def _flag(text: Any) -> Any:
    if isinstance(text, str):
        if text not in _FLAGS:
            raise ValueError("must be true or false")
        return _FLAGS[text]
    return text


def _prefix(text: str) -> str:
    if station_id(text) is None:
        raise ValueError("must be 1 to 48 characters, none a control character")
    return text


def _hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise ValueError("must be a SHA-256 hash as base64, base64url or hex digits")
    return certificate_hash(text) or text  # by which no certificate is found


def _uid(text: str) -> str:
    found = token_uid(text)
    if found is None:
        raise ValueError("must be 1 to 36 printable ASCII characters")
    return found


def unknown_parameter(name: str, known: Collection[str]) -> BadRequest:
    """Make the error for a query parameter that an operation does not have.

    The error names the parameter, because it may be a part of an id whose question mark was not
    escaped. Its `reason`, which is logged, does not.

    Args:
        name: the parameter that was sent.
        known: the parameters that the operation has.
    """
    shown = name if len(name) <= _MOST_SHOWN else f"{name[:_MOST_SHOWN]}…"
    there_are = f"there are {', '.join(known)}" if known else "this operation has none"
    return BadRequest(
        f'There is no query parameter "{shown}"; {there_are}. A ? in an id is written %3F.',
        reason=f"A query parameter is not known; {there_are}.",
    )


class QueryString(BaseModel):
    """The query parameters of an operation."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def read(cls, pairs: Sequence[tuple[str, str]]) -> Self:
        """Read a query string's names and values.

        Raises:
            BadRequest: one is wrong; the error says which and how, without its value.
        """
        query = dict(pairs)
        for name in query:
            if name not in cls.model_fields:
                raise unknown_parameter(name, cls.model_fields)
        if len(query) < len(pairs):
            raise BadRequest("The query has a parameter twice; send it once.")
        try:
            return cls.model_validate(query)
        except ValidationError as error:
            raise BadRequest(explain(error)) from None


class Query(QueryString):
    """The query parameters that all listings with pages take."""

    limit: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_LIMIT,
            description="The most records of one page. A page has fewer, or none, and a next one "
            "all the same, only where Redis would take long to find more.",
        ),
        BeforeValidator(_integer),
    ] = 20
    cursor: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_CURSOR,
            pattern=r"^[A-Za-z0-9_-]+$",
            description="Where the page begins: from the `Link` of the page before it, whose "
            "filters it must come with",
        ),
    ] = None

    @property
    def filters(self) -> dict[str, Any]:
        """Those parameters that choose the records, as far as they are set."""
        page = {"limit", "cursor", "offset"}
        return {name: value for name, value in self if name not in page and value is not None}


class StationQuery(Query):
    """The query parameters that choose which stations are listed."""

    registrationStatus: Annotated[
        RegistrationStatus | None, Field(description="Only stations of this status")
    ] = None
    securityProfile: Annotated[
        Annotated[
            int,
            Field(ge=0, le=2, json_schema_extra={"enum": [0, 1, 2]}),
            BeforeValidator(_integer),
        ]
        | None,
        Field(description="Only stations of this security profile (OCPP's number minus one)"),
    ] = None
    csIdPrefix: Annotated[
        Annotated[
            str,
            AfterValidator(_prefix),
            Field(
                json_schema_extra={
                    "minLength": 1,
                    "maxLength": 48,
                    "pattern": r"^[^\u0000-\u001f\u007f-\u009f]{1,48}$",
                }
            ),
        ]
        | None,
        Field(description="Only stations whose identifiers start with this"),
    ] = None


class TokenQuery(Query):
    """The query parameters that choose which tokens are listed."""

    offset: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_OFFSET,
            description="How many tokens are left out at the beginning. The order is Redis's own, "
            "and changes as tokens come and go: follow `Link` to have them all.",
        ),
        BeforeValidator(_integer),
    ] = 0
    uid: Annotated[
        Annotated[str, AfterValidator(_uid), Field(json_schema_extra={"pattern": "^[ -~]{1,36}$"})]
        | None,
        Field(description="Only the token with this uid, in any case"),
    ] = None
    groupId: Annotated[
        str | None, Field(max_length=36, description="Only tokens of this group")
    ] = None
    contractId: Annotated[
        Annotated[str, AfterValidator(emaid.normalise), Field(min_length=1, max_length=36)] | None,
        Field(description="Only tokens of this contract; an eMAID in any spelling"),
    ] = None
    valid: Annotated[
        Annotated[bool, BeforeValidator(_flag)] | None,
        Field(description="Only tokens that are valid, or not"),
    ] = None
    uidPrefix: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=36,
            pattern=r"^[ -~]+$",
            description="Only tokens whose uid starts with this, in any case",
        ),
    ] = None

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.cursor is not None and "offset" in self.model_fields_set:
            raise BadRequest("A cursor has its own beginning; send it without offset.")
        return self


class RefusedQuery(QueryString):
    """The query parameters that choose which refused stations are listed."""

    limit: Annotated[
        int,
        Field(ge=1, le=MAX_REFUSED, description="The most that are listed"),
        BeforeValidator(_integer),
    ] = 100
    sort: Annotated[
        Literal["count", "lastRefused"],
        Field(description="Which come first: those that came most often, or those that came last"),
    ] = "count"


class AuditQuery(QueryString):
    """The query parameter that says how many of the last writes are listed."""

    limit: Annotated[
        int,
        Field(ge=1, le=MAX_WRITES, description="The most that are listed"),
        BeforeValidator(_integer),
    ] = 100


class ImportQuery(QueryString):
    """How rows become records."""

    onlyNew: Annotated[
        bool,
        Field(description="Leave records alone that are there already"),
        BeforeValidator(_flag),
    ] = False
    replace: Annotated[
        bool,
        Field(
            description="Make each record exactly what its row says: what the row does not say "
            "goes, also a password. Only a block stays."
        ),
        BeforeValidator(_flag),
    ] = False


class ExportQuery(QueryString):
    """What of stations is exported."""

    credentials: Annotated[
        bool,
        Field(
            description="With the stations' password hashes, which needs the role `gateway` as well"
        ),
        BeforeValidator(_flag),
    ] = False


class CertificateQuery(Query):
    """The query parameters that choose which certificates are listed."""

    certificateHash: Annotated[
        Annotated[
            str,
            AfterValidator(_hash),
            Field(
                json_schema_extra={"pattern": "^([A-Za-z0-9+/_-]{43}=?|[0-9A-Fa-f]{64})$"},
            ),
        ]
        | None,
        Field(description="Only the certificate with this hash, in any spelling"),
    ] = None
    expiresBefore: Annotated[
        DateTime | None,
        Field(description="Only certificates that run out before this (their `notAfter`)"),
    ] = None

    @property
    def expires_before(self) -> datetime | None:
        """`expiresBefore` as a moment in time; None if it is not set."""
        return None if self.expiresBefore is None else moment(self.expiresBefore)

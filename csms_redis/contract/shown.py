"""The schemas of our own additions: details and lists, which can only be read."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from csms_redis.contract.certificates import MAX_NAME
from csms_redis.contract.models import ADDITION, DateTime, RefusedReason, RegistrationStatus


class ChargeStationSecurity(BaseModel):
    """How a charge station is authenticated, without its credential."""

    model_config = ConfigDict(json_schema_extra=ADDITION)

    securityProfile: Annotated[
        int,
        Field(
            ge=0,
            le=2,
            json_schema_extra={"enum": [0, 1, 2]},
            description="The security profile that the charge station uses",
        ),
    ]
    invalidUsernameAllowed: Annotated[
        bool | None,
        Field(description="Whether an invalid username does not prevent the station connecting"),
    ] = None


class ChargeStation(BaseModel):
    """A charge station, without its credential.

    It shares no property with `ChargeStationAuth`, so that no gateway can take one for the other.
    """

    model_config = ConfigDict(json_schema_extra=ADDITION)

    csId: Annotated[str, Field(description="The charge station identifier")]
    auth: Annotated[
        ChargeStationSecurity, Field(description="How the charge station is authenticated")
    ]
    registrationStatus: Annotated[
        RegistrationStatus | None,
        Field(description="What the station's BootNotification is to be answered (OCPP)"),
    ] = None
    lastUpdated: Annotated[
        DateTime | None, Field(description="The date the record was last updated")
    ] = None


class RefusedStation(BaseModel):
    """A station that was turned away."""

    model_config = ConfigDict(json_schema_extra=ADDITION)

    csId: Annotated[
        str,
        Field(description="The charge station identifier; of a malformed one the path's text"),
    ]
    reason: Annotated[
        RefusedReason | None,
        Field(
            description="Why it would be refused now: `unknown` - it is not registered, `blocked` "
            "- its registrationStatus is `Rejected`, `malformed` - no station can have this "
            "identifier; left out while Redis is away"
        ),
    ] = None
    count: Annotated[
        int,
        Field(ge=1, description="How often it was refused; an estimate where very many were"),
    ]
    firstRefused: Annotated[DateTime, Field(description="When it was refused first, in UTC")]
    lastRefused: Annotated[DateTime, Field(description="When it was refused last, in UTC")]
    client: Annotated[
        str,
        Field(description="Who asked last: a client's name, or an address where it has none"),
    ]


class CallingClient(BaseModel):
    """Who asks, and what that client may do."""

    model_config = ConfigDict(json_schema_extra=ADDITION)

    client: Annotated[
        str | None, Field(description="The client's name; left out while everyone may call")
    ] = None
    roles: Annotated[list[str], Field(description="Its roles: `gateway`, `metrics`, `operator`")]
    operations: Annotated[
        list[str], Field(description="The operations that it may use, by their `operationId`")
    ]


class AuditLine(BaseModel):
    """A request to change something, as the log tells it."""

    model_config = ConfigDict(json_schema_extra=ADDITION)

    time: Annotated[DateTime, Field(description="When it was answered, in UTC")]
    client: Annotated[
        str | None, Field(description="Who sent it; left out while everyone may call")
    ] = None
    remote: Annotated[str | None, Field(description="The address that it came from")] = None
    method: Annotated[str, Field(description="Its method")]
    operation: Annotated[
        str | None, Field(description="The `operationId`; left out where the path has none")
    ] = None
    csId: Annotated[str | None, Field(description="The charge station that it is about")] = None
    uid: Annotated[str | None, Field(description="The token that it is about, in upper case")] = (
        None
    )
    certificateHash: Annotated[
        str | None, Field(description="The certificate that it is about")
    ] = None
    path: Annotated[str | None, Field(description="Its path, where it is about none of these")] = (
        None
    )
    registrationStatus: Annotated[
        str | None, Field(description="What the charge station's status was to be")
    ] = None
    kind: Annotated[str | None, Field(description="Of an import: the kind of its records")] = None
    rows: Annotated[int | None, Field(description="Of an import: how many rows came")] = None
    written: Annotated[int | None, Field(description="How many of them were written")] = None
    existing: Annotated[
        int | None, Field(description="How many were left alone, for a record was there")
    ] = None
    refused: Annotated[int | None, Field(description="How many were refused")] = None
    failed: Annotated[
        int | None, Field(description="How many may not have been written, for Redis was away")
    ] = None
    status: Annotated[
        int | None, Field(description="The answer's status; left out where there was none")
    ] = None
    outcome: Annotated[
        str,
        Field(
            description="What came of it: `done`, `refused`, `unavailable` - nothing was changed, "
            "`unknown` - it may have been carried out, `error`"
        ),
    ]
    reason: Annotated[str | None, Field(description="Why it was not carried out")] = None
    requestId: Annotated[
        str, Field(description="By which the log, and the answer's `X-Request-Id`, name it")
    ]
    ms: Annotated[float, Field(description="From its head to its answer, in milliseconds")]


class CertificateSummary(BaseModel):
    """What a client certificate says of itself.

    What cannot be read from a certificate is left out.
    """

    model_config = ConfigDict(json_schema_extra=ADDITION)

    certificateHash: Annotated[
        str,
        Field(description="The SHA-256 hash of the certificate's DER bytes, as padded base64url"),
    ]
    subject: Annotated[
        str | None,
        Field(
            max_length=MAX_NAME,
            description="Whom it was issued to (RFC 4514), cut where it is too long",
        ),
    ] = None
    issuer: Annotated[
        str | None,
        Field(
            max_length=MAX_NAME, description="Who issued it (RFC 4514), cut where it is too long"
        ),
    ] = None
    serialNumber: Annotated[
        str | None,
        Field(description="Its serial number in hexadecimal, as OpenSSL spells it"),
    ] = None
    notBefore: Annotated[DateTime | None, Field(description="When its validity begins, in UTC")] = (
        None
    )
    notAfter: Annotated[DateTime | None, Field(description="When its validity ends, in UTC")] = None
    lastUpdated: Annotated[
        DateTime | None, Field(description="The date the record was last updated")
    ] = None


class RowResult(BaseModel):
    """A line of what an import answers: of one row, of how far it is, or of its end.

    A row without a line of its own was written, and nothing has to be said of it, as soon as `done`
    is its line or a later one.
    """

    model_config = ConfigDict(json_schema_extra=ADDITION)

    line: Annotated[int | None, Field(description="The row's line, from 1")] = None
    outcome: Annotated[
        Literal["written", "existing", "refused", "failed"] | None,
        Field(
            description="What became of the row: `existing` - with onlyNew, a record was there and "
            "was left alone, `refused` - it breaks a rule, `failed` - Redis was away: it may have "
            "been written, send it again"
        ),
    ] = None
    error: Annotated[
        str | None,
        Field(description="What is wrong and what to do, of a row or of the whole import"),
    ] = None
    stays: Annotated[
        RegistrationStatus | None,
        Field(description="The status that the station keeps against its row, as it was blocked"),
    ] = None
    removed: Annotated[
        list[str] | None,
        Field(description="What was taken away, or set back, because the row does not say it"),
    ] = None
    doubts: Annotated[list[str] | None, Field(description="What is doubtful about the row")] = None
    done: Annotated[
        int | None, Field(description="All rows up to this line are dealt with, in this order")
    ] = None
    counts: Annotated[
        dict[str, int] | None,
        Field(
            description="The last line of an import that came to its end: how many rows there "
            "were, and how many had each outcome"
        ),
    ] = None


class ExportedRow(BaseModel):
    """A line of an export: a record as an import takes it, or the last line of a whole export."""

    model_config = ConfigDict(json_schema_extra=ADDITION | {"additionalProperties": True})

    counts: Annotated[
        dict[str, int] | None,
        Field(
            description="The last line of a whole export: how many records were written, and how "
            "many were left out because another program stored them (leftOut)"
        ),
    ] = None
    error: Annotated[
        str | None, Field(description="The last line where the export cannot go on, and why")
    ] = None


class Rules(BaseModel):
    """How far the settings `[api]` take the contract."""

    model_config = ConfigDict(json_schema_extra=ADDITION)

    strict: Annotated[bool, Field(description="Whether doubtful records are refused")]
    anyStationId: Annotated[
        bool, Field(description="Whether a station's identifier may have a + or a #")
    ]


class CheckFinding(BaseModel):
    """A line of what `csms-redis check` says."""

    model_config = ConfigDict(json_schema_extra=ADDITION)

    level: Annotated[
        Literal["ok", "warning", "error"],
        Field(description="What is to be done: nothing, something soon, something first"),
    ]
    about: Annotated[str, Field(description="What it is about, one word")]
    text: Annotated[str, Field(description="What was found, and what to do")]

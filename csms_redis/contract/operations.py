"""The operations of the API. The router and the OpenAPI document are both made from this list.

The descriptions of operations that MaEVe has begin with MaEVe's own words. The list is one table,
and so this file is longer than others.
"""

from dataclasses import dataclass
from http import HTTPStatus

from pydantic import BaseModel

from csms_redis.contract.models import (
    Certificate,
    ChargeStationAuth,
    ChargeStationPassword,
    ChargeStationRegistration,
    ContractModel,
    Token,
)
from csms_redis.contract.queries import (
    AuditQuery,
    CertificateQuery,
    ExportQuery,
    ImportQuery,
    Query,
    QueryString,
    RefusedQuery,
    StationQuery,
    TokenQuery,
)
from csms_redis.contract.shown import (
    AuditLine,
    CallingClient,
    CertificateSummary,
    ChargeStation,
    CheckFinding,
    ExportedRow,
    RefusedStation,
    RowResult,
    Rules,
)

BASE_PATH = "/api/v0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter in the path, as OpenAPI describes it; `pattern` is a regular expression."""

    name: str
    description: str
    pattern: str
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    id: str
    method: str
    path: str  # below BASE_PATH, as in the contract
    summary: str
    description: str
    parameter: Parameter | None = None
    query: type[QueryString] | None = None
    request: type[ContractModel] | None = None
    lines: bool = False  # whether it answers JSON Lines, each a response, as they become known
    takes_lines: bool = False  # whether its request is JSON Lines as well
    status: HTTPStatus
    answer: str  # what the success means
    response: type[BaseModel] | None = None
    not_found: str | None = None  # what a 404 means; None where there is none
    tells_doubts: bool = False  # whether a header of the answer tells what is doubtful
    addition: bool = False  # whether MaEVe's own document does not have it

    @property
    def has_pages(self) -> bool:
        """Whether the operation answers page by page, with a cursor to the next page."""
        return self.query is not None and issubclass(self.query, Query)

    @property
    def is_list(self) -> bool:
        """Whether it answers a list of its response."""
        return self.query is not None and not self.lines

    @property
    def is_lookup(self) -> bool:
        """Whether the operation is one of the three lookups, which gateways make so often."""
        return self.id.startswith("lookup")


_CS_ID = Parameter(
    name="csId",
    description="The charge station identifier",
    pattern=r"^[^\u0000-\u001f\u007f-\u009f]{1,48}$",
    example="cs001",
)
_NEW_CS_ID = Parameter(
    name="csId",
    description="The charge station identifier; `+` and `#` only where `[api] any_station_id` is "
    "set, for MQTT topics cannot have them",
    pattern=r"^[^\u0000-\u001f\u007f-\u009f+#]{1,48}$",
    example="cs001",
)
_TOKEN_UID = Parameter(
    name="tokenUid",
    description="The token's uid, in any case",
    pattern=r"^[ -~]{1,36}$",
    example="012345678",
)
_CERTIFICATE_HASH = Parameter(
    name="certificateHash",
    description="The SHA-256 hash of the certificate's DER bytes: base64 or base64url, padded or "
    "not, or 64 hex digits",
    pattern=r"^([A-Za-z0-9+/_-]{43}=?|[0-9A-Fa-f]{64})$",
    example="TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak=",
)

_TAKEN = {
    "stations": "`csId` and `securityProfile`, and may have `base64SHA256Password`, or instead of "
    "it a `password` or an OCPP 1.6 `authorizationKey` in hexadecimal, which are hashed; "
    "`invalidUsernameAllowed`, `registrationStatus` and `lastUpdated`",
    "tokens": "the properties of a Token",
    "certificates": "`certificate`, and may have `lastUpdated`",
}
_CALLED = {
    "stations": "ChargeStations",
    "tokens": "Tokens",
    "certificates": "Certificates",
}
_NAMED = {
    "stations": "charge stations",
    "tokens": "authorization tokens",
    "certificates": "client certificates",
}
_BULK = tuple(
    operation
    for kind in _TAKEN
    for operation in (
        Operation(
            id=f"import{_CALLED[kind]}",
            method="POST",
            path=f"/bulk/{kind}",
            summary=f"Write many {_NAMED[kind]}",
            description="JSON Lines in and out, both streamed (`application/jsonl`). Each line is "
            f"an object: it has {_TAKEN[kind]}. What a row does not say, it does not change; null "
            "takes an optional property away. Rows are written in their order, many at a time, "
            "and what became of them is answered meanwhile: a line for each of which there is "
            "something to say, and how far the import is. A bad row is refused and the rest goes "
            "on. An import without a last line with `counts` was cut off; it may be repeated as a "
            "whole. Rows that do not arrive within `server.request_timeout`, and answers that are "
            "not read within `server.keepalive_timeout`, end it.",
            query=ImportQuery,
            takes_lines=True,
            lines=True,
            status=HTTPStatus.OK,
            answer="What became of the rows",
            response=RowResult,
            addition=True,
        ),
        Operation(
            id=f"export{_CALLED[kind]}",
            method="GET",
            path=f"/bulk/{kind}",
            summary=f"Read all {_NAMED[kind]}",
            description="Answers JSON Lines (`application/jsonl`), as an import takes them, one "
            "for each record. Records that come or go meanwhile may be among them or not. Without "
            "a last line with `counts` it was cut off.",
            query=ExportQuery if kind == "stations" else None,
            lines=True,
            status=HTTPStatus.OK,
            answer="All records",
            response=ExportedRow,
            addition=True,
        ),
    )
)

OPERATIONS = (
    Operation(
        id="registerChargeStation",
        method="POST",
        path="/cs/{csId}",
        summary="Register a new charge station",
        description="Registers a new charge station. The system will assume that the charge "
        "station has not yet been provisioned and will place the charge station into a pending "
        "state so it can been configured when it sends a boot notification.\n\n"
        "Replaces the whole record. A station that is `Rejected` stays so.",
        parameter=_NEW_CS_ID,
        request=ChargeStationAuth,
        status=HTTPStatus.CREATED,
        answer="Created",
    ),
    Operation(
        id="lookupChargeStationAuth",
        method="GET",
        path="/cs/{csId}/auth",
        summary="Returns the authentication details",
        description="Returns the details required by the CSMS gateway to determine how to "
        "authenticate the charge station",
        parameter=_CS_ID,
        status=HTTPStatus.OK,
        answer="Charge station auth response",
        response=ChargeStationAuth,
        not_found="Unknown charge station",
    ),
    Operation(
        id="setToken",
        method="POST",
        path="/token",
        summary="Create/update an authorization token",
        description="Creates or updates a token that can be used to authorize a charge",
        request=Token,
        status=HTTPStatus.CREATED,
        answer="Created",
    ),
    Operation(
        id="lookupToken",
        method="GET",
        path="/token/{tokenUid}",
        summary="Lookup an authorization token",
        description="Lookup a token that can be used to authorize a charge",
        parameter=_TOKEN_UID,
        status=HTTPStatus.OK,
        answer="Authorization token details",
        response=Token,
        not_found="Not found",
    ),
    Operation(
        id="uploadCertificate",
        method="POST",
        path="/certificate",
        summary="Upload a certificate",
        description="Uploads a client certificate to the CSMS. The CSMS can use the certificate to "
        "authenticate the charge station using mutual TLS when the TLS operations are being "
        "offloaded to a load-balancer.",
        request=Certificate,
        status=HTTPStatus.CREATED,
        answer="Created",
    ),
    Operation(
        id="lookupCertificate",
        method="GET",
        path="/certificate/{certificateHash}",
        summary="Lookup a certificate",
        description="Lookup a client certificate that has been uploaded to the CSMS using a base64 "
        "encoded SHA-256 hash of the DER bytes.",
        parameter=_CERTIFICATE_HASH,
        status=HTTPStatus.OK,
        answer="Certificate details",
        response=Certificate,
        not_found="Not found",
    ),
    Operation(
        id="deleteCertificate",
        method="DELETE",
        path="/certificate/{certificateHash}",
        summary="Delete a certificate",
        description="Deletes a client certificate that has been uploaded to the CSMS using a "
        "base64 encoded SHA-256 hash of the DER bytes.",
        parameter=_CERTIFICATE_HASH,
        status=HTTPStatus.NO_CONTENT,
        answer="No content",
        not_found="Not found",
    ),
    Operation(
        id="listChargeStations",
        method="GET",
        path="/cs",
        summary="List charge stations",
        description="Lists the charge stations without their credentials.",
        query=StationQuery,
        status=HTTPStatus.OK,
        answer="A page of charge stations",
        response=ChargeStation,
        addition=True,
    ),
    Operation(
        id="getChargeStation",
        method="GET",
        path="/cs/{csId}",
        summary="Returns a charge station",
        description="Returns what is known of a charge station, a rejected one too, without its "
        "credential.",
        parameter=_CS_ID,
        status=HTTPStatus.OK,
        answer="Charge station details",
        response=ChargeStation,
        tells_doubts=True,
        not_found="Unknown charge station",
        addition=True,
    ),
    Operation(
        id="deleteChargeStation",
        method="DELETE",
        path="/cs/{csId}",
        summary="Delete a charge station",
        description="Deletes a charge station with its credential. A station that is registered "
        "again is new: it is not blocked any more.",
        parameter=_CS_ID,
        status=HTTPStatus.NO_CONTENT,
        answer="No content",
        not_found="Unknown charge station",
        addition=True,
    ),
    Operation(
        id="setRegistrationStatus",
        method="PUT",
        path="/cs/{csId}/registrationStatus",
        summary="Accept or block a charge station",
        description="Sets what the BootNotification of a charge station is answered. Once it is "
        "`Rejected` no gateway finds the station, and only this operation lifts that: registering "
        "the station again does not.",
        parameter=_CS_ID,
        request=ChargeStationRegistration,
        status=HTTPStatus.NO_CONTENT,
        answer="No content",
        not_found="Unknown charge station",
        addition=True,
    ),
    Operation(
        id="setChargeStationPassword",
        method="PUT",
        path="/cs/{csId}/password",
        summary="Give a charge station a new password",
        description="Replaces the credential of a charge station and nothing else, in one step. "
        "Gateways ask when a station connects, so a station that is connected stays so: let it "
        "have accepted the new password first (OCPP 2.0.1 part 2, A01; OCPP 1.6: "
        "AuthorizationKey).",
        parameter=_CS_ID,
        request=ChargeStationPassword,
        status=HTTPStatus.NO_CONTENT,
        answer="No content",
        not_found="Unknown charge station",
        addition=True,
    ),
    Operation(
        id="listTokens",
        method="GET",
        path="/token",
        summary="List authorization tokens",
        description="Lists the tokens that can be used to authorize a charge.",
        query=TokenQuery,
        status=HTTPStatus.OK,
        answer="A page of authorization tokens",
        response=Token,
        addition=True,
    ),
    Operation(
        id="deleteToken",
        method="DELETE",
        path="/token/{tokenUid}",
        summary="Delete an authorization token",
        description="Deletes a token; a lookup of it is then answered 404.",
        parameter=_TOKEN_UID,
        status=HTTPStatus.NO_CONTENT,
        answer="No content",
        not_found="Not found",
        addition=True,
    ),
    Operation(
        id="listRefusedStations",
        method="GET",
        path="/refused",
        summary="List the stations that are turned away",
        description="Lists the identifiers that were refused in the last 24 hours and would be "
        "refused now: the most frequent and the latest that each process has seen. Another process "
        "is some seconds behind; while Redis is away, only the process that answers is asked.",
        query=RefusedQuery,
        status=HTTPStatus.OK,
        answer="The stations that are turned away",
        response=RefusedStation,
        addition=True,
    ),
    Operation(
        id="listCertificates",
        method="GET",
        path="/certificate",
        summary="List client certificates",
        description="Lists the subject, issuer and dates of the client certificates that have been "
        "uploaded, without the certificates.",
        query=CertificateQuery,
        status=HTTPStatus.OK,
        answer="A page of certificates",
        response=CertificateSummary,
        addition=True,
    ),
    Operation(
        id="listWrites",
        method="GET",
        path="/audit",
        summary="List the last writes",
        description="Lists the last requests to change something that this process has answered, "
        "those that were refused too, the latest first. Other processes have their own, and the "
        "log of each has all.",
        query=AuditQuery,
        status=HTTPStatus.OK,
        answer="The last writes",
        response=AuditLine,
        addition=True,
    ),
    Operation(
        id="getClient",
        method="GET",
        path="/client",
        summary="Returns what the caller may do",
        description="Returns the client that the credentials belong to, and what it may do. Any "
        "client may ask.",
        status=HTTPStatus.OK,
        answer="The client, its roles, and the operations that it may use",
        response=CallingClient,
        addition=True,
    ),
    Operation(
        id="getRules",
        method="GET",
        path="/rules",
        summary="Returns how strict the service is",
        description="Tells which settings of `[api]` the service has, so that a client can check "
        "records as the service does.",
        status=HTTPStatus.OK,
        answer="The rules",
        response=Rules,
        addition=True,
    ),
    Operation(
        id="checkService",
        method="GET",
        path="/check",
        summary="Check the service's settings and its Redis",
        description="Does what `csms-redis check` does, where the service runs. No record is "
        "changed. JSON Lines: a finding is a line, as soon as it is known.",
        lines=True,
        status=HTTPStatus.OK,
        answer="Findings",
        response=CheckFinding,
        addition=True,
    ),
    *_BULK,
)

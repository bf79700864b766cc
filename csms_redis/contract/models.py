"""The contract's schemas. Names and property names are the document's own."""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, get_args

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.config import JsonDict

from csms_redis.contract import doubts, emaid
from csms_redis.contract.certificates import MAX_PEM_BYTES
from csms_redis.contract.doubts import PROFILE_NUMBERS, Doubt, refuse_any
from csms_redis.contract.errors import BadRequest
from csms_redis.rules import rule_of

ADDITION: JsonDict = {"x-addition": True}
"""Marks, in the OpenAPI document, everything that MaEVe's document does not have."""

_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:(\d{2})(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
# 32 bytes as padded base64 (RFC 4648, 4), in the one spelling there is: its last two bits are zero
_SHA256 = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=", re.ASCII)


def moment(text: str) -> datetime:
    """Read a date-time (RFC 3339, 5.6); a leap second is read as the second before it.

    Raises:
        ValueError: the text is not a date-time.
    """
    match = _RFC3339.fullmatch(text)
    if match:
        start, end = match.span(1)
        seconds = "59" if match[1] == "60" else match[1]
        with suppress(ValueError):
            return datetime.fromisoformat(f"{text[:start]}{seconds}{text[end:]}".upper())
    raise ValueError("must be a date-time with its time zone, such as 2019-08-24T14:15:22Z")


def _date_time(text: str) -> str:
    moment(text)
    return text


DateTime = Annotated[
    str, AfterValidator(_date_time), Field(json_schema_extra={"format": "date-time"})
]


RegistrationStatus: TypeAlias = Literal["Accepted", "Pending", "Rejected"]
"""OCPP 1.6 5.2, OCPP 2.0.1 part 2, B01: what a BootNotification is answered."""


RefusedReason: TypeAlias = Literal["unknown", "blocked", "malformed"]
"""Why a station's lookup is answered that there is none."""

TokenType: TypeAlias = Literal["AD_HOC_USER", "APP_USER", "OTHER", "RFID"]
TOKEN_TYPES = frozenset(get_args(TokenType))


class ContractModel(BaseModel):
    """What all request bodies share: exact JSON types, `null` for an absent optional property."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    server_sets: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def read(cls, body: bytes, *, strict: bool) -> Self:
        """Read a request's JSON body.

        Args:
            body: as received.
            strict: also refuse unknown properties, and what is doubtful (`doubts`).

        Raises:
            BadRequest: which property is wrong and how, without its value.
        """
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise BadRequest("The body is not valid JSON (RFC 8259, UTF-8).") from None
        if not isinstance(data, dict):
            raise BadRequest("The body must be a JSON object.")
        return cls.check(data, strict=strict)

    @classmethod
    def check(cls, data: dict[str, Any], *, strict: bool) -> Self:
        """Check what was read from JSON elsewhere.

        Args:
            data: the properties.
            strict: as for `read`.

        Raises:
            BadRequest: as `read`.
        """
        if strict and not data.keys() <= cls.model_fields.keys():
            known = ", ".join(cls.model_fields)
            raise BadRequest(f"The body has a property that is not one of {known}.")
        try:
            model = cls.model_validate(data)
        except ValidationError as error:
            raise BadRequest(explain(error)) from None
        if strict:
            refuse_any(model.doubts())
        return model

    def doubts(self) -> Iterator[Doubt]:
        """What is doubtful about it; refused in strict mode."""
        yield from ()

    def hash_fields(self) -> dict[bytes, bytes]:
        """The Redis hash of this record: each property that is set, as its JSON."""
        names = _hash_names(type(self))
        return {
            names[name]: orjson.dumps(value)
            # pydantic's own iteration takes three times as long
            for name, value in vars(self).items()
            if value is not None and name in names
        }


@cache
def _hash_names(model: type[ContractModel]) -> dict[str, bytes]:
    return {name: name.encode() for name in model.model_fields if name not in model.server_sets}


class ChargeStationAuth(ContractModel):
    """Connection details for a charge station."""

    securityProfile: Annotated[
        int,
        Field(
            ge=0,
            le=2,
            json_schema_extra={"enum": [0, 1, 2]},
            description="The security profile to use for the charge station: `0` - unsecured "
            "transport with basic auth, `1` - TLS with basic auth, `2` - TLS with client "
            "certificate",
        ),
    ]
    base64SHA256Password: Annotated[
        str | None,
        Field(
            max_length=256,
            description="The base64 encoded, SHA-256 hash of the charge station password",
            examples=["XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="],
        ),
    ] = None
    invalidUsernameAllowed: Annotated[
        bool | None,
        Field(
            description="If set to true then an invalid username will not prevent the charge "
            "station connecting"
        ),
    ] = None

    def doubts(self) -> Iterator[Doubt]:
        """A password that no gateway can match, or none, or one that the profile does not use."""
        password = self.base64SHA256Password
        if password is not None and not _SHA256.fullmatch(password):
            yield Doubt.PASSWORD_NO_SHA256
        if self.securityProfile < 2 and password is None:
            yield Doubt.PROFILE_WITHOUT_PASSWORD
        if self.securityProfile == 2 and password is not None:
            yield Doubt.PROFILE_WITH_PASSWORD


class Token(ContractModel):
    """An authorization token."""

    server_sets: ClassVar[frozenset[str]] = frozenset({"lastUpdated"})

    countryCode: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z]{2}$",
            description="The country code of the issuing eMSP",
            examples=["DE"],
        ),
    ]
    partyId: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9]{3}$",
            description="The party id of the issuing eMSP",
            examples=["TNM"],
        ),
    ]
    type: Annotated[TokenType, Field(description="The type of token")]
    uid: Annotated[
        str,
        Field(
            pattern=r"^[ -~]{1,36}$",
            description="The unique token id; found whatever the case (OCPI 2.2.1 CiString)",
            examples=["012345678"],
        ),
    ]
    contractId: Annotated[
        str,
        Field(
            min_length=1,
            max_length=36,
            description="The contract ID (eMAID) associated with the token (with optional "
            "component separators); an eMAID is normalised, its check digit verified or appended",
            examples=["DE8ACC12E46L89"],
        ),
    ]
    visualNumber: Annotated[
        str | None,
        Field(
            max_length=64,
            description="The visual/readable number/identification printed on an RFID card",
        ),
    ] = None
    issuer: Annotated[
        str,
        Field(
            max_length=64,
            description="Issuing company, most of the times the name of the company printed on "
            "the RFID card, not necessarily the eMSP",
            examples=["TheNewMotion"],
        ),
    ]
    groupId: Annotated[
        str | None,
        Field(
            max_length=36,
            description="This id groups a couple of tokens to make two or more tokens work as one",
        ),
    ] = None
    valid: Annotated[bool, Field(description="Is this token valid")]
    languageCode: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z]{2}$",
            description="The preferred language to use encoded as ISO 639-1 language code",
        ),
    ] = None
    cacheMode: Annotated[
        Literal["ALWAYS", "ALLOWED", "ALLOWED_OFFLINE", "NEVER"],
        Field(description="Indicates what type of token caching is allowed"),
    ]
    lastUpdated: Annotated[
        DateTime | None,
        Field(description="The date the record was last updated (ignored on create/update)"),
    ] = None

    @property
    def key(self) -> str:
        """The uid as keys have it: in upper case, because a uid is found in any case (OCPI)."""
        return self.uid.upper()

    @field_validator("contractId")
    @classmethod
    def _normalise(cls, contract_id: str) -> str:
        return emaid.normalise(contract_id)

    @classmethod
    def check(cls, data: dict[str, Any], *, strict: bool) -> Self:
        """As `ContractModel.check`; strict mode refuses a contractId that is not an eMAID, too.

        That is no doubt: OCPI allows any.
        """
        token = super().check(data, strict=strict)
        if strict and not emaid.is_emaid(token.contractId):
            raise BadRequest("contractId is not an eMAID, such as GB-TWK-012345678-V.")
        return token

    def doubts(self) -> Iterator[Doubt]:
        """An RFID card's uid of an odd length, or blanks in an id."""
        if self.type == "RFID":
            yield from doubts.of_rfid_uid(self.uid)
        yield from doubts.of_blanks(self.uid, self.contractId, self.groupId)
        yield from doubts.of_words(self.groupId, self.contractId, self.visualNumber)


class TokenAsGiven(Token):
    """A token as its eMSP gives it: its contractId is kept in that spelling.

    So is what an export has, whoever gave it.
    """

    @field_validator("contractId")
    @classmethod
    def _normalise(cls, contract_id: str) -> str:
        return contract_id

    def doubts(self) -> Iterator[Doubt]:
        """As a token's, and a check digit that is not the eMAID's."""
        yield from super().doubts()
        if emaid.has_wrong_check_digit(self.contractId):
            yield Doubt.CHECK_DIGIT


class Certificate(ContractModel):
    """A client certificate."""

    certificate: Annotated[
        str,
        Field(
            max_length=MAX_PEM_BYTES,
            description="The PEM encoded certificate with newlines replaced by `\\n`",
        ),
    ]


class ChargeStationRegistration(ContractModel):
    """Whether a charge station may work."""

    model_config = ConfigDict(json_schema_extra=ADDITION)

    registrationStatus: Annotated[
        RegistrationStatus,
        Field(
            description="What the station's BootNotification is to be answered (OCPP). A "
            "`Rejected` station is not found by lookups, so that no gateway lets it in."
        ),
    ]


class ChargeStationPassword(ContractModel):
    """A charge station's new password."""

    model_config = ConfigDict(json_schema_extra=ADDITION)

    base64SHA256Password: Annotated[
        str,
        Field(
            min_length=1,
            max_length=256,
            description="The base64 encoded, SHA-256 hash of the charge station's new password",
            examples=["XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="],
        ),
    ]

    def doubts(self) -> Iterator[Doubt]:
        """A password that no gateway can match."""
        if not _SHA256.fullmatch(self.base64SHA256Password):
            yield Doubt.PASSWORD_NO_SHA256


class Status(BaseModel):
    """HTTP status."""

    status: Annotated[str, Field(description="The status description")]
    error: Annotated[str | None, Field(description="The error details")] = None


def explain(error: ValidationError) -> str:
    """Name the first wrong property and the rule it breaks, without its value."""
    problem = error.errors(include_url=False, include_input=False)[0]
    name = problem["loc"][0]
    if problem["type"] == "missing":
        return f"{name} is missing."
    rule = rule_of(problem)
    explained = f"; {PROFILE_NUMBERS}" if name == "securityProfile" else ""
    return f"{name}: {rule[0].lower()}{rule[1:]}{explained}."

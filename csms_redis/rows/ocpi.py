"""OCPI's Token objects (2.2.1, 12.3.2; 2.3.0; 2.1.1) as rows, and tokens as such objects."""

from datetime import UTC
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from csms_redis.contract.doubts import Doubt
from csms_redis.contract.models import TOKEN_TYPES, Token, moment

NAMES: Final = {
    "country_code": "countryCode",
    "party_id": "partyId",
    "contract_id": "contractId",
    "visual_number": "visualNumber",
    "group_id": "groupId",
    "whitelist": "cacheMode",
    "language": "languageCode",
    "last_updated": "lastUpdated",
}
"""What OCPI calls properties of the contract, and their names here."""

_TO_OCPI = {name: ocpi for ocpi, name in NAMES.items()}
LEFT_OUT: Final = frozenset({"default_profile_type", "energy_contract"})
"""What OCPI's tokens have, and the contract has no place for."""

OLD_CONTRACT_ID: Final = "auth_id"
"""What OCPI 2.1.1 calls the contract's id."""

_OWN_NAMES = frozenset({*NAMES, *LEFT_OUT, OLD_CONTRACT_ID})
_OPTIONAL = {
    name: TypeAdapter[Any](Token.__annotations__[name])
    for name in ("visualNumber", "groupId", "languageCode")
}


class NoParty(Exception):
    """A token of OCPI 2.1.1 says not which eMSP it is of, and nobody else has said it."""


class SaidTwice(Exception):
    """A token has a property in OCPI's spelling and in the contract's."""


class Emsp(NamedTuple):
    """The eMSP of tokens that do not name theirs, as those of OCPI 2.1.1.

    Attributes:
        country_code: its country.
        party_id: its id in that country.
    """

    country_code: str | None = None
    party_id: str | None = None


NO_EMSP = Emsp()


def is_ocpi(data: dict[str, Any]) -> bool:
    """Whether an object has a name that OCPI's tokens have and the contract's have not."""
    return not _OWN_NAMES.isdisjoint(data)


def from_ocpi(token: dict[str, Any], emsp: Emsp) -> tuple[dict[str, Any], tuple[Doubt, ...]]:
    """Give a Token object the contract's names and values.

    An optional value that is wrong is left out, and a type that the contract has not is OTHER;
    both are doubts. What is null is not there: the object is the whole token.

    Raises:
        NoParty: the eMSP is not known.
        SaidTwice: two of its names are one.
    """
    data = {
        NAMES.get(name, name): value
        for name, value in token.items()
        if value is not None and name not in LEFT_OUT
    }
    if len(data) < len(token) and len(data) < sum(
        value is not None and name not in LEFT_OUT for name, value in token.items()
    ):
        raise SaidTwice
    old = data.pop(OLD_CONTRACT_ID, None)
    if old is not None:
        data.setdefault("contractId", old)
    for name, default in (("countryCode", emsp.country_code), ("partyId", emsp.party_id)):
        if name not in data and default is not None:
            data[name] = default
        if name not in data and old is not None:
            raise NoParty
    doubts = []
    type_ = data.get("type")
    if isinstance(type_, str) and type_ not in TOKEN_TYPES:
        data["type"] = type_.upper()  # rfid is no other type
        if data["type"] not in TOKEN_TYPES:
            data["type"] = "OTHER"
            doubts.append(Doubt.TOKEN_TYPE)
    wrong = [name for name in (*_OPTIONAL, "lastUpdated") if _drop_if_wrong(data, name)]
    if wrong:
        doubts.append(Doubt.OPTIONAL_VALUE)
    return data, tuple(doubts)


def to_ocpi(token: dict[str, Any]) -> dict[str, Any]:
    """Rename a token's properties to those of OCPI's Token object, which has a place for each."""
    return {_TO_OCPI.get(name, name): value for name, value in token.items()}


def _drop_if_wrong(data: dict[str, Any], name: str) -> bool:
    """Take an optional value away if it is wrong or empty; whether it was."""
    if name not in data:
        return False
    value = data[name]
    if name == "lastUpdated":
        # OCPI's DateTime is in UTC and need not say so (16.5), but the contract's must
        if isinstance(value, str) and value[10:11] == "T" and not set("Zz+-") & set(value[10:]):
            data[name] = f"{value}Z"
        wrong = not _is_moment(data[name])
    else:
        wrong = (isinstance(value, str) and not value.strip()) or not _is_valid(name, value)
    if wrong:
        del data[name]
    return wrong


def _is_moment(value: Any) -> bool:
    try:
        moment(value).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _is_valid(name: str, value: Any) -> bool:
    try:
        _OPTIONAL[name].validate_python(value, strict=True)
    except ValidationError:
        return False
    return True

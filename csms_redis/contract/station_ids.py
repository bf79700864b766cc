"""Which ids a station may be registered under: those that a gateway can use.

`identifiers.station_id` has more: a record that is there is found, shown, blocked and removed
whatever its id is.
"""

import re
from collections.abc import Iterator

from csms_redis.contract.doubts import Doubt, Doubtful, of_blanks, refuse_any
from csms_redis.contract.errors import BadRequest
from csms_redis.contract.identifiers import station_id

_ORDINARY = re.compile(r"[A-Za-z0-9_-]{1,48}")
_NONE = "csId must be 1 to 48 characters of UTF-8, none a control character."


def check_station_id(text: str, *, strict: bool, any_station_id: bool) -> list[Doubt]:
    """Check the id of a station that is to be registered.

    Args:
        text: the id.
        strict: refuse what is doubtful as well (`[api] strict`).
        any_station_id: refuse none that a record may have (`[api] any_station_id`).

    Returns:
        What is doubtful about it: some gateways cannot use it.

    Raises:
        BadRequest: it is refused; it says why and what to do.
    """
    if _ORDINARY.fullmatch(text):  # as most are: an import is a tenth faster
        return []
    if station_id(text) is None:
        raise BadRequest(_NONE)
    doubts = list(_doubts(text))
    if not any_station_id:
        if Doubt.ID_WILDCARD in doubts:
            raise Doubtful(Doubt.ID_WILDCARD)
        if strict:
            refuse_any(doubts)
    return doubts


def _doubts(text: str) -> Iterator[Doubt]:
    if "+" in text or "#" in text:
        yield Doubt.ID_WILDCARD
    if "/" in text:
        yield Doubt.ID_SLASH
    if "?" in text or "%" in text:
        yield Doubt.ID_URL_CHARACTER
    if ":" in text:
        yield Doubt.ID_COLON
    yield from of_blanks(text)
    if text in {".", ".."}:
        yield Doubt.ID_DOTS

"""Which ids a station may be registered under: those that a gateway can use.

`identifiers.station_id` has more: a record that is there is found, shown, blocked and removed
whatever its id is.
"""

from collections.abc import Iterator

from csms_redis.contract.errors import BadRequest
from csms_redis.contract.identifiers import station_id

_NONE = "csId must be 1 to 48 characters of UTF-8, none a control character."
# MQTT 5.0, 4.7.1
_WILDCARD = (
    "csId has a + or #, which no MQTT topic may have, so a gateway that uses MQTT cannot serve the "
    "station; leave them out, or set any_station_id = true below [api] where no gateway uses MQTT"
)


def check_station_id(text: str, *, strict: bool, any_station_id: bool) -> list[str]:
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
    if station_id(text) is None:
        raise BadRequest(_NONE)
    doubts = list(_doubts(text))
    if not any_station_id:
        if _WILDCARD in doubts:
            raise BadRequest(f"{_WILDCARD}.")
        if strict and doubts:
            raise BadRequest(f"{doubts[0]}.")
    return doubts


def _doubts(text: str) -> Iterator[str]:
    if "+" in text or "#" in text:
        yield _WILDCARD
    if "/" in text:  # MQTT 5.0, 4.7.1.1
        yield "csId has a /, which divides MQTT topics and URLs: not every gateway can use it"
    if "?" in text or "%" in text:  # RFC 3986, 2.1 and 3.4
        yield "csId has a ? or %, which gateways that do not escape it in a URL cannot use"
    if ":" in text:  # RFC 7617, 2
        yield "csId has a :, which no user name of HTTP Basic may have: its password cannot be sent"
    if text != text.strip():
        yield "csId begins or ends with a blank, which is easily lost on the way"
    if text in {".", ".."}:  # RFC 3986, 5.2.4
        yield "csId is a . or .., which URLs leave out of a path"

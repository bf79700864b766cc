"""The reasons why a master cannot be read, in words for an operator."""

import ssl

from csms_redis.contract.errors import Unavailable
from csms_redis.lookup.reading.read_connection import ConnectionBroken, ReadError
from csms_redis.redis.outcomes import NOT_THE_MASTER

# Codes of refusals that time or an operator may lift; with any other the server lacks the command.
NOT_NOW = NOT_THE_MASTER | {"NOPERM", "WRONGPASS"}
_REASONS = {
    "LOADING": "it is loading its data",
    "NOAUTH": "it wants a password",
    "NOPERM": "its user may not run what a lookup needs",
    "WRONGPASS": "it refuses the user or the password",
}


class IsReplica(Exception):
    """The server answers, but it is a replica."""


class Unconfirmed(Exception):
    """The server may answer, but for too long nobody else has confirmed that it is the master."""


FAILURES = (OSError, TimeoutError, UnicodeError, ReadError, IsReplica, Unavailable, Unconfirmed)


def reason_of(error: BaseException) -> str:
    """One line for the operator, without what Redis quotes of a command."""
    match error:
        case IsReplica():
            reason = "it is a replica"
        case TimeoutError():
            reason = "it does not answer"
        case Unavailable():
            reason = "the layout of its records cannot be read"
        case ConnectionBroken():
            reason = "it closed the connection"
        case ReadError():
            reason = _REASONS.get(error.code, f"it answers {error.code}")
        case ssl.SSLCertVerificationError():
            reason = f"its certificate is refused: {error.verify_message}"
        case ssl.SSLError():
            reason = f"TLS fails: {(error.reason or 'is it used on both sides?').lower()}"
        case OSError() if error.strerror:
            reason = error.strerror.lower()
        case _:
            reason = str(error) or type(error).__name__
    return reason

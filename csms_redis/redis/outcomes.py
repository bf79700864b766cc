"""What an error reply says about its command: whether anything was changed, and what to do.

A caller is told "nothing was changed" only where the error proves it. The commands are sent by
`node`.
"""

import re

import structlog
from redis.exceptions import AskError, MovedError, RedisError, TryAgainError

from csms_redis.contract.errors import OutcomeUnknown, Unavailable
from csms_redis.redis.address import Address

AWAY = "Redis cannot be reached. Nothing was changed; try again."
_REFUSED = "Redis refused the request ({}). Nothing was changed; an operator must look at Redis."
UNKNOWN = "Redis did not confirm the write. It may have been applied; send it again."
_PERHAPS = (
    "Redis answered the write with an error ({}). It may have been applied, or a part of it; send "
    "it again. If that fails too, an operator must look at Redis."
)

NOT_THE_MASTER = frozenset(["CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOAUTH", "READONLY"])
"""Codes of error replies for which the server, and not the key, is the reason: ask another."""

_WORDS = {
    "MISCONF": "it cannot write to its disk",
    "NOAUTH": "it wants a password",
    "NOPERM": "its user lacks a right",
    "NOREPLICAS": "too few of its replicas are in touch",
    "OOM": "it is out of memory",
    "WRONGPASS": "it does not take the user or the password",
    "WRONGTYPE": "what is at the key is none of our records",
}
"""What Redis' error codes mean, in words for people."""

_NOT_READY = NOT_THE_MASTER - {"NOAUTH"}
_LASTING = frozenset(["NOAUTH", "NOPERM", "OOM", "WRONGPASS", "WRONGTYPE"])
"""Codes of refusals that end only when an operator does something."""

_REFUSALS = NOT_THE_MASTER | {
    "BUSY",
    "CROSSSLOT",
    "DENIED",
    "MISCONF",
    "NOPERM",
    "NOREPLICAS",
    "OOM",
    "WRONGPASS",
}
"""Codes of replies by which a server says that it has not begun to carry out a command.

A reply with another code may come from a proxy that lost the server after it had passed the command
on ("ERR Connection timed out", "upstream failure").
"""

_UNKNOWN_COMMAND = re.compile(r"unknown command|unsupported command", re.IGNORECASE)
_WITHIN_SCRIPT = re.compile(r"CHANGED |.*(@user_script|failure in script|running script)")
_NOT_PERMITTED = re.compile(r"ACL failure in script|user executing the script can't run")
_CODE = re.compile(r"((UN)?CHANGED )?(.*@user_script: ?\d+: )?-?(?P<code>[A-Z]+\b)?")
_log = structlog.get_logger()


class Redirected(Exception):
    """Nothing was done: the key is at another server, or will be in a moment."""

    def __init__(self, to: Address | None = None, *, for_good: bool = False) -> None:
        """Name the other server; None means the same server, a little later."""
        super().__init__()
        self.to = to
        self.for_good = for_good


def is_replica(failure: Unavailable) -> bool:
    """Whether a server did nothing because it is a replica (now): another one is the master."""
    error = failure.__cause__
    certain = not isinstance(failure, OutcomeUnknown)
    return certain and isinstance(error, RedisError) and code_of(error) == "READONLY"


def failure(
    address: Address, command: bytes | str | int, error: RedisError, *, writing: bool
) -> Exception:
    """What to raise for a reply that is an error; the log gets a line unless it is a redirection.

    Args:
        address: the server that replied.
        command: the name of the command.
        error: the reply.
        writing: whether the command changes something.

    Returns:
        Redirected: another server has the key. The command was not carried out.
        OutcomeUnknown: the command may have been carried out, at least in part.
        Unavailable: it was not carried out.
    """
    raised = _failure(address, command, error, writing=writing)
    raised.__cause__ = error
    return raised


def _failure(
    address: Address, command: bytes | str | int, error: RedisError, *, writing: bool
) -> Exception:
    if isinstance(error, AskError):  # MOVED is one
        to = address.at(error.host, error.port)
        return Redirected(to, for_good=isinstance(error, MovedError))
    if isinstance(error, TryAgainError):
        return Redirected()
    code = code_of(error)
    _log.error("Redis refused a command", command=command, reason=code)
    words = _in_words(code, error)
    lasting = is_lasting(error)
    if writing and not _changed_nothing(error):
        return OutcomeUnknown(_PERHAPS.format(words), lasting=lasting)
    if code in _NOT_READY:
        return Unavailable(AWAY)
    return Unavailable(_REFUSED.format(words), lasting=lasting)


def code_of(error: RedisError) -> str:
    """The error's code, such as OOM or NOPERM; the rest may quote what was stored.

    An error of a script has it after `UNCHANGED` or `CHANGED` (see `registry.resource.script`), and
    in Redis 6.2 after the script's line.
    """
    text = str(error)
    if _NOT_PERMITTED.search(text):
        return "NOPERM"
    if error.status_code and "@user_script" not in text:
        return error.status_code
    found = _CODE.match(text)
    return (found and found["code"]) or "ERR"


def _changed_nothing(error: RedisError) -> bool:
    """Whether an error proves that its command was not carried out, not even a part of it."""
    text = str(error)
    if text.startswith("UNCHANGED "):
        return True
    if _WITHIN_SCRIPT.match(text):
        return False
    return code_of(error) in _REFUSALS or is_unknown_command(error)


def _in_words(code: str, error: RedisError) -> str:
    words = "it does not know the command" if is_unknown_command(error) else _WORDS.get(code)
    return f"{code}: {words}" if words else code


def is_unknown_command(error: RedisError) -> bool:
    """Whether a server, or a proxy before it, does not have the command, or not any more."""
    return _UNKNOWN_COMMAND.search(str(error)) is not None


def is_lasting(error: RedisError) -> bool:
    """Whether an error ends only when an operator does something, so that repeating is in vain."""
    return code_of(error) in _LASTING or is_unknown_command(error)

"""The command that reads a record, made ready so that a miss only puts the key in."""

from typing import Any

from csms_redis.registry.resource import Resource

_VALUES = frozenset([bytes, type(None)])  # what an HMGET gives


class NoRecord(Exception):
    """A reply is not what an HMGET gives."""


def body_in(resource: Resource, reply: Any) -> bytes | None:
    """The JSON that answers a lookup, in a reply to its read; None where nothing is to be found.

    Raises:
        NoRecord: it is not what an HMGET gives.
    """
    if type(reply) is not list or len(reply) != len(resource.asked):
        raise NoRecord
    try:
        body = resource.answer(reply)
    except TypeError:
        raise NoRecord from None  # a value is no bytes, and could not be joined
    # Each value is to be bytes or None. Of most replies that is known by now: all but the last were
    # joined.
    if (body is None or type(reply[-1]) is not bytes) and not _VALUES.issuperset(map(type, reply)):
        raise NoRecord
    return body


class RecordRead:
    """The HMGET of one kind of record, encoded but for the key."""

    __slots__ = ("_format",)

    def __init__(self, resource: Resource) -> None:
        """Encode it for the records of `resource`."""
        fields = b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in resource.asked)
        self._format = b"*%d\r\n$5\r\nHMGET\r\n$%%d\r\n%%b\r\n%b" % (
            len(resource.asked) + 2,
            fields,
        )

    def command(self, key: bytes) -> bytes:
        """The command for one key, as Redis reads it."""
        return self._format % (len(key), key)

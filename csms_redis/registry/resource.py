"""What the three kinds of record share: a Redis hash of JSON values, and a lookup of it."""

from collections.abc import Callable, Sequence
from time import gmtime, strftime, time
from typing import NamedTuple

import orjson
from pydantic import BaseModel

from csms_redis.contract.errors import Unavailable
from csms_redis.contract.identifiers import decode_segment
from csms_redis.redis.client import RedisClient
from csms_redis.redis.node import Command


class Resource:
    """A kind of record: where its hash is, and which of its fields answer a lookup.

    What Redis stores is what goes on the wire, so an answer is joined, neither parsed nor
    serialised.
    """

    def __init__(  # noqa: PLR0913 each is a word about the kind of record
        self,
        *,
        name: str,
        called: str,
        canonical: Callable[[str], str | None],
        fields: tuple[bytes, ...],
        hidden: tuple[bytes, ...] = (),
        refused: bytes | None = None,
    ) -> None:
        """Describe a kind of record.

        Args:
            name: the first part of its keys, and its segment in paths.
            called: for people.
            canonical: gives an id the form that keys have, or None for what is no id.
            fields: asked for by a lookup; the first is in every record.
            hidden: asked for as well, but never in an answer.
            refused: a record whose last hidden field has this value is not to be found.
        """
        self.name = name
        self.called = called
        self.asked = fields + hidden  # the fields of the lookup's HMGET, in order
        self.not_found = f"There is no such {called}."  # what a lookup of an unknown one is told
        self._canonical = canonical
        self._names = tuple(b'"%b":' % name for name in fields)
        self._refused = refused

    def key(self, prefix: bytes, record_id: str) -> bytes:
        """The Redis key of a record."""
        return b"%b%b:%b" % (prefix, self.name.encode(), record_id.encode())

    def id_of(self, prefix: bytes, key: bytes) -> str | None:
        """The record's id in its key; None for a key that no record of ours has."""
        try:
            text = key.removeprefix(self.key(prefix, "")).decode()
        except UnicodeDecodeError:
            return None
        return text if self._canonical(text) == text else None

    def read_id(self, segment: str | bytes) -> str | None:
        """The record's id as its key has it, from a path's raw segment; None for no id."""
        text = decode_segment(segment)
        return None if text is None else self._canonical(text)

    def answer(self, values: Sequence[bytes | None]) -> bytes | None:
        """The JSON that answers a lookup, or None where there is nothing to be found.

        Args:
            values: of the `asked` fields, None for one that is not set.
        """
        names = self._names
        if values[0] is None or (self._refused is not None and values[-1] == self._refused):
            return None
        # zip(…, strict=False) would take twice as long: a tenth of a lookup that Redis answers
        shown = [name + value for name, value in zip(names, values) if value is not None]  # noqa: B905
        return b"{%b}" % b",".join(shown)


def lookup_fields(model: type[BaseModel]) -> tuple[bytes, ...]:
    """A model's properties as hash fields, in the contract's order."""
    return tuple(name.encode() for name in model.model_fields)


def json_object(names: Sequence[bytes], values: Sequence[bytes | None]) -> bytes:
    """The JSON of what is set of some fields."""
    pairs = zip(names, values, strict=True)
    return b"{%b}" % b",".join(
        b'"%b":%b' % (name, value) for name, value in pairs if value is not None
    )


def if_json(record: bytes | None) -> bytes | None:
    """A record that can be shown; None for one of others, with a field that is no JSON."""
    if record is None:
        return None
    try:
        orjson.loads(record)
    except orjson.JSONDecodeError:
        return None
    return record


def is_value(stored: bytes | None, wanted: object) -> bool:
    """Whether a field is set to a value, however its JSON is spelled."""
    if stored is None:
        return False
    try:
        return bool(orjson.loads(stored) == wanted)
    except orjson.JSONDecodeError:
        return False


def now() -> bytes:
    """This moment as a hash field: RFC 3339, UTC, JSON."""
    # gmtime() alone reads a coarse clock, which is still in the second before for some milliseconds
    return strftime('"%Y-%m-%dT%H:%M:%SZ"', gmtime(time())).encode()


class Record(NamedTuple):
    """What is to be stored, and where."""

    key: bytes
    fields: dict[bytes, bytes]


_TOGETHER = 50
"""Records that one script stores; Redis does nothing else for as long, some 0.4 ms."""

# One command, so that a cluster can send it elsewhere as a whole while its slot is being moved, as
# it cannot do with MULTI. Redis undoes nothing of a script that fails, and checks its memory at a
# script's first write only. So the fields are set before the rest goes: an HSET that is refused,
# for want of rights or of memory, leaves the record as it was. A key of another type is replaced
# as well. ARGV is whether to leave what is there, then for each key how many arguments HSET has,
# and these.
_REPLACE = """
local only_new = ARGV[1] == '1'
local stored, at = {}, 2
for number, key in ipairs(KEYS) do
  local last = at + ARGV[at]
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and only_new then
    stored[number] = 0
  else
    local status
    if kind == 'hash' then
      %(before)s
      redis.call('HSET', key, unpack(ARGV, at + 1, last))
    end
    if kind ~= 'none' then
      redis.call('DEL', key)
    end
    redis.call('HSET', key, unpack(ARGV, at + 1, last))
    %(after)s
    stored[number] = 1
  end
  at = last + 1
end
return stored
"""


def replacing(before: str = "", after: str = "") -> str:
    """The script that puts records in the place of what is at their keys.

    Args:
        before: what it does before a hash at `key` is changed.
        after: what it does when a record is stored.
    """
    return _REPLACE % {"before": before, "after": after}


REPLACE = replacing()


async def replace(redis: RedisClient, record: Record, script: str = REPLACE) -> None:
    """Put a record in the place of whatever is at its key.

    Args:
        redis: where.
        record: to be stored.
        script: of `replacing`.

    Raises:
        Unavailable: nothing was changed.
        OutcomeUnknown: it may have been.
    """
    await redis.write(record.key, *_evaluate(script, [record]))


async def replace_all(
    redis: RedisClient,
    records: Sequence[Record],
    script: str = REPLACE,
    *,
    only_new: bool = False,
) -> list[bool | Unavailable]:
    """Store records, many together.

    Args:
        redis: where.
        records: to be stored; of two with one key, the later counts only if the other is stored
            at the first attempt.
        script: as for `replace`.
        only_new: whether to leave what is there.

    Returns:
        For each whether it is stored, False where another was there, or what `replace` would raise;
        then it may have been stored all the same, for the failure can be another record's.
    """
    # the keys of one command must be in one slot
    together = 1 if redis.clustered else _TOGETHER
    groups = [records[at : at + together] for at in range(0, len(records), together)]
    replies = await redis.write_all(
        [(group[0].key, _evaluate(script, group, only_new=only_new)) for group in groups]
    )
    said: list[bool | Unavailable] = []
    for group, reply in zip(groups, replies, strict=True):
        said += [reply] * len(group) if isinstance(reply, Unavailable) else map(bool, reply)
    return said


def _evaluate(script: str, records: Sequence[Record], *, only_new: bool = False) -> Command:
    arguments: list[bytes | int] = [int(only_new)]
    for record in records:
        arguments.append(2 * len(record.fields))
        for pair in record.fields.items():
            arguments += pair
    return ("EVAL", script, len(records), *(record.key for record in records), *arguments)


async def delete(redis: RedisClient, key: bytes) -> bool:
    """Remove a record; whether there was one.

    Raises:
        Unavailable: nothing was changed.
        OutcomeUnknown: it may have been.
    """
    return bool(await redis.write(key, "DEL", key))

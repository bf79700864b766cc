"""What the three kinds of record share: a Redis hash of JSON values, and a lookup of it."""

from collections.abc import Callable, Sequence
from enum import IntEnum
from time import gmtime, strftime, time
from typing import NamedTuple

import orjson
from pydantic import BaseModel

from csms_redis.contract.errors import Conflict, Unavailable
from csms_redis.contract.identifiers import decode_segment
from csms_redis.redis.client import RedisClient
from csms_redis.redis.connections import Command


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
            name: the first part of the keys, and the segment of paths.
            called: the kind's name for people.
            canonical: gives an id the form that it has in keys, or None for text that is no id.
            fields: the fields that a lookup answers; the first is in every record.
            hidden: fields that a lookup reads as well, but never answers.
            refused: a record whose last hidden field has this value is not found.
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
    """A JSON object of those fields that are set."""
    pairs = zip(names, values, strict=True)
    return b"{%b}" % b",".join(
        b'"%b":%b' % (name, value) for name, value in pairs if value is not None
    )


def if_json(record: bytes | None) -> bytes | None:
    """A record, if it is JSON; None where another program wrote a field that is not JSON."""
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
    """The time now as the value of a hash field: RFC 3339, UTC, as JSON."""
    # gmtime() alone reads a coarse clock, which is still in the second before for some milliseconds
    return strftime('"%Y-%m-%dT%H:%M:%SZ"', gmtime(time())).encode()


class Record(NamedTuple):
    """A record to be stored, and its key."""

    key: bytes
    fields: dict[bytes, bytes]
    kept: tuple[bytes, bytes] = (b"", b"")
    """A field and a value: if the stored record has this value, the value is kept."""


class Stored(IntEnum):
    """What became of a record; false where it was not stored."""

    LEFT = 0
    """Another was there, and was left alone."""
    AS_GIVEN = 1
    WITH_KEPT = 2
    """The value that is kept stands in the place of the one that was given."""


_TOGETHER = 50
"""Records that one script stores; Redis does nothing else for as long, some 0.4 ms."""


# With redis.wait_replicas, an answer that rests on what someone else wrote is given only when the
# replicas have that too. WAIT waits for what its own connection wrote last, so something must be
# written: a field that goes again, of a hash or at a key that is absent, and is so again after it.
# HDEL first: Redis checks its memory at a script's first write only, and not for HDEL. It also
# keeps who is a replica by now, or cut off, from giving such an answer: that refuses what writes.
_TOUCH = """
local function touch(key, waits)
  redis.call('HDEL', key, '')
  if waits then
    redis.call('HSET', key, '', '')
    redis.call('HDEL', key, '')
  end
end
"""


def script(work: str) -> str:
    """A script that never fails without saying whether it has changed something.

    Redis undoes nothing of a script that fails, and its own error does not tell how far it came.
    So the error's first word is `UNCHANGED` or `CHANGED` (see `redis.node`).

    Args:
        work: in Lua, a function's body; it sets `changed` as soon as it has changed something,
            and calls `touch` when it has not, with whether replicas are waited for.
    """
    return f"""
local changed = false
{_TOUCH}
local function work()
{work}
end
local fine, said = pcall(work)
if fine then
  return said
end
if type(said) == 'table' then
  said = said.err
end
return redis.error_reply((changed and 'CHANGED ' or 'UNCHANGED ') .. tostring(said))
"""


# One command, so that a cluster can send it elsewhere as a whole while its slot is being moved, as
# it cannot do with MULTI. There a key that is absent cannot be set again at its former master: so
# the key is never absent, not for one command, and neither is a value that is kept. Redis checks
# its memory at a script's first write only, which is therefore the one that takes memory. What
# the user may not do after it is asked for before it, where the server can tell (Redis 6.2 cannot).
# ARGV is whether to leave what is there, whether replicas are waited for, then for each key how
# many arguments HSET has, what is kept, and these. HSET itself takes off the time to live of a
# field, PERSIST that of the key.
_REPLACE = script("""
  local only_new, waits = ARGV[1] == '1', ARGV[2] == '1'
  local may = redis.acl_check_cmd
  if may and not (may('HDEL', KEYS[1], '') and may('PERSIST', KEYS[1])) then
    error('NOPERM HDEL or PERSIST', 0)
  end
  local existing
  local stored, at = {}, 3
  for number, key in ipairs(KEYS) do
    local kept, value = ARGV[at + 1], ARGV[at + 2]
    local first, last = at + 3, at + 2 + ARGV[at]
    at = last + 1
    local kind = redis.call('TYPE', key).ok
    local before = kind == 'hash' and redis.call('HKEYS', key) or {}
    if kind ~= 'hash' and kind ~= 'none' then
      stored[number] = kind
    elseif only_new and #before > 0 then
      stored[number] = 0
      existing = key
    else
      local new, result = {}, 1
      if #before > 0 then
        local keeps = kept ~= '' and redis.call('HGET', key, kept) == value
        for index = first, last, 2 do
          new[ARGV[index]] = true
          if keeps and ARGV[index] == kept and ARGV[index + 1] ~= value then
            ARGV[index + 1] = value
            result = 2
          end
        end
      end
      redis.call('HSET', key, unpack(ARGV, first, last))
      changed = true
      local left = {}
      for _, field in ipairs(before) do
        if not new[field] then
          left[#left + 1] = field
        end
      end
      for from = 1, #left, 1000 do
        redis.call('HDEL', key, unpack(left, from, math.min(from + 999, #left)))
      end
      if kind == 'hash' then
        redis.call('PERSIST', key)
      end
      stored[number] = result
    end
  end
  if existing and not changed then
    touch(existing, waits)
  end
  return stored
""")


async def replace(redis: RedisClient, record: Record) -> Stored:
    """Put a record in the place of the one at its key.

    Raises:
        Conflict: the key has another type, so it is no record of ours; nothing was changed.
        Unavailable: nothing was changed.
        OutcomeUnknown: the record may have been stored.
    """
    (said,) = await redis.write(record.key, *_evaluate(redis, [record]))
    stored = _stored(record, said)
    if isinstance(stored, Conflict):
        raise stored
    return stored


async def replace_all(
    redis: RedisClient, records: Sequence[Record], *, only_new: bool = False
) -> list[Stored | Conflict | Unavailable]:
    """Store records, many together.

    Args:
        redis: where.
        records: to be stored; of two with one key, the later counts only if the other is stored
            at the first attempt.
        only_new: whether to leave what is there.

    Returns:
        For each what became of it, or what `replace` would raise; if that is `Unavailable` it may
        have been stored all the same, for the failure can be another record's.
    """
    # else they must be in one slot, or a proxy sends all to the server that has the first
    together = _TOGETHER if redis.keeps_together else 1
    groups = [records[at : at + together] for at in range(0, len(records), together)]
    replies = await redis.write_all(
        [(group[0].key, _evaluate(redis, group, only_new=only_new)) for group in groups]
    )
    said: list[Stored | Conflict | Unavailable] = []
    for group, reply in zip(groups, replies, strict=True):
        if isinstance(reply, Unavailable):
            said += [reply] * len(group)
        else:
            said += map(_stored, group, reply)
    return said


def _evaluate(redis: RedisClient, records: Sequence[Record], *, only_new: bool = False) -> Command:
    arguments: list[bytes | int] = [int(only_new), int(redis.waits)]
    for record in records:
        arguments += [2 * len(record.fields), *record.kept]
        for pair in record.fields.items():
            arguments += pair
    return ("EVAL", _REPLACE, len(records), *(record.key for record in records), *arguments)


def _stored(record: Record, said: int | bytes) -> Stored | Conflict:
    """What the script says of a record: what became of it, or what else is at its key."""
    if isinstance(said, int):
        return Stored(said)
    key = record.key.decode("utf-8", "replace")
    return Conflict(
        f"In Redis, {key} is a {said.decode()} and no record of csms-redis. Nothing was changed: "
        "remove that key, or set redis.key_prefix if it is another program's."
    )


_DELETE = script("""
  changed = redis.call('DEL', KEYS[1]) == 1
  if not changed then
    touch(KEYS[1], true)
  end
  return changed and 1 or 0
""")


async def delete(redis: RedisClient, key: bytes) -> bool:
    """Remove a record, or what else is at its key; whether there was any.

    Raises:
        Unavailable: nothing was changed.
        OutcomeUnknown: the record may have been removed.
    """
    command: Command = ("EVAL", _DELETE, 1, key) if redis.waits else ("DEL", key)
    return bool(await redis.write(key, *command))

"""What the three kinds of record share: a Redis hash of JSON values, and a lookup of it.

Longer than others: the scripts of a write stand beside what gives them their arguments and reads
their replies, for one cannot be changed without the other.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from itertools import chain
from time import gmtime, strftime, time
from types import MappingProxyType
from typing import Any, NamedTuple

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
        first, *others = fields
        self._names = (b'{"%b":' % first, *(b',"%b":' % name for name in others))
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
        if values[0] is None or (self._refused is not None and values[-1] == self._refused):
            return None
        answer = b""
        # zip(…, strict=False) would take twice as long: a tenth of a lookup that Redis answers
        for name, value in zip(self._names, values):  # noqa: B905
            if value is not None:
                answer += name + value
        return answer + b"}"


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
    """A record to be stored, and its key.

    A whole record takes the place of the one that is there. A partial one changes what it has, and
    leaves the rest.

    Attributes:
        key: in Redis.
        fields: what is set.
        kept: a field and a value: if the stored record has this value, the value is kept.
        defaults: what is set besides; by a partial record only where the stored one has none.
        partial: whether it is a partial record.
        removed: of a partial record: the fields that go.
        needed: of a partial record: a field that it has not, and the stored one ought to have.
    """

    key: bytes
    fields: dict[bytes, bytes]
    kept: tuple[bytes, bytes] = (b"", b"")
    defaults: Mapping[bytes, bytes] = MappingProxyType({})
    partial: bool = False
    removed: tuple[bytes, ...] = ()
    needed: bytes = b""


class Stored(IntEnum):
    """What became of a record; false where it was not stored."""

    LEFT = 0
    """Another was there, and was left alone."""
    AS_GIVEN = 1
    WITH_KEPT = 2
    """The value that is kept stands in the place of the one that was given."""


class Written(NamedTuple):
    """What became of a record, and of the one that was there.

    Attributes:
        stored: what became of it.
        removed: the fields that a whole record took away, or set back to their default; some of
            them, where there are very many.
        lacking: whether neither it nor the one that was there has the field that is `needed`.
    """

    stored: Stored
    removed: tuple[str, ...] = ()
    lacking: bool = False


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
    So the error's first word is `UNCHANGED` or `CHANGED` (see `redis.outcomes`).

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
# HSET itself takes off the time to live of a field, PERSIST that of the key; a partial record
# leaves the key's.
# ARGV: whether to leave what is there, whether replicas are waited for, whether to refuse what
# lacks the needed field; that field; the kept field and its value. Then for each key: how many
# arguments HSET has for what is given, how many for the defaults, how many fields go, and how
# ('whole', 'partial' or 'needs'); then these arguments and fields.
_STORE = script("""
  local only_new, waits, strict = ARGV[1] == '1', ARGV[2] == '1', ARGV[3] == '1'
  local needed, kept, value = ARGV[4], ARGV[5], ARGV[6]
  local may = redis.acl_check_cmd
  if may and not (may('HDEL', KEYS[1], '') and may('PERSIST', KEYS[1])) then
    error('NOPERM HDEL or PERSIST', 0)
  end
  local left_alone
  local stored, at = {}, 7

  local function has(before, wanted)
    for _, field in ipairs(before) do
      if field == wanted then
        return true
      end
    end
    return false
  end

  local function change(key, before, first, last, last_default, last_removed, how)
    local there, set, result, gone, said = {}, {}, 1, {}, {}
    for _, field in ipairs(before) do
      there[field] = true
    end
    for index = first, last_default, 2 do
      local field, new = ARGV[index], ARGV[index + 1]
      if how == 'whole' or index <= last or not there[field] then
        if there[field] and (field == kept or index > last) then
          local old = redis.call('HGET', key, field)
          if field == kept and old == value then
            if new ~= value then
              new = value
              result = 2
            end
          elseif index > last and old ~= new then
            said[#said + 1] = field
          end
        end
        there[field] = nil
        set[#set + 1] = field
        set[#set + 1] = new
      end
    end
    if how == 'whole' then
      for _, field in ipairs(before) do
        if there[field] then
          gone[#gone + 1] = field
          if #said < 100 then
            said[#said + 1] = field
          end
        end
      end
    else
      for index = last_default + 1, last_removed do
        if there[ARGV[index]] then
          gone[#gone + 1] = ARGV[index]
        end
      end
    end
    redis.call('HSET', key, unpack(set))
    changed = true
    for from = 1, #gone, 1000 do
      redis.call('HDEL', key, unpack(gone, from, math.min(from + 999, #gone)))
    end
    if how == 'whole' then
      redis.call('PERSIST', key)
    end
    return result, said
  end

  for number, key in ipairs(KEYS) do
    local how, first = ARGV[at + 3], at + 4
    local last = first + ARGV[at] - 1
    local last_default = last + ARGV[at + 1]
    local last_removed = last_default + ARGV[at + 2]
    at = last_removed + 1
    local kind = redis.call('TYPE', key).ok
    local before = kind == 'hash' and redis.call('HKEYS', key) or {}
    local lacking = how == 'needs' and not has(before, needed)
    if kind ~= 'hash' and kind ~= 'none' then
      stored[number] = kind
    elseif only_new and #before > 0 then
      stored[number] = 0
      left_alone = key
    elseif strict and lacking then
      stored[number] = {0, 1}
      left_alone = key
    else
      local result, said = 1, {}
      if #before > 0 then
        result, said = change(key, before, first, last, last_default, last_removed, how)
      else
        redis.call('HSET', key, unpack(ARGV, first, last_default))
        changed = true
      end
      stored[number] = result
      if lacking or #said > 0 then
        stored[number] = {result, lacking and 1 or 0, unpack(said)}
      end
    end
  end
  if left_alone and not changed then
    touch(left_alone, waits)
  end
  return stored
""")


async def store(redis: RedisClient, record: Record) -> Written:
    """Store a record.

    Raises:
        Conflict: the key has another type, so it is no record of ours; nothing was changed.
        Unavailable: nothing was changed.
        OutcomeUnknown: the record may have been stored.
    """
    (said,) = await redis.write(record.key, *_evaluate(redis, [record]))
    written = _written(record, said)
    if isinstance(written, Conflict):
        raise written
    return written


async def store_all(
    redis: RedisClient, records: Sequence[Record], *, only_new: bool = False, strict: bool = False
) -> list[Written | Conflict | Unavailable]:
    """Store records, many together.

    Args:
        redis: where.
        records: to be stored, all of one kind; of two with one key, the later counts only if the
            other is stored at the first attempt.
        only_new: whether to leave what is there.
        strict: whether to store no record that would lack a field that it needs.

    Returns:
        For each what became of it, or what `store` would raise; if that is `Unavailable` it may
        have been stored all the same, for the failure can be another record's.
    """
    # else they must be in one slot, or a proxy sends all to the server that has the first
    together = _TOGETHER if redis.keeps_together else 1
    groups = [records[at : at + together] for at in range(0, len(records), together)]
    replies = await redis.write_all(
        [
            (group[0].key, _evaluate(redis, group, only_new=only_new, strict=strict))
            for group in groups
        ]
    )
    said: list[Written | Conflict | Unavailable] = []
    for group, reply in zip(groups, replies, strict=True):
        if isinstance(reply, Unavailable):
            said += [reply] * len(group)
        else:
            said += map(_written, group, reply)
    return said


def _evaluate(
    redis: RedisClient, records: Sequence[Record], *, only_new: bool = False, strict: bool = False
) -> Command:
    needed = next((record.needed for record in records if record.needed), b"")
    arguments: list[bytes | int] = [
        *(int(only_new), int(redis.waits), int(strict)),
        *(needed, *records[0].kept),
    ]
    for record in records:
        how = b"whole"
        if record.partial:
            how = b"needs" if record.needed else b"partial"
        fields, defaults, removed = record.fields, record.defaults, record.removed
        arguments += (2 * len(fields), 2 * len(defaults), len(removed), how)
        arguments += chain.from_iterable(fields.items())
        if defaults:
            arguments += chain.from_iterable(defaults.items())
        arguments += removed
    return ("EVAL", _STORE, len(records), *(record.key for record in records), *arguments)


_PLAIN = {int(stored): Written(stored) for stored in Stored}


def _written(record: Record, said: int | bytes | list[Any]) -> Written | Conflict:
    """What the script says of a record: what became of it, or what else is at its key."""
    if isinstance(said, int):
        return _PLAIN[said]
    if isinstance(said, list):
        stored, lacking, *removed = said
        names = sorted(name.decode("utf-8", "replace") for name in removed)
        return Written(Stored(stored), tuple(names), bool(lacking))
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

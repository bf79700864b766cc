"""What the three kinds of record share: a Redis hash of JSON values, and a lookup of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from csms_redis.contract.identifiers import decode_segment
from csms_redis.contract.models import ContractModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind of record: where its hash is, and which of its fields answer a lookup.

    What Redis stores is what goes on the wire, so an answer is joined, neither parsed nor
    serialised.
    """

    name: str  # the first part of the key, and the path's segment
    called: str  # for people
    canonical: Callable[[str], str | None]  # an id in the form that keys have; None for no id
    fields: tuple[bytes, ...]  # asked for by a lookup; the first is in every record
    hidden: tuple[bytes, ...] = ()  # asked for as well, but never in an answer
    refused: Callable[[Sequence[bytes | None]], bool] | None = None  # by the hidden fields' values

    def key(self, prefix: bytes, record_id: str) -> bytes:
        """The Redis key of a record."""
        return b"%b%b:%b" % (prefix, self.name.encode(), record_id.encode())

    @property
    def not_found(self) -> str:
        """What a lookup of an unknown one is told."""
        return f"There is no such {self.called}."

    def read_id(self, segment: str | bytes) -> str | None:
        """The record's id as its key has it, from a path's raw segment; None for no id."""
        text = decode_segment(segment)
        return None if text is None else self.canonical(text)

    @property
    def asked(self) -> tuple[bytes, ...]:
        """The fields of the lookup's HMGET, in order."""
        return self.fields + self.hidden

    def answer(self, values: Sequence[bytes | None]) -> bytes | None:
        """The JSON that answers a lookup, or None where there is nothing to be found.

        Args:
            values: of the `asked` fields, None for one that is not set.
        """
        if values[0] is None:
            return None
        if self.refused and self.refused(values[len(self.fields) :]):
            return None
        return b"{%b}" % b",".join(
            [
                b'"%b":%b' % (name, value)
                for name, value in zip(self.fields, values, strict=False)
                if value is not None
            ]
        )


def lookup_fields(model: type[ContractModel]) -> tuple[bytes, ...]:
    """A model's properties as hash fields, in the contract's order."""
    return tuple(name.encode() for name in model.model_fields)


def now() -> bytes:
    """This moment as a hash field: RFC 3339, UTC, JSON."""
    return orjson.dumps(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")


def flatten(fields: dict[bytes, bytes]) -> list[bytes]:
    """A hash's fields as HSET takes them."""
    return [part for pair in fields.items() for part in pair]

"""The cursor between two pages of a listing: opaque to callers, and of one listing only."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from zlib import crc32

import orjson

from csms_redis.contract.errors import BadRequest
from csms_redis.redis.scan import DIGEST_SIZE

_VERSION = 1
_NAME_SIZE = 8
_LAYOUT = struct.Struct(f">B{_NAME_SIZE}s{DIGEST_SIZE}sHQH")
_CHECKSUM = struct.Struct(">I")
_BAD = "This is no cursor of this listing. Take it from Link as it is, with the same filters."


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a page begins."""

    listing: bytes  # as `listing_name` names it
    masters: bytes  # the digest of the Scan, which must still be the same
    master: int = 0  # that is being scanned
    scanned: int = 0  # SCAN's own cursor
    skip: int = 0  # how many records are still to be left out
    seen: frozenset[bytes] = frozenset()  # `key_name` of those that SCAN will give once more

    def encode(self) -> str:
        """Write it in base64url (RFC 4648, 5), without padding."""
        body = _LAYOUT.pack(
            _VERSION, self.listing, self.masters, self.master, self.scanned, self.skip
        ) + b"".join(sorted(self.seen))
        return urlsafe_b64encode(_CHECKSUM.pack(crc32(body)) + body).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str, listing: bytes) -> "Cursor":
        """Read one of a listing.

        The checksum is against accidents: who makes a cursor of his own gets a page that begins
        somewhere, and nothing that he could not have otherwise.

        Raises:
            BadRequest: it is none, or another listing's.
        """
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            (checksum,) = _CHECKSUM.unpack_from(raw)
            body = raw[_CHECKSUM.size :]
            version, of, masters, master, scanned, skip = _LAYOUT.unpack_from(body)
        except (ValueError, struct.error):
            raise BadRequest(_BAD) from None
        names = body[_LAYOUT.size :]
        cursor = cls(
            listing=of,
            masters=masters,
            master=master,
            scanned=scanned,
            skip=skip,
            seen=frozenset(names[at : at + _NAME_SIZE] for at in range(0, len(names), _NAME_SIZE)),
        )
        if (
            (version, of, checksum) != (_VERSION, listing, crc32(body))
            or len(names) % _NAME_SIZE
            or cursor.encode() != text
        ):
            raise BadRequest(_BAD)
        return cursor


def listing_name(kind: str, filters: dict[str, Any]) -> bytes:
    """A short name for a listing of records of a kind that pass filters."""
    return _name(orjson.dumps([kind, filters], option=orjson.OPT_SORT_KEYS))


def key_name(key: bytes) -> bytes:
    """A short name for a key."""
    return _name(key)


def _name(of: bytes) -> bytes:
    return blake2b(of, digest_size=_NAME_SIZE).digest()

"""Which of a cluster's 16,384 slots a key belongs to (https://valkey.io/topics/cluster-spec/)."""

from binascii import crc_hqx
from collections.abc import Callable
from itertools import count

SLOTS = 16384


def slot_of(key: bytes) -> int:
    """The slot of a key: of what stands in its first braces where there is something in them."""
    # XMODEM's CRC, which the standard library calls by the name of a file format that had it first
    return crc_hqx(_hashed(key), 0) % SLOTS


def key_in(start: bytes, belongs: Callable[[int], bool]) -> bytes | None:
    """A key that begins with `start`, in a slot for which `belongs`; there must be such a slot.

    None where `start` has its slot already, by a hash tag, and that is another one.
    """
    if _hashed(start) is not start:
        return start if belongs(slot_of(start)) else None
    slot = next(filter(belongs, range(SLOTS)))
    # a head has one chance in 17; without the table it would be one in 16,384, and the event loop
    # would stand still for a fifth of a second at the worst
    heads = (b"%b%d" % (start, number) for number in count())
    tails = ((head, _TAILS.get(slot ^ slot_of(head + b"000"))) for head in heads)
    return next(b"%b%03d" % (head, tail) for head, tail in tails if tail is not None)


def _hashed(key: bytes) -> bytes:
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            return key[start + 1 : end]
    return key


# What three digits at the end of a key change of its slot, compared with zeros: the same whatever
# comes before them, for a CRC is linear.
_TAILS = {slot_of(b"%03d" % tail) ^ slot_of(b"000"): tail for tail in range(1000)}

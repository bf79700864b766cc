"""Which of a cluster's 16,384 slots a key belongs to (https://valkey.io/topics/cluster-spec/)."""

from binascii import crc_hqx

SLOTS = 16384


def slot_of(key: bytes) -> int:
    """The slot of a key: of what stands in its first braces where there is something in them."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    # XMODEM's CRC, which the standard library calls by the name of a file format that had it first
    return crc_hqx(key, 0) % SLOTS

"""What `INFO keyspace` says of times to live."""

KEYS = "expires"
HASHES = frozenset(["subexpiry", "keys_with_volatile_items"])
"""Hashes with fields that have a time to live, as Redis (from 7.4 on) and Valkey (from 9 on) call
their number; `KEYS` is every server's name for the number of keys that have one."""


def volatile(numbers: str) -> dict[str, int]:
    """What has a time to live in one database, by INFO's name for it; what is 0 is left out.

    Args:
        numbers: of the database's line, as in `keys=2,expires=1,avg_ttl=99675`.

    Raises:
        ValueError: one is no number.
    """
    pairs = (pair.partition("=") for pair in numbers.split(","))
    counts = {what: int(number) for what, _, number in pairs if what == KEYS or what in HASHES}
    return {what: count for what, count in counts.items() if count}

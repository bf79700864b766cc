"""What the service must be allowed to do in Redis: all its commands and keys.

deploy/install.md documents the same as the rights of the service's user, and what fails without a
right.
"""

from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.data_set import IDENTITY_KEY
from csms_redis.registry.layout import LAYOUT_KEY
from csms_redis.registry.refused import REFUSED_KEY
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN

KEYS = (
    *(f"{resource.name}:*" for resource in (STATION, TOKEN, CERTIFICATE)),
    LAYOUT_KEY.decode(),
    IDENTITY_KEY.decode(),
    REFUSED_KEY.decode(),
)
"""Patterns of the service's keys, each behind `redis.key_prefix`."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "lookups": ("hmget",),
    "writes": ("eval", "type", "hkeys", "hget", "hset", "hdel", "persist", "del"),
    "the storage layout": ("get", "set"),
    "listings and lookup.preload": ("scan", "info"),
    "the near cache": ("client|tracking",),
    "times to live": ("pttl", "hpttl"),
    "redis.wait_replicas": ("wait",),
    "redis.wait_for_disk": ("waitaof",),
    "a database other than 0": ("select",),
    "a cluster": ("cluster|nodes", "asking"),
}
"""The service's commands, as ACL SETUSER calls them, by the part that needs them."""

"""The targets of the three lookups: which record a target names, and which target a record has.

Many spellings of a target name the same record; one of them is its canonical target. The near cache
is keyed by canonical targets, so that a request in that spelling, as gateways send it, is answered
without decoding anything.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from csms_redis.contract.identifiers import encode_segment
from csms_redis.contract.operations import BASE_PATH
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.resource import Resource
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN


class Route(NamedTuple):
    """The route of a lookup: what stands before and after the id in its target."""

    resource: Resource
    before: bytes
    after: bytes
    plain: bytes  # a pattern of the ids that a canonical target and a key spell alike

    def target(self, record_id: str) -> bytes:
        """The canonical target of a record."""
        return b"%b%b%b" % (self.before, encode_segment(record_id).encode(), self.after)


def _route(resource: Resource, plain: bytes, after: bytes = b"") -> Route:
    return Route(resource, f"{BASE_PATH}/{resource.name}/".encode(), after, plain)


ROUTES = (
    _route(STATION, rb"[A-Za-z0-9._~-]{1,48}", b"/auth"),
    _route(TOKEN, rb"[A-Z0-9._~-]{1,36}"),
    _route(CERTIFICATE, rb"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]="),
)
# the targets that `front.request_heads` reads
_VISIBLE = re.compile(rb"/[!-~]{0,7999}")
_BY_NAME = {route.resource.name.encode(): route for route in ROUTES}
_BY_RESOURCE = {route.resource: route for route in ROUTES}
_PLAIN = re.compile(
    b"|".join(b"%b(%b)%b" % (re.escape(r.before), r.plain, re.escape(r.after)) for r in ROUTES)
)
_PLAIN_KEY = re.compile(b"|".join(b"%b:(%b)" % (r.resource.name.encode(), r.plain) for r in ROUTES))


Wanted: TypeAlias = tuple[Resource, bytes | None, bytes]
"""What a target asks for: the kind of record, its id, and its canonical target.

The id is as in the record's key. It is None where the target has something that cannot be an id, so
that nothing is ever found; then the target is as it was asked for.
"""


def read(target: bytes) -> Wanted | None:
    """What a request's target asks for; None where it is not a lookup's.

    Args:
        target: from a request line that nobody has checked: it may hold what no target may, such as
            spaces and line ends.
    """
    plain = _PLAIN.fullmatch(target)
    if plain is not None:
        number = plain.lastindex or 0
        return ROUTES[number - 1].resource, plain[number], target
    if not _VISIBLE.fullmatch(target):
        return None
    for route in ROUTES:
        if target.startswith(route.before) and target.endswith(route.after):
            segment = target[len(route.before) : len(target) - len(route.after)]
            if not segment or b"/" in segment or b"?" in segment or b"#" in segment:
                return None
            record_id = route.resource.read_id(segment)
            if record_id is None:
                return route.resource, None, target
            return wanted(route.resource, record_id)
    return None


def wanted(resource: Resource, record_id: str) -> Wanted:
    """What the canonical target of a record asks for."""
    return resource, record_id.encode(), _BY_RESOURCE[resource].target(record_id)


def of_key(key: bytes, prefix: bytes) -> bytes | None:
    """The canonical target of the record at a Redis key.

    None for a key that no lookup reads, such as one whose id is not canonical: its target would be
    that of another record.
    """
    if not key.startswith(prefix):
        return None
    plain = _PLAIN_KEY.fullmatch(key, len(prefix))
    if plain is not None:
        number = plain.lastindex or 0
        route = ROUTES[number - 1]
        return route.before + plain[number] + route.after
    name, colon, _ = key[len(prefix) :].partition(b":")
    by_name = _BY_NAME.get(name)
    if by_name is None or not colon:
        return None
    record_id = by_name.resource.id_of(prefix, key)
    return None if record_id is None else by_name.target(record_id)


def of_keys(keys: Sequence[bytes], resource: Resource, prefix: bytes) -> list[bytes | None]:
    """What `of_key` gives for each of many keys that begin as those of one kind of record do.

    Args:
        keys: that SCAN has named.
        resource: the kind of record.
        prefix: of every key.
    """
    route = _BY_RESOURCE[resource]
    start = resource.key(prefix, "")
    plain = re.escape(start) + route.plain
    # nearly always all are plain, and one look at all of them takes a third of a look at each
    lines = b"\n".join(keys)
    if lines.count(b"\n") == len(keys) - 1 and re.fullmatch(b"%b(?:\n%b)*" % (plain, plain), lines):
        before, after, length = route.before, route.after, len(start)
        return [before + key[length:] + after for key in keys]
    return [of_key(key, prefix) for key in keys]


def key_of(target: bytes, prefix: bytes) -> bytes:
    """The key of the record that a canonical target names."""
    resource, record_id, _ = _read_canonical(target)
    return resource.key(prefix, (record_id or b"").decode())


def resource_of(target: bytes) -> Resource:
    """Which kind of record a canonical target names."""
    return _read_canonical(target)[0]


def _read_canonical(target: bytes) -> Wanted:
    found = read(target)
    assert found is not None  # noqa: S101 it is canonical
    return found

"""The three hot routes: from a request's target to a record, and from a record's key back.

One spelling of a target is canonical for each record. The near cache is keyed by it, so that a
request in that spelling, as gateways send it, is found without being decoded at all.
"""

import re
from typing import NamedTuple, TypeAlias

from csms_redis.contract.identifiers import encode_segment
from csms_redis.contract.operations import BASE_PATH
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.resource import Resource
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN


class Route(NamedTuple):
    """A hot route: what stands before and after the id in its target."""

    resource: Resource
    before: bytes
    after: bytes
    plain: bytes  # a pattern of ids that are spelled alike in a canonical target and in a key

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
# as in a request's head that the front protocol may read
_VISIBLE = re.compile(rb"/[!-~]{0,7999}")
_BY_NAME = {route.resource.name.encode(): route for route in ROUTES}
_BY_RESOURCE = {route.resource: route for route in ROUTES}
_PLAIN = re.compile(
    b"|".join(b"%b(%b)%b" % (re.escape(r.before), r.plain, re.escape(r.after)) for r in ROUTES)
)


Wanted: TypeAlias = tuple[Resource, bytes | None, bytes]
"""What a target asks for: a kind of record; the id as its key has it, or None for what is no id and
so is never found; the canonical target."""


def read(target: bytes) -> Wanted | None:
    """Find out what a request's target asks for; None where it is no hot route's.

    Args:
        target: of a request whose line was not read: it may hold what no target may, spaces and
            line ends above all.
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
    """A record, as a target would ask for it."""
    return resource, record_id.encode(), _BY_RESOURCE[resource].target(record_id)


def of_key(key: bytes, prefix: bytes) -> bytes | None:
    """The canonical target of the record that a Redis key holds; None for a key of others."""
    name, colon, record_id = key.removeprefix(prefix).partition(b":")
    route = _BY_NAME.get(name)
    if route is None or not colon or not key.startswith(prefix):
        return None
    try:
        return route.target(record_id.decode())
    except UnicodeDecodeError:
        return None


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

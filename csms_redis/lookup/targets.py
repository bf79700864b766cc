"""The three hot routes: from a request's target to a record, and from a record's key back.

One spelling of a target is canonical for each record. The near cache is keyed by it, so that a
request in that spelling, as gateways send it, is found without being decoded at all.
"""

import re
from dataclasses import dataclass

from csms_redis.contract.identifiers import encode_segment
from csms_redis.contract.operations import BASE_PATH
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.resource import Resource
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN

# An id of these is its own canonical segment; see `encode_segment`.
_PLAIN = re.compile(rb"[A-Za-z0-9._~=-]+")


@dataclass(frozen=True, slots=True)
class Route:
    """A hot route: what stands before and after the id in its target."""

    resource: Resource
    before: bytes
    after: bytes

    def is_canonical(self, segment: bytes, record_id: str) -> bool:
        """Whether a target with this raw segment is the canonical one of the record."""
        return _PLAIN.fullmatch(segment) is not None and segment.decode() == record_id

    def target(self, record_id: str) -> bytes:
        """The canonical target of a record."""
        return b"%b%b%b" % (self.before, encode_segment(record_id).encode(), self.after)


def _route(resource: Resource, after: str = "") -> Route:
    return Route(resource, f"{BASE_PATH}/{resource.name}/".encode(), after.encode())


ROUTES = (_route(STATION, "/auth"), _route(TOKEN), _route(CERTIFICATE))
_BY_NAME = {route.resource.name.encode(): route for route in ROUTES}
_BY_RESOURCE = {route.resource: route for route in ROUTES}


def split(target: bytes) -> tuple[Route, bytes] | None:
    """Find the route and the raw id of a request's target; None where it is no hot route."""
    for route in ROUTES:
        if target.startswith(route.before) and target.endswith(route.after):
            segment = target[len(route.before) : len(target) - len(route.after)]
            if segment and b"/" not in segment and b"?" not in segment and b"#" not in segment:
                return route, segment
    return None


def canonical(resource: Resource, record_id: str) -> bytes:
    """The canonical target of a record."""
    return _BY_RESOURCE[resource].target(record_id)


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

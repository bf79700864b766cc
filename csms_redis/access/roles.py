"""Which role each route needs."""

from csms_redis.settings import Role

LOOKUPS = frozenset(["lookupChargeStationAuth", "lookupToken", "lookupCertificate"])
"""The operations of a gateway. They hand out what stations prove themselves with, so an operator
has them only with the gateway's role besides."""

_OPEN = ("/health", "/docs", "/api/openapi.json")  # say nothing of the fleet


def is_open(path: str) -> bool:
    """Whether a route answers everyone: health, and the API's documentation."""
    return path.startswith(_OPEN)


def role_for(path: str, operation: str | None) -> Role:
    """The role that a route needs; what nobody thought of here is an operator's."""
    if operation in LOOKUPS:
        return Role.GATEWAY
    return Role.METRICS if path == "/metrics" else Role.OPERATOR

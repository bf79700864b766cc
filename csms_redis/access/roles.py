"""Which role each route needs."""

from csms_redis.settings import Role

LOOKUPS = frozenset(["lookupChargeStationAuth", "lookupToken", "lookupCertificate"])
"""The operations of a gateway. They give out what stations prove themselves with, so an operator
may use them only with the gateway's role as well."""

_OPEN = ("/health", "/docs", "/api/openapi.json")  # they say nothing about the fleet


def is_open(path: str) -> bool:
    """Whether everyone may use a route: health, and the API's documentation."""
    return path.startswith(_OPEN)


def role_for(path: str, operation: str | None) -> Role:
    """The role that a route needs; one that is not named here needs the operator's."""
    if operation in LOOKUPS:
        return Role.GATEWAY
    return Role.METRICS if path == "/metrics" else Role.OPERATOR

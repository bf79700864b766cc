"""Says which role each route needs."""

from csms_redis.settings import Role

LOOKUPS = frozenset(["lookupChargeStationAuth", "lookupToken", "lookupCertificate"])
"""The operations of a gateway. They give out password hashes, so an operator may use them only with
the role of a gateway as well."""

_OPEN = ("/health", "/docs", "/api/openapi.json")  # these say nothing about the fleet


def is_open(path: str) -> bool:
    """Whether everyone may use a route: health, and the API's documentation."""
    return path.startswith(_OPEN)


def role_for(path: str, operation: str | None) -> Role:
    """Give the role that a route needs. A route that is not named here needs the operator's."""
    if operation in LOOKUPS:
        return Role.GATEWAY
    return Role.METRICS if path == "/metrics" else Role.OPERATOR

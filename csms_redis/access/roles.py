"""Which role each route needs."""

from csms_redis.settings import Role

LOOKUPS = frozenset(["lookupChargeStationAuth", "lookupToken", "lookupCertificate"])
"""The operations of a gateway. They hand out what stations prove themselves with, so an operator
has them only with the gateway's role besides."""

_OPEN = ("health", "docs", "openapi")  # say nothing of the fleet


def is_open(route: str | None) -> bool:
    """Whether a route, by its name, answers everyone: health, and the API's documentation."""
    return route is not None and route.startswith(_OPEN)


def role_for(operation: str | None) -> Role:
    """The role that an operation needs; what nobody thought of here is an operator's."""
    if operation in LOOKUPS:
        return Role.GATEWAY
    return Role.METRICS if operation == "metrics" else Role.OPERATOR

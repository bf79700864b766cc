"""Says which role each route needs."""

from csms_redis.settings import Role

LOOKUPS = frozenset(["lookupChargeStationAuth", "lookupToken", "lookupCertificate"])
"""The operations of a gateway. They give out password hashes, so an operator may use them only with
the role of a gateway as well."""

ANY_CLIENT = frozenset(["getClient", "console"])
"""The routes of every client: its own roles, and the page that shows what these allow."""

_OPEN = ("/health", "/docs", "/console/", "/api/openapi.json")  # these say nothing about the fleet


def is_open(path: str) -> bool:
    """Whether everyone may use a route: health, the API's documentation, and the pages' files."""
    return path == "/" or path.startswith(_OPEN)


def role_for(path: str, operation: str | None) -> Role | None:
    """Give the role that a route needs. A route that is not named here needs the operator's.

    Returns:
        The role; None where any client may use it.
    """
    if operation in LOOKUPS:
        return Role.GATEWAY
    if operation in ANY_CLIENT:
        return None
    return Role.METRICS if path == "/metrics" else Role.OPERATOR

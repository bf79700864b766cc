"""`GET /client`: who asks, and what that client may do."""

import orjson
from aiohttp import web

from csms_redis.access.control import AccessControl
from csms_redis.access.roles import role_for
from csms_redis.api.middleware import CLIENT
from csms_redis.api.replies import JSON
from csms_redis.contract.operations import BASE_PATH, OPERATIONS


class ClientHandlers:
    """Answers the operation on `/client`."""

    def __init__(self, access_control: AccessControl) -> None:
        """Answer by the roles that `access_control` knows."""
        self._access_control = access_control

    async def get(self, request: web.Request) -> web.Response:
        """Answer `getClient`."""
        name = None if self._access_control.open_to_all else request[CLIENT]
        roles = self._access_control.roles_of(name)
        allowed = [
            operation.id
            for operation in OPERATIONS
            if (role := role_for(BASE_PATH + operation.path, operation.id)) is None or role in roles
        ]
        said = {} if name is None else {"client": name}
        body = orjson.dumps(said | {"roles": sorted(roles), "operations": allowed})
        return web.Response(body=body, content_type=JSON)

"""A CSMS for OCPP 1.6 that asks csms-redis which stations to let in, and which tokens are valid."""

import asyncio
import json
import os
from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote
from urllib.request import Request, urlopen

from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHeader
from websockets.headers import parse_authorization_basic
from websockets.http11 import Request as Handshake
from websockets.http11 import Response

REGISTRY = os.environ.get("REGISTRY", "http://127.0.0.1:9410/api/v0")
SECRET = os.environ.get("REGISTRY_SECRET")  # of a client with the role gateway, where [auth] is set
HEADERS = {"Authorization": f"Bearer {SECRET}"} if SECRET else {}


def look_up(path: str) -> Any:
    """Ask the registry; None for a 404, OSError for every other answer, and for none."""
    try:
        with urlopen(Request(f"{REGISTRY}/{path}", headers=HEADERS), timeout=10) as reply:
            return json.load(reply)
    except HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise


async def admit(connection: ServerConnection, handshake: Handshake) -> Response | None:
    """Answer a handshake with an error, or let the station in."""
    try:
        # the path comes as it was sent: still percent-encoded, and with its query
        name = unquote(handshake.path.partition("?")[0].rpartition("/")[2], errors="strict")
        user, password = parse_authorization_basic(handshake.headers["Authorization"])
    except (LookupError, ValueError, InvalidHeader):  # no credentials, two of them, no UTF-8
        return connection.respond(HTTPStatus.UNAUTHORIZED, "HTTP Basic is needed\n")
    try:
        path = f"cs/{quote(name, safe='')}/auth"
        station = await asyncio.to_thread(look_up, path) if name else None
    except OSError:
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "try again\n")
    if station is None:
        return connection.respond(HTTPStatus.NOT_FOUND, "unknown station\n")
    # bytes that are not UTF-8 are lone surrogates in the text: this gives the bytes back
    given = b64encode(sha256(password.encode("utf-8", "surrogateescape")).digest())
    right = compare_digest(given, station.get("base64SHA256Password", "").encode())
    if station["securityProfile"] == 2:  # a certificate is needed, which is not looked at here
        right = False
    if not right or (user != name and not station.get("invalidUsernameAllowed")):
        return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong credentials\n")
    connection.username = name
    return None


class Station(ChargePoint):
    """A station that was let in."""

    @on("BootNotification")
    def boot(self, **_: Any) -> call_result.BootNotification:
        """Accept it: a station that is blocked in the registry never comes so far."""
        return call_result.BootNotification(datetime.now(UTC).isoformat(), 300, "Accepted")

    @on("Authorize")
    async def authorize(self, id_tag: str, **_: Any) -> call_result.Authorize:
        """Say whether a card may charge; `valid` is all that is asked here."""
        token = await asyncio.to_thread(look_up, f"token/{quote(id_tag, safe='')}")
        status = "Invalid" if token is None else "Accepted" if token["valid"] else "Blocked"
        return call_result.Authorize({"status": status})


async def main() -> None:
    """Serve stations until the process is ended."""

    async def talk(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await Station(connection.username, connection).start()

    port = int(os.environ.get("PORT", "9310"))
    async with serve(
        talk, "127.0.0.1", port, process_request=admit, subprotocols=["ocpp1.6"]
    ) as server:
        print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

"""Parts of requests that several tests of the API send."""

from tests.conftest import RawConnection, Reply
from tests.support import made

JSON = {"Content-Type": "application/json"}
STATION = '{"securityProfile":2}'
TOKEN = made.TOKEN | {"uid": "x"}


def said(connection: RawConnection, data: bytes) -> Reply:
    """The only reply to some bytes, after which the service closes."""
    connection.send(data)
    reply = connection.reply()
    assert connection.rest() == b""
    return reply

"""Reads the `Authorization` header: HTTP Basic (RFC 7617) or a Bearer token (RFC 6750)."""

import re
from base64 import b64decode, b64encode
from binascii import Error
from typing import NamedTuple

# RFC 9110, 11.4: the scheme in any case, spaces, a token68
_CREDENTIALS = re.compile(rb"([A-Za-z]+) +([A-Za-z0-9._~+/-]+=*)")


class Credentials(NamedTuple):
    """The name that a caller gives, and its secret; neither is ever logged."""

    name: bytes | None  # None with Bearer, which has no name
    secret: bytes


def read(authorization: bytes) -> Credentials | None:
    """Read the header's value; None if it is neither Basic nor Bearer, or is malformed."""
    given = _CREDENTIALS.fullmatch(authorization)
    if given is None:
        return None
    scheme = given[1].lower()
    if scheme == b"bearer":
        return Credentials(None, given[2])
    if scheme != b"basic":
        return None
    try:
        decoded = b64decode(given[2], validate=True)
    except Error:
        return None
    if b64encode(decoded) != given[2]:  # RFC 4648, 3.5: bits that mean nothing are not all zero
        return None
    name, colon, secret = decoded.partition(b":")
    return Credentials(name, secret) if colon else None

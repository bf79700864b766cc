"""A station's password as it is kept."""

import re
from base64 import b64encode
from hashlib import sha256

_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){1,64}")


def base64_sha256(password: bytes) -> str:
    """The `base64SHA256Password` of a password, as gateways compare it."""
    return b64encode(sha256(password).digest()).decode("ascii")


def bytes_of_hex(key: str) -> bytes:
    """The bytes of an AuthorizationKey in hexadecimal, as OCPP 1.6 keeps it.

    A station sends these bytes as its password, and they need not be UTF-8 (OCPP 1.6 security
    whitepaper, HTTP basic authentication).

    Raises:
        ValueError: it is not hexadecimal; the message never quotes it.
    """
    if not _HEX.fullmatch(key):
        raise ValueError(
            "must be hexadecimal, two digits for each of 1 to 64 bytes (OCPP 1.6 has 16 to 20), "
            "without 0x, colons or blanks"
        )
    return bytes.fromhex(key)

"""A station's password as it is kept."""

from base64 import b64encode
from hashlib import sha256


def base64_sha256(password: bytes) -> str:
    """The `base64SHA256Password` of a password, as gateways compare it."""
    return b64encode(sha256(password).digest()).decode("ascii")

"""Secrets of clients, and the hashes by which they are kept.

A secret is random and long, so its plain SHA-256 gives nothing away and costs the hot path little;
a slow hash is for what people make up.
"""

from hashlib import sha256
from secrets import token_urlsafe

_BYTES = 24  # 192 bits


def new_secret() -> str:
    """Make one; it can stand in a URL and behind `Bearer` as it is (RFC 6750, 2.1: `b64token`)."""
    return token_urlsafe(_BYTES)


def hash_of(secret: bytes) -> bytes:
    """What is kept of a secret."""
    return sha256(secret).digest()

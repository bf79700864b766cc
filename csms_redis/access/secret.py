"""Secrets of clients, and the hashes that are kept of them.

A secret is random and long. So nobody can guess it from its plain SHA-256, which costs the hot path
little. A slow hash would be needed only for secrets that people make up.
"""

from hashlib import sha256
from secrets import token_urlsafe

_BYTES = 24  # 192 bits


def new_secret() -> str:
    """Make a secret that can stand in a URL and after `Bearer` (RFC 6750, 2.1: `b64token`)."""
    return token_urlsafe(_BYTES)


def hash_of(secret: bytes) -> bytes:
    """The hash that is kept of a secret."""
    return sha256(secret).digest()

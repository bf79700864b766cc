"""Certificates and tokens, made as many as a test needs."""

import datetime as dt
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

TOKEN: Final[dict[str, object]] = {
    "countryCode": "GB",
    "partyId": "TWK",
    "type": "RFID",
    "uid": "DEADBEEF",
    "contractId": "GBTWK012345678V",
    "issuer": "Thoughtworks",
    "valid": True,
    "cacheMode": "ALWAYS",
}
"""A token as the contract shows one; its uid is its key, too."""


def certificates(count: int) -> dict[str, str]:
    """Make certificates: the spelling of each one's hash for a URL, and its PEM."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "made")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = {}
    for _ in range(count):
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + dt.timedelta(days=1))
            .sign(key, None)
        )
        digest = sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
        made[digest] = certificate.public_bytes(Encoding.PEM).decode()
    return made


def token(uid: str, value: str) -> dict[str, object]:
    """A token whose issuer is the value."""
    return {
        "countryCode": "DE",
        "partyId": "TNM",
        "uid": uid,
        "type": "RFID",
        "contractId": "DE8ACC12E46L89",
        "issuer": value,
        "valid": True,
        "cacheMode": "ALWAYS",
    }

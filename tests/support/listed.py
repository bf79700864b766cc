"""Records that listings are to list, written beside the service."""

import base64
import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.conftest import password_hash

HASHED = password_hash("fiddlesticks_fishsticks")
STATIONS = {f"list-{number:03}": number % 3 for number in range(300)}
NO_CURSOR = "This is no cursor of this listing. Take it from Link as it is, with the same filters."
TOKEN = {
    "countryCode": "GB",
    "partyId": "TWK",
    "type": "RFID",
    "contractId": "GBTWK012345678V",
    "issuer": "Thoughtworks",
    "valid": True,
    "cacheMode": "ALWAYS",
}


def flush(redis: Any) -> None:
    """Remove all records."""
    redis.flushall()


def keys_of_records(redis: Any) -> set[bytes]:
    """Without the registry's own keys, one of which the service writes a second after a refusal."""
    return {key for key in redis.scan_iter(count=1000) if b":" in key}


def add(redis: Any, key: str, fields: dict[str, str]) -> None:
    """A record, as the service would store it."""
    redis.hset(key, mapping=fields)


def add_all(redis: Any, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Records of these properties, at these keys."""
    with redis.pipeline(transaction=False) as pipeline:
        for key, record in records.items():
            fields = {name: json.dumps(value) for name, value in record.items()}
            pipeline.hset(key, mapping=fields)
        pipeline.execute()


def signed(name: str, ends: dt.datetime) -> tuple[str, str, int]:
    """A certificate that ends then: its text, its hash, its serial number."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - dt.timedelta(days=100))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    digest = base64.urlsafe_b64encode(made.fingerprint(hashes.SHA256())).decode()
    return made.public_bytes(Encoding.PEM).decode(), digest, made.serial_number


MIDNIGHT = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)

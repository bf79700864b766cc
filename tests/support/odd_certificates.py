"""Client certificates as secure elements and old authorities make them, signed by a CA made here.

They are built of bytes, because no library writes what it would not read.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
ECDSA_SHA256_NULL = bytes.fromhex("300c06082a8648ce3d0403020500")
V1, V2, V3, V4 = (bytes([0xA0, 3, 2, 1, number]) for number in range(4))
CA_NAME = "Odd CA"


def tlv(tag: int, *parts: bytes) -> bytes:
    """An element of DER."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def name(text: bytes, *, tag: int = 0x0C, oid: str = "550403") -> bytes:
    """A name of one attribute: a commonName in UTF-8, unless said otherwise."""
    return tlv(0x30, tlv(0x31, tlv(0x30, tlv(0x06, bytes.fromhex(oid)), tlv(tag, text))))


def validity(tag: int = 0x17, before: bytes = b"260101000000Z", after: bytes = b"") -> bytes:
    """From the start of 2026 for ten years; UTCTime unless said otherwise."""
    return tlv(0x30, tlv(tag, before), tlv(tag, after or before.replace(b"26", b"36", 1)))


def extension(oid: str, value: bytes, *, critical: bytes = b"") -> bytes:
    return tlv(0x30, tlv(0x06, bytes.fromhex(oid)), critical, tlv(0x04, value))


KEY_ID = extension("551d0e", tlv(0x04, b"1" * 20))
NO_CA = extension("551d13", b"\x30\x00")


class Authority:
    """A CA with a certificate as anybody's."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name(CA_NAME.encode())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CA_NAME)])
        now = datetime(2026, 1, 1, tzinfo=UTC)
        self.pem = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=7300))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
            .public_bytes(Encoding.PEM)
            .decode()
        )

    def issue(
        self,
        key: ec.EllipticCurvePrivateKey,
        *,
        version: bytes = V3,
        serial: bytes = b"\x07",
        subject: bytes = name(b"cs001"),
        dates: bytes = validity(),
        extensions: tuple[bytes, ...] = (),
        algorithm: bytes = ECDSA_SHA256,
        outer_algorithm: bytes = ECDSA_SHA256,
    ) -> bytes:
        """A certificate of these parts, in DER."""
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        more = tlv(0xA3, tlv(0x30, *extensions)) if extensions else b""
        signed = tlv(
            0x30,
            *(version, tlv(0x02, serial), algorithm, self.name, dates, subject, public, more),
        )
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return tlv(0x30, signed, outer_algorithm, tlv(0x03, b"\0", signature))


class Odd(NamedTuple):
    """An odd certificate, and its key in PEM.

    Attributes:
        verified: whether OpenSSL lets a client in with it; it reads all of them.
    """

    kind: str
    der: bytes
    key: str
    verified: bool = True


def odd_certificates(authority: Authority) -> Iterator[Odd]:
    """One of each kind that a strict parser refuses or warns of, or that is merely rare."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def odd(kind: str, der: bytes, *, verified: bool = True) -> Odd:
        return Odd(kind, der, pem, verified)

    issue = authority.issue
    false = tlv(0x01, b"\0")
    yield odd("version 2", issue(key, version=V2))
    yield odd("version 4", issue(key, version=V4))
    yield odd("version 1, written though it is the default", issue(key, version=V1))
    yield odd("version 1", issue(key, version=b""))
    yield odd(
        "critical FALSE, written though it is the default",
        issue(key, extensions=(extension("551d0e", tlv(0x04, b"1" * 20), critical=false),)),
    )
    yield odd(
        "cA FALSE, written though it is the default",
        issue(key, extensions=(extension("551d13", tlv(0x30, false)),)),
    )
    for word in (b"CS_001", b"cs@acme", b"cs*1", b"cs&1"):
        yield odd(f"{word.decode()} in a PrintableString", issue(key, subject=name(word, tag=0x13)))
    yield odd("a name in an IA5String of Latin-1", issue(key, subject=name(b"cs\xe9", tag=0x16)))
    yield odd("a name in a TeletexString", issue(key, subject=name(b"cs\xe9", tag=0x14)))
    yield odd("a name in a BMPString", issue(key, subject=name(b"\0c\0s", tag=0x1E)))
    yield odd("a name of 70 characters", issue(key, subject=name(b"c" * 70)))
    yield odd("a country of 3 letters", issue(key, subject=name(b"DEU", tag=0x13, oid="550406")))
    yield odd("no subject", issue(key, subject=tlv(0x30)))
    yield odd("an empty name", issue(key, subject=name(b"")))
    yield odd("serial number 0", issue(key, serial=b"\0"))
    yield odd("a negative serial number", issue(key, serial=b"\xf0\x01"))
    yield odd("a serial number of 30 bytes", issue(key, serial=b"\x01" * 30))
    yield odd(
        "dates of 2026 in GeneralizedTime", issue(key, dates=validity(0x18, b"20260101000000Z"))
    )
    yield odd(
        "the end of time",
        issue(key, dates=validity(0x18, b"20260101000000Z", b"99991231235959Z")),
    )
    yield odd(
        "NULL after the algorithm's name",
        issue(key, algorithm=ECDSA_SHA256_NULL, outer_algorithm=ECDSA_SHA256_NULL),
    )
    yield odd("an extension twice", issue(key, extensions=(KEY_ID, KEY_ID)), verified=False)
    yield odd(
        "an extension of nobody's", issue(key, extensions=(extension("2b06010401", b"what"),))
    )
    yield odd(
        "basicConstraints that are no DER",
        issue(key, extensions=(extension("551d13", b"junk"),)),
        verified=False,
    )
    yield odd(
        "a date without seconds",
        issue(key, dates=validity(0x17, b"2601010000Z")),
        verified=False,
    )
